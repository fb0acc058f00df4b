//! `pushgate keys vapid`: what it prints is a configuration that works, with the public key it names.

use std::process::Command;

fn pushgate(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pushgate")).args(args).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

#[test]
fn a_new_vapid_key_goes_into_the_configuration_as_printed_and_check_shows_its_public_half() {
    let printed = pushgate(&["keys", "vapid"]);
    let public = printed.lines().nth(2).unwrap().trim();
    assert_eq!(public.len(), 87, "{public}");
    let table = &printed[printed.find("[apps.").unwrap()..];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pushgate.toml");
    std::fs::write(&file, table).unwrap();
    let checked = pushgate(&["check", "--config", file.to_str().unwrap()]);
    let expected = format!("ok    apps.demo.channels.webpush (webpush): applicationServerKey {public}");
    assert!(checked.contains(&expected), "{checked}");
    assert_ne!(printed, pushgate(&["keys", "vapid"]));
}

#[test]
fn a_key_that_is_none_is_told_with_its_line_and_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pushgate.toml");
    let table = "[apps.demo.channels.web]\nkind = \"webpush\"\nsubject = \"mailto:push@example.com\"\nprivate_key = \"s3cret\"\n";
    std::fs::write(&file, table).unwrap();
    let args = ["check", "--config", file.to_str().unwrap()];
    let output = Command::new(env!("CARGO_BIN_EXE_pushgate")).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("pushgate.toml:4") && said.contains("`pushgate keys vapid` makes one"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
