//! The stranger's day: on a copy of the tree, the seven steps of CONTRIBUTING.md for a vendor that was invented for this
//! test. What the steps change outside the new folder is counted, and what they make is built and tested.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pushgate_xtask::{new_channel, readme, root};

const NAME: &str = "acme";
/// What may change outside the new folder, in lines. `Cargo.lock` is Cargo's own.
const MOST: usize = 4;

/// Copies what is tracked or could be. At a place that stays, and with the times of the files, so that a second run
/// builds only what has changed.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !matches!(name.to_str(), Some("target" | ".git" | "node_modules")) {
                copy(&path, &to.join(name));
            }
            continue;
        }
        let copied = to.join(name);
        fs::copy(&path, &copied).unwrap();
        let changed = fs::metadata(&path).unwrap().modified().unwrap();
        fs::File::options().append(true).open(&copied).unwrap().set_modified(changed).unwrap();
    }
}

/// Every file below, by its path from here.
fn files(folder: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder.join(below)).unwrap().flatten() {
        let name = entry.file_name();
        if entry.path().is_dir() {
            if !matches!(name.to_str(), Some("target" | ".git" | "node_modules")) {
                files(folder, &below.join(name), found);
            }
        } else {
            found.insert(below.join(name));
        }
    }
}

/// Lines that are in one of the two and not in the other.
fn changed_lines(old: &Path, new: &Path) -> usize {
    let text = |file: &Path| fs::read(file).unwrap_or_default();
    let (old, new) = (text(old), text(new));
    let lines =
        |text: &'_ [u8]| -> Vec<Vec<u8>> { text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
    let (mut gone, mut come) = (lines(&old), lines(&new));
    come.retain(|line| match gone.iter().position(|old| old == line) {
        Some(at) => {
            gone.remove(at);
            false
        }
        None => true,
    });
    // A line that was replaced is one changed line.
    gone.len().max(come.len())
}

fn edit(file: &Path, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{} has no {from:?}", file.display());
        text = text.replace(from, to);
    }
    fs::write(file, text).unwrap();
}

/// Steps two to seven, for a vendor that takes one token at a time under a key of its own header, and has its own words.
fn write_the_channel(folder: &Path) {
    edit(
        &folder.join("src/config.rs"),
        &[
            ("pub key: Secret", "pub api_key: Secret"),
            ("self.key.expose()", "self.api_key.expose()"),
            ("{ key: key.into()", "{ api_key: key.into()"),
            ("=> \"key\"", "=> \"api_key\""),
            ("\"Bearer {}\"", "\"{}\""),
        ],
    );
    edit(
        &folder.join("src/encode.rs"),
        &[
            ("    content: Option<&'a str>,", "    text: Option<&'a str>,"),
            ("content: shown(", "text: shown("),
        ],
    );
    edit(
        &folder.join("src/decode.rs"),
        &[("(\"token_gone\", Kind::TokenGone)", "(\"E404\", Kind::TokenGone)")],
    );
    edit(
        &folder.join("src/channel.rs"),
        &[
            ("max_batch: 100", "max_batch: 1"),
            ("config.key.expose()", "config.api_key.expose()"),
            (
                "tokens: &[TokenKind::Token, TokenKind::Fid, TokenKind::Subscription]",
                "tokens: &[TokenKind::Token]",
            ),
            ("insert(AUTHORIZATION,", "insert(API_KEY,"),
            ("header::{AUTHORIZATION, CONTENT_TYPE}", "header::{CONTENT_TYPE, HeaderName}"),
            (
                "/// How long one send",
                "const API_KEY: HeaderName = HeaderName::from_static(\"x-api-key\");\n/// How long one send",
            ),
        ],
    );
    edit(
        &folder.join("src/conformance.rs"),
        &[
            ("\"key\": KEY", "\"api_key\": KEY"),
            ("message[\"content\"]", "message[\"text\"]"),
            ("\"token_gone\"", "\"E404\""),
        ],
    );
    edit(&folder.join("src/golden.rs"), &[("\"key\": \"(the key)\"", "\"api_key\": \"(the key)\"")]);
    // One token a request: a case about several is none any more.
    fs::remove_dir_all(folder.join("golden/batch-one-dead")).unwrap();
    edit(
        &folder.join("Cargo.toml"),
        &[("description = \"acme\"", "description = \"Acme's phones and watches\"")],
    );
    edit(&folder.join("README.md"), &[("where it is had", "Acme's console, under Keys")]);
}

/// Runs cargo in the copy, in the target folder of the tree: what others have written is built already.
fn cargo(copy: &Path, arguments: &[&str], golden: Option<&str>) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    command
        .args(arguments)
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_NET_OFFLINE", "true");
    command.envs(golden.map(|value| ("UPDATE_GOLDEN", value)));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn a_stranger_adds_a_channel_in_seven_steps_and_changes_four_lines_outside_its_folder() {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stranger");
    let folder = tree.join("channels").join(NAME);
    let _ = fs::remove_dir_all(&tree);
    copy(root(), &tree);

    new_channel::create(&tree, NAME).unwrap();
    let package = format!("pushgate-{NAME}");
    cargo(&tree, &["fmt", "--all", "--check"], None);
    cargo(&tree, &["clippy", "--package", &package, "--all-targets", "--", "-D", "warnings"], None);
    write_the_channel(&folder);
    cargo(&tree, &["fmt", "--package", &package], None);
    cargo(&tree, &["test", "--package", &package], Some("1"));
    readme::update(&tree).unwrap();

    cargo(&tree, &["test", "--package", &package], None);
    cargo(&tree, &["check", "--package", "pushgate-server"], None);

    let mut paths = BTreeSet::new();
    files(root(), Path::new(""), &mut paths);
    files(&tree, Path::new(""), &mut paths);
    let outside =
        paths.iter().filter(|path| !path.starts_with("channels/acme") && !path.ends_with("Cargo.lock"));
    let changes: Vec<_> = outside
        .map(|path| (path, changed_lines(&root().join(path), &tree.join(path))))
        .filter(|(_, lines)| *lines > 0)
        .collect();
    let lines: usize = changes.iter().map(|(_, lines)| lines).sum();
    assert!(lines <= MOST, "{lines} lines outside the new folder: {changes:?}");
}

#[test]
fn there_are_seven_steps_and_each_names_a_file_of_a_channel() {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let steps: Vec<_> = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(steps.len(), 7, "{steps:?}");
    for step in &steps[1..] {
        let file = step.split('`').nth(1).unwrap();
        assert!(
            root().join("channels/dummy").join(file).exists(),
            "step {step} names {file}, which a channel has not"
        );
    }
}
