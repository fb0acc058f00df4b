//! Every channel is cast in one mould: the same files, held to the same suite, small enough to be read in one sitting.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemMod};

use super::{channels, files, parsed, read, shown};

/// Lines of code of a channel, without tests, comments and empty lines. A channel that needs more has something in it that belongs
/// below all channels. The largest is apns, with 937.
const MAX_LINES: usize = 950;

#[test]
fn every_channel_has_the_files_every_channel_has() {
    let names = ["lib", "config", "channel", "encode", "decode", "conformance", "golden"];
    for folder in channels() {
        for name in names {
            let file = folder.join(format!("src/{name}.rs"));
            assert!(file.exists(), "{} is missing", shown(&file));
        }
        let suite = read(&folder.join("src/conformance.rs"));
        assert!(suite.contains("pushgate_kit::conformance!("), "{} is held to no suite", shown(&folder));
        assert!(
            folder.join("capability.json").exists(),
            "{} does not write down what it declares",
            shown(&folder)
        );
        let page = read(&folder.join("README.md"));
        for heading in ["\n## Credentials\n", "\n## Limits\n", "\n## Sources\n"] {
            assert!(page.contains(heading), "{}/README.md has no {heading:?}", shown(&folder));
        }
    }
}

#[test]
fn no_channel_is_over_950_lines() {
    for folder in channels() {
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let lines: usize =
            sources(&folder).iter().map(|(_, text)| text.lines().filter(is_code).count()).sum();
        assert!(lines <= MAX_LINES, "{} has {lines} lines of code", shown(&folder));
    }
}

/// The sources of a channel without its tests.
pub(super) fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let all = files(&folder.join("src"), ".rs");
    let of_tests: BTreeSet<_> = all.iter().flat_map(|path| modules_of_tests(path)).collect();
    let kept = all.into_iter().filter(|path| !of_tests.contains(path));
    kept.map(|path| (path.clone(), without_tests(&path))).collect()
}

/// A source without the modules that stand in it for tests.
pub(super) fn without_tests(path: &Path) -> String {
    let text = read(path);
    let mut lines: Vec<_> = text.lines().map(Some).collect();
    for module in test_modules(path) {
        let span = module.span();
        lines[span.start().line - 1..span.end().line].fill(None);
    }
    lines.into_iter().flatten().map(|line| format!("{line}\n")).collect()
}

/// The files of the modules that are declared here for tests.
fn modules_of_tests(path: &Path) -> Vec<PathBuf> {
    let declared = test_modules(path).into_iter().filter(|module| module.content.is_none());
    declared.map(|module| of_module(path, &module.ident.to_string())).collect()
}

fn test_modules(path: &Path) -> Vec<ItemMod> {
    let modules = parsed(path).items.into_iter().filter_map(|item| match item {
        Item::Mod(module) => Some(module),
        _ => None,
    });
    modules.filter(|module| module.attrs.iter().any(is_test)).collect()
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}

/// The file of a module that is declared in `path` without a body.
fn of_module(path: &Path, name: &str) -> PathBuf {
    let folder = path.parent().unwrap();
    match path.file_stem().unwrap().to_str().unwrap() {
        "lib" | "mod" => folder.join(format!("{name}.rs")),
        stem => folder.join(stem).join(format!("{name}.rs")),
    }
}
