//! `pushgate check` finds what `serve` refuses or what would fail later, all of it in one run, with file, line and key.

use std::path::Path;
use std::process::{Command, Output};

const PUSHGATE: &str = env!("CARGO_BIN_EXE_pushgate");

/// A configuration with the database in its folder, and its number of lines.
fn write(folder: &Path, more: &str) -> String {
    let file = folder.join("pushgate.toml");
    let database = folder.join("pushgate.db");
    let text =
        format!("[storage]\npath = \"{}\"\n[server]\nlisten = \"127.0.0.1:0\"\n{more}", database.display());
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn run(command: &str, file: &str) -> Output {
    Command::new(PUSHGATE).args([command, "--config", file]).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const DUMMY: &str = "[apps.demo.channels.dummy]\nkind = \"dummy\"\n";
const BROKEN: &str = r#"[apps.demo.channels.dummy]
kind = "dummy"
[apps.demo.templates.one]
title = "{{ sender "
content = "{{ text|nosuch }}"
[apps.demo.templates.two]
title = "ok"
[apps.demo.templates.two.locales.zh-CN]
content = "{% if x is nosuch %}{% endif %}"
[[plugins]]
path = "missing.so"
[[plugins]]
path = "other.so"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[apps.demo.channels.acme]
kind = "acme"
"#;

#[test]
fn check_lists_everything_that_is_wrong_with_file_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.so"), "no library").unwrap();
    let checked = run("check", &write(folder.path(), BROKEN));
    let told = stderr(&checked);
    assert!(!checked.status.success(), "{told}");
    for expected in [
        "pushgate.toml:8: apps.demo.templates.one.title: ",
        "pushgate.toml:9: apps.demo.templates.one.content: there is no filter `nosuch`",
        "pushgate.toml:13: apps.demo.templates.two.locales.zh-CN.content: there is no test `nosuch`",
        "pushgate.toml:15: plugins[0].path: ",
        "pushgate.toml:18: plugins[1].sha256: ",
        "pushgate.toml:20: apps.demo.channels.acme.kind: ",
    ] {
        assert!(told.contains(expected), "{expected} is not in\n{told}");
    }
    let all = told + &String::from_utf8_lossy(&checked.stdout);
    assert!(!all.contains("vendor_down") && !all.contains("push service"), "{all}");
}

#[test]
fn serve_names_file_line_and_key_of_a_template_that_does_not_compile() {
    let folder = tempfile::tempdir().unwrap();
    let template = format!("{DUMMY}[apps.demo.templates.one]\ntitle = \"{{{{ sender \"\n");
    let served = run("serve", &write(folder.path(), &template));
    let told = stderr(&served);
    assert!(!served.status.success());
    assert!(told.contains("pushgate.toml:8: apps.demo.templates.one.title: "), "{told}");
}

#[test]
fn check_of_a_right_configuration_changes_nothing_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), DUMMY);
    let checked = run("check", &file);
    assert!(checked.status.success(), "{}", stderr(&checked));
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["pushgate.toml"]);
}

#[test]
fn check_tells_a_database_that_serve_could_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), DUMMY);
    let text = "no database at all, but text that is longer than a header of one: ".repeat(20);
    std::fs::write(folder.path().join("pushgate.db"), text).unwrap();
    let checked = run("check", &file);
    let told = stderr(&checked);
    assert!(!checked.status.success() && told.contains("pushgate.toml:2: storage.path: "), "{told}");
    let nowhere = folder.path().join("nowhere");
    let moved = std::fs::read_to_string(&file).unwrap().replace(
        folder.path().join("pushgate.db").to_str().unwrap(),
        nowhere.join("pushgate.db").to_str().unwrap(),
    );
    std::fs::write(&file, moved).unwrap();
    let checked = run("check", &file);
    assert!(!checked.status.success() && stderr(&checked).contains("storage.path"), "{}", stderr(&checked));
}

#[test]
fn check_says_that_a_database_is_in_use_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), DUMMY);
    let store = pushgate_sqlite::SqliteStore::open(folder.path().join("pushgate.db")).unwrap();
    let checked = run("check", &file);
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("is in use"));
    drop(store);
}
