//! The seven steps of CONTRIBUTING.md on a copy of the tree, for an invented push service. The test counts the changed lines
//! outside the new directory, and builds and tests the new channel.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pushgate_xtask::{new_channel, readme, root};

const NAME: &str = "acme";
/// Maximum number of changed lines outside the new directory, without `Cargo.lock`.
const MAX_CHANGED_LINES: usize = 4;

/// Copies the tree without build output. Keeps the modification times, so that a second run builds only changed files.
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

/// Collects the paths of all files in a directory, relative to `directory`.
fn files(directory: &Path, relative: &Path, paths: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory.join(relative)).unwrap().flatten() {
        let name = entry.file_name();
        if entry.path().is_dir() {
            if !matches!(name.to_str(), Some("target" | ".git" | "node_modules")) {
                files(directory, &relative.join(name), paths);
            }
        } else {
            paths.insert(relative.join(name));
        }
    }
}

/// Returns the number of lines that differ between two files.
fn changed_lines(old: &Path, new: &Path) -> usize {
    let text = |file: &Path| fs::read(file).unwrap_or_default();
    let (old, new) = (text(old), text(new));
    let lines =
        |text: &'_ [u8]| -> Vec<Vec<u8>> { text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
    let (mut removed, mut added) = (lines(&old), lines(&new));
    added.retain(|line| match removed.iter().position(|old| old == line) {
        Some(index) => {
            removed.remove(index);
            false
        }
        None => true,
    });
    // A replaced line counts once.
    removed.len().max(added.len())
}

fn edit(file: &Path, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(file).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{} has no {from:?}", file.display());
        text = text.replace(from, to);
    }
    fs::write(file, text).unwrap();
}

/// Does steps two to seven for a service with one token per request, its own header for the key, and its own field names.
fn write_the_channel(directory: &Path) {
    edit(
        &directory.join("src/config.rs"),
        &[
            ("pub key: Secret", "pub api_key: Secret"),
            ("self.key.expose()", "self.api_key.expose()"),
            ("{ key: key.into()", "{ api_key: key.into()"),
            ("=> \"key\"", "=> \"api_key\""),
            ("\"Bearer {}\"", "\"{}\""),
        ],
    );
    edit(
        &directory.join("src/encode.rs"),
        &[
            ("    content: Option<&'a str>,", "    text: Option<&'a str>,"),
            ("        content: ", "        text: "),
        ],
    );
    edit(
        &directory.join("src/decode.rs"),
        &[("(\"token_gone\", Kind::TokenGone)", "(\"E404\", Kind::TokenGone)")],
    );
    edit(
        &directory.join("src/channel.rs"),
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
                "#[async_trait]\nimpl",
                "const API_KEY: HeaderName = HeaderName::from_static(\"x-api-key\");\n\n#[async_trait]\nimpl",
            ),
        ],
    );
    edit(
        &directory.join("src/conformance.rs"),
        &[
            ("\"key\": KEY", "\"api_key\": KEY"),
            ("message[\"content\"]", "message[\"text\"]"),
            ("\"token_gone\"", "\"E404\""),
        ],
    );
    edit(&directory.join("src/golden.rs"), &[("\"key\": \"(the key)\"", "\"api_key\": \"(the key)\"")]);
    // This service has one token per request, so the case with several does not apply.
    fs::remove_dir_all(directory.join("golden/batch-one-dead")).unwrap();
    edit(
        &directory.join("Cargo.toml"),
        &[("description = \"acme\"", "description = \"Acme's phones and watches\"")],
    );
    edit(&directory.join("README.md"), &[("where to get it", "Acme's console, under Keys")]);
}

/// Runs cargo in the copy with the target directory of the tree, so that dependencies are already built.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}{stderr}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn a_new_channel_takes_seven_steps_and_changes_four_lines_outside_its_directory() {
    let tree = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-contributor");
    let directory = tree.join("channels").join(NAME);
    let _ = fs::remove_dir_all(&tree);
    copy(root(), &tree);

    new_channel::create(&tree, NAME).unwrap();
    let package = format!("pushgate-{NAME}");
    cargo(&tree, &["fmt", "--all", "--check"], None);
    cargo(&tree, &["clippy", "--package", &package, "--all-targets", "--", "-D", "warnings"], None);
    write_the_channel(&directory);
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
    assert!(lines <= MAX_CHANGED_LINES, "{lines} lines changed outside the new directory: {changes:?}");
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
            "step {step} names {file}, which does not exist in channels/dummy"
        );
    }
}
