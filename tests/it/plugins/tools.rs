//! `pushgate plugin new` and `pushgate plugin check`: what is begun passes, and what breaks its promises is told.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{PLUGINS, PUSHGATE, compile};

fn plugin(arguments: &[&str]) -> Output {
    Command::new(PUSHGATE).arg("plugin").args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check(file: &Path, config: &Path, more: &[&str]) -> Output {
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    plugin(&[&["check", file, "--config", config], more].concat())
}

/// Builds a crate with what the workspace has built already.
fn build(folder: &Path) -> PathBuf {
    let target = folder.join("target");
    std::fs::copy(format!("{PLUGINS}/../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", told(&built));
    target.join("debug")
}

#[test]
fn a_new_plugin_builds_and_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new");
    // The program lies in the target folder of the tree, where it finds the SDK.
    let written = plugin(&["new", "acme-push", "--dir", dir.to_str().unwrap()]);
    assert!(written.status.success(), "{}", told(&written));
    let formatted =
        Command::new("rustfmt").args(["--edition", "2024", "--check"]).arg(dir.join("src/lib.rs")).output();
    let formatted = formatted.unwrap();
    assert!(formatted.status.success(), "{}", told(&formatted));
    let library = build(&dir).join("libacme_push.so");
    let checked = check(&library, &dir.join("check.toml"), &["--dead", "410 {}", "--in-process"]);
    assert!(checked.status.success(), "{}", told(&checked));
    assert!(told(&checked).contains("ok    ten thousand concurrent sends"), "{}", told(&checked));
    let again = plugin(&["new", "acme-push", "--dir", dir.to_str().unwrap()]);
    assert!(!again.status.success() && told(&again).contains("is there already"), "{}", told(&again));
    let unfit = plugin(&["new", "Acme Push"]);
    assert!(!unfit.status.success() && told(&unfit).contains("is no name for a kind"), "{}", told(&unfit));
}

#[test]
fn the_sample_in_c_passes_the_check_in_a_process_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let sources = ["samples/telegram/telegram.c", "samples/telegram/json.c"];
    let library = compile("cc", &["-std=c99"], &sources, folder.path());
    let config = folder.path().join("check.toml");
    let token = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11";
    let text = format!("[apps.check.channels.bot]\nkind = \"telegram\"\nbot_token = \"{token}\"\n");
    std::fs::write(&config, text).unwrap();
    let accepted = ["--accepted", r#"200 {"ok":true,"result":{"message_id":1}}"#];
    let dead = ["--dead", r#"403 {"ok":false,"error_code":403,"description":"Forbidden: bot was blocked"}"#];
    let checked = check(&library, &config, &[accepted, dead].concat());
    assert!(checked.status.success(), "{}", told(&checked));
}

/// A plugin whose vendor answers a batch token by token, and a configuration for it.
fn batch(folder: &Path, url: &str) -> (PathBuf, PathBuf) {
    let sources = ["host/tests/batch.c", "samples/telegram/json.c"];
    let library = compile("cc", &["-std=c99"], &sources, folder);
    let config = folder.join("check.toml");
    let text = format!(
        "[[plugins]]\npath = \"plugin.so\"\nnetwork = \"any\"\n[apps.check.channels.batch]\nkind = \"batch\"\nurl = \"{url}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    (library, config)
}

#[test]
fn a_plugin_in_c_whose_vendor_answers_batches_token_by_token_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let (library, config) = batch(folder.path(), "https://batch.example/send");
    let accepted = ["--accepted", r#"200 {"results":[$EACH]}"#, "--each-accepted", r#"{"id":"$TOKEN"}"#];
    let dead = ["--each-dead", r#"{"error":"gone"}"#];
    let checked = check(&library, &config, &[&accepted[..], &dead[..]].concat());
    let said = told(&checked);
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("ok    the plugin describes itself\n      without config_schema"), "{said}");
    let mistaken = check(&library, &config, &["--accepted", "200 [$EACH]"]);
    assert!(!mistaken.status.success() && told(&mistaken).contains("--each-accepted"), "{}", told(&mistaken));
}

#[tokio::test]
async fn a_live_check_reaches_the_vendor_through_the_gateways_client_and_says_what_came_back() {
    let (told_of, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    let vendor = axum::Router::new().fallback(move |body: String| async move {
        told_of.send(body.clone()).unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let results = body["tokens"].as_array().unwrap().iter().map(|token| serde_json::json!({"id": token}));
        serde_json::json!({"results": results.collect::<Vec<_>>()}).to_string()
    });
    tokio::spawn(async move { axum::serve(listener, vendor).await });
    let folder = tempfile::tempdir().unwrap();
    let (library, config) = batch(folder.path(), &url);
    let checked = tokio::task::spawn_blocking(move || check(&library, &config, &["--live", "token-of-mine"]));
    let checked = checked.await.unwrap();
    let said = told(&checked);
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("times: 200 {\"results\":[{\"id\":\"(token)\"}"), "{said}");
    assert!(
        said.contains("-     a push service that does not respond gets a fault in time: not checked"),
        "{said}"
    );
    assert!(requests.recv().await.unwrap().contains("token-of-mine"));
}

/// What is said of a plugin that has a client of its own.
fn lets_out(library: &Path, config: &Path) -> String {
    told(&check(library, config, &["--live", "token-of-a-device"]))
}

#[test]
fn a_plugin_that_breaks_its_promises_fails_the_check_and_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let library = compile("cc", &[], &["host/tests/rogue.c"], folder.path());
    let config = folder.path().join("check.toml");
    let checked = |mode: &str| {
        let text = format!("[apps.check.channels.rogue]\nkind = \"rogue\"\nmode = \"{mode}\"\n");
        std::fs::write(&config, text).unwrap();
        let checked = check(&library, &config, &[]);
        assert!(!checked.status.success());
        told(&checked)
    };
    let lax = checked("well");
    assert!(lax.contains("FAIL  an unknown configuration key is refused"), "{lax}");
    assert!(lax.contains("pushgate_plugin.h and the plugin guide"), "{lax}");
    let alone = lets_out(&library, &config);
    assert!(
        alone.contains("-     a push service that does not respond gets a fault in time: not checked"),
        "{alone}"
    );
    assert!(alone.contains("no request went through the gateway's client"), "{alone}");
    assert!(alone.contains("ok    two hundred concurrent sends"), "{alone}");
    let doubled = checked("twice");
    assert!(
        doubled.contains("FAIL  the plugin contract is never violated") && doubled.contains(" twice"),
        "{doubled}"
    );
}
