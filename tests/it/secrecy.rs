//! Tests that the logs of the suite's gateways contain no secret, at the finest level and from every crate.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use serde_json::Value;
use tracing_subscriber::filter::LevelFilter;

/// Folder for the output of an observed process: `log`, and `secrets` with one JSON text per line.
const FOLDER: &str = "SECRECY_TEST_FOLDER";
/// A shorter text would be found in words that have nothing to do with it.
const SHORTEST: usize = 5;

static SECRETS: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let folder = std::env::var_os(FOLDER)?;
    let folder = Path::new(&folder);
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(Mutex::new(File::create(folder.join("log")).unwrap()))
        .init();
    Some(Mutex::new(File::create(folder.join("secrets")).unwrap()))
});

/// Nothing may log this text.
pub(crate) fn keep_secret(text: &str) {
    if let Some(secrets) = SECRETS.as_ref()
        && text.len() >= SHORTEST
    {
        writeln!(secrets.lock().unwrap(), "{}", Value::from(text)).unwrap();
    }
}

/// Nothing may log what a caller wants shown or handed over.
pub(crate) fn keep_texts_secret(asked: &Value) {
    for name in ["title", "content", "payload", "image", "link"] {
        keep_secret(asked[name].as_str().unwrap_or_default());
    }
    for value in asked["template"]["vars"].as_object().into_iter().flat_map(|vars| vars.values()) {
        keep_secret(value.as_str().unwrap_or_default());
    }
}

#[test]
fn no_token_key_or_text_of_the_whole_suite_is_ever_logged() {
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        // In `crash::` the gateways are processes of their own, whose logs it searches itself.
        .args(["--skip", "secrecy::", "--skip", "tidy::", "--skip", "crash::"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    let lines = |name| BufReader::new(File::open(folder.path().join(name)).unwrap()).lines();
    let mut secrets: Vec<String> =
        lines("secrets").map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    secrets.extend(["ya29.", "PRIVATE KEY"].map(str::to_owned));
    secrets.sort();
    secrets.dedup();
    assert!(secrets.len() > 30, "the suite's secrets are known: {}", secrets.len());
    let mut attempts = 0;
    for line in lines("log") {
        let line = line.unwrap();
        attempts += usize::from(line.contains("push attempted"));
        if let Some(secret) = secrets.iter().find(|secret| line.contains(secret.as_str())) {
            panic!("`{secret}` stands in the log: {line}");
        }
    }
    assert!(attempts > 30, "the log is at its finest level: {attempts} attempts");
}
