//! `pushgate plugin new` and `pushgate plugin check`: a new plugin passes, and a faulty one fails with reasons.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{PLUGINS, PUSHGATE, compile};

fn plugin(arguments: &[&str]) -> Output {
    Command::new(PUSHGATE).arg("plugin").args(arguments).output().unwrap()
}

fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check(file: &Path, config: &Path, more: &[&str]) -> Output {
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    plugin(&[&["check", file, "--config", config], more].concat())
}

/// Builds a crate offline, with the lock file of the workspace. Returns the output directory.
fn build(directory: &Path) -> PathBuf {
    let target = directory.join("target");
    std::fs::copy(format!("{PLUGINS}/../Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet"])
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", output_text(&built));
    target.join("debug")
}

#[test]
fn a_new_plugin_builds_and_passes_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("new");
    // The program is in the target directory of the tree, so it finds the SDK.
    let written = plugin(&["new", "acme-push", "--dir", dir.to_str().unwrap()]);
    assert!(written.status.success(), "{}", output_text(&written));
    let formatted =
        Command::new("rustfmt").args(["--edition", "2024", "--check"]).arg(dir.join("src/lib.rs")).output();
    let formatted = formatted.unwrap();
    assert!(formatted.status.success(), "{}", output_text(&formatted));
    let library = build(&dir).join("libacme_push.so");
    let checked = check(&library, &dir.join("check.toml"), &["--dead", "410 {}", "--in-process"]);
    assert!(checked.status.success(), "{}", output_text(&checked));
    assert!(
        output_text(&checked).contains("ok    ten thousand concurrent sends"),
        "{}",
        output_text(&checked)
    );
    let again = plugin(&["new", "acme-push", "--dir", dir.to_str().unwrap()]);
    assert!(
        !again.status.success() && output_text(&again).contains("exists and is not empty"),
        "{}",
        output_text(&again)
    );
    let unfit = plugin(&["new", "Acme Push"]);
    assert!(
        !unfit.status.success() && output_text(&unfit).contains("is not a valid kind"),
        "{}",
        output_text(&unfit)
    );
}

#[test]
fn the_c_sample_passes_the_check_in_a_child_process() {
    let directory = tempfile::tempdir().unwrap();
    let sources = ["samples/telegram/telegram.c", "samples/telegram/json.c"];
    let library = compile("cc", &["-std=c99"], &sources, directory.path());
    let config = directory.path().join("check.toml");
    let token = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11";
    let text = format!("[apps.check.channels.bot]\nkind = \"telegram\"\nbot_token = \"{token}\"\n");
    std::fs::write(&config, text).unwrap();
    let accepted = ["--accepted", r#"200 {"ok":true,"result":{"message_id":1}}"#];
    let dead = ["--dead", r#"403 {"ok":false,"error_code":403,"description":"Forbidden: bot was blocked"}"#];
    let checked = check(&library, &config, &[accepted, dead].concat());
    assert!(checked.status.success(), "{}", output_text(&checked));
}

/// Compiles the plugin with batch responses and writes its configuration. Returns both paths.
fn batch(directory: &Path, url: &str) -> (PathBuf, PathBuf) {
    let sources = ["host/tests/batch.c", "samples/telegram/json.c"];
    let library = compile("cc", &["-std=c99"], &sources, directory);
    let config = directory.join("check.toml");
    let text = format!(
        "[[plugins]]\npath = \"plugin.so\"\nnetwork = \"any\"\n[apps.check.channels.batch]\nkind = \"batch\"\nurl = \"{url}\"\n"
    );
    std::fs::write(&config, text).unwrap();
    (library, config)
}

#[test]
fn a_c_plugin_with_one_response_entry_per_token_passes_the_check() {
    let directory = tempfile::tempdir().unwrap();
    let (library, config) = batch(directory.path(), "https://batch.example/send");
    let accepted = ["--accepted", r#"200 {"results":[$EACH]}"#, "--each-accepted", r#"{"id":"$TOKEN"}"#];
    let dead = ["--each-dead", r#"{"error":"gone"}"#];
    let checked = check(&library, &config, &[&accepted[..], &dead[..]].concat());
    let text = output_text(&checked);
    assert!(checked.status.success(), "{text}");
    assert!(text.contains("ok    the plugin describes itself\n      without config_schema"), "{text}");
    let mistaken = check(&library, &config, &["--accepted", "200 [$EACH]"]);
    assert!(
        !mistaken.status.success() && output_text(&mistaken).contains("--each-accepted"),
        "{}",
        output_text(&mistaken)
    );
}

#[tokio::test]
async fn a_live_check_sends_through_the_gateways_client_and_prints_the_responses() {
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/send", listener.local_addr().unwrap());
    let service = axum::Router::new().fallback(move |body: String| async move {
        sender.send(body.clone()).unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let results = body["tokens"].as_array().unwrap().iter().map(|token| serde_json::json!({"id": token}));
        serde_json::json!({"results": results.collect::<Vec<_>>()}).to_string()
    });
    tokio::spawn(async move { axum::serve(listener, service).await });
    let directory = tempfile::tempdir().unwrap();
    let (library, config) = batch(directory.path(), &url);
    let checked = tokio::task::spawn_blocking(move || check(&library, &config, &["--live", "token-of-mine"]));
    let checked = checked.await.unwrap();
    let text = output_text(&checked);
    assert!(checked.status.success(), "{text}");
    assert!(text.contains("times: 200 {\"results\":[{\"id\":\"(token)\"}"), "{text}");
    assert!(
        text.contains("-     a push service that does not respond gets a fault in time: not checked"),
        "{text}"
    );
    assert!(requests.recv().await.unwrap().contains("token-of-mine"));
}

/// Returns the output of a live check of a plugin with its own client.
fn live_check_text(library: &Path, config: &Path) -> String {
    output_text(&check(library, config, &["--live", "token-of-a-device"]))
}

#[test]
fn a_plugin_that_breaks_its_promises_fails_the_check_with_reasons() {
    let directory = tempfile::tempdir().unwrap();
    let library = compile("cc", &[], &["host/tests/rogue.c"], directory.path());
    let config = directory.path().join("check.toml");
    let checked = |mode: &str| {
        let text = format!("[apps.check.channels.rogue]\nkind = \"rogue\"\nmode = \"{mode}\"\n");
        std::fs::write(&config, text).unwrap();
        let checked = check(&library, &config, &[]);
        assert!(!checked.status.success());
        output_text(&checked)
    };
    let lax = checked("well");
    assert!(lax.contains("FAIL  an unknown configuration key is refused"), "{lax}");
    assert!(lax.contains("pushgate_plugin.h and the plugin guide"), "{lax}");
    let alone = live_check_text(&library, &config);
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
