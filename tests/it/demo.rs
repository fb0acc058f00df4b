//! The demonstration shows what it says.

use std::process::Command;

use serde_json::{Value, json};

/// Runs the demonstration with these flags; what it prints as JSON.
fn demo(flags: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_pushgate"))
        .args(["demo", "--once", "--json"])
        .args(flags)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn steps(told: &Value) -> Vec<&str> {
    let mut steps: Vec<_> =
        told["timeline"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    steps.sort_unstable();
    steps
}

#[test]
fn the_demonstration_shows_one_notification_end_to_end() {
    let told = demo(&[]);
    assert_eq!(steps(&told), ["arrived", "planned", "sent", "stored"]);
    let shown = json!({"title": "Ann", "body": "are you there?", "payload": r#"{"conversation":"ann"}"#});
    assert_eq!(told["devices"], json!([{"by": "a web page by FCM", "shown": shown}]));
}

#[test]
fn the_demonstration_of_all_shows_it_on_a_page_a_firefox_and_an_iphone() {
    let told = demo(&["--all"]);
    let all = ["arrived", "arrived", "arrived", "planned", "sent", "sent", "sent", "stored"];
    assert_eq!(steps(&told), all);
    for device in told["devices"].as_array().unwrap() {
        assert_eq!(
            (&device["shown"]["title"], &device["shown"]["body"]),
            (&"Ann".into(), &"are you there?".into())
        );
    }
}
