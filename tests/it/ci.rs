//! The script that checks a change, run with tools that only pretend.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// Runs steps of a copy of `.ci/run`, with a `cargo` that fails at this command, and an `unshare` that always fails.
fn run(steps: &[&str], failing: &str) -> Output {
    let root = tempfile::tempdir().unwrap();
    let (ci, tools) = (root.path().join(".ci"), root.path().join("tools"));
    std::fs::create_dir_all(&ci).unwrap();
    std::fs::create_dir_all(&tools).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/run");
    std::fs::copy(script, ci.join("run")).unwrap();
    let tool = |name: &str, text: &str| {
        let path = tools.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    };
    tool("cargo", &format!("case $1 in {failing}) exit 101;; esac\necho \"did $1\""));
    tool("unshare", "exit 1");
    let path = format!("{}:/usr/bin:/bin", tools.display());
    Command::new(ci.join("run")).args(steps).env("PATH", path).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_failed_step_hides_no_other_and_fails_the_run() {
    let output = run(&["fmt", "clippy", "tests"], "fmt");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("did clippy") && text.contains("did test"), "{text}");
    let (_, summary) = text.split_once("== summary").unwrap();
    let rows: Vec<_> = summary.trim().lines().collect();
    assert!(rows[0].starts_with("fmt ") && rows[0].ends_with("FAILED with exit code 101"), "{summary}");
    assert!(rows[1].starts_with("clippy ") && rows[1].ends_with("s  ok"), "{summary}");
    assert!(rows[2].starts_with("tests ") && rows[2].ends_with("s  ok"), "{summary}");
    assert_eq!(rows[3], "1 of 3 steps failed");
}

#[test]
fn a_skipped_step_says_why_and_fails_nothing() {
    let output = run(&["interop", "fmt"], "nothing");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("skipped: this machine allows no network namespaces"), "{text}");
}
