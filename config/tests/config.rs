//! A configuration is right, or refused with file, line, key, and what would be right.

use pushgate_config::{Config, Sources};

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pushgate.toml");
    std::fs::write(&path, text).expect("written");
    std::fs::write(folder.path().join("secret.txt"), "hunter2\n").expect("written");
    let shown = folder.path().display().to_string() + "/";
    Config::load(&Sources { file: Some(path), ..Sources::default() })
        .map_err(|errors| errors.to_string().replace(&shown, ""))
}

#[test]
fn the_defaults_load_alone() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(config.apps.is_empty() && config.keys.is_empty());
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, "[server]\nlisten = \"127.0.0.1:1\"\nrequest_seconds = 7\n").unwrap();
    let flags = vec![("server.listen".to_owned(), "127.0.0.1:2".to_owned())];
    let config = Config::load(&Sources { file: Some(path), flags, ..Sources::default() }).unwrap();
    assert_eq!((config.server.listen.port(), config.server.request_seconds), (2, 7));
    assert_eq!(config.server.drain_seconds, 20);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let error = load("[log]\nlevel = \"info\"\n\n[server]\nlisen = \"127.0.0.1:1\"\n").unwrap_err();
    assert_eq!(error, "pushgate.toml:5: server.lisen: unknown key; did you mean `listen`?");
}

#[test]
fn a_wrong_type_is_refused_without_quoting_the_value() {
    let error = load("[server]\nmax_body_bytes = \"hunter2\"\n").unwrap_err();
    assert!(error.starts_with("pushgate.toml:2: server.max_body_bytes: wrong type"), "{error}");
    assert!(!error.contains("hunter2"));
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let error = load("[server]\nlisten = \n").unwrap_err();
    assert!(error.starts_with("pushgate.toml:2: not TOML"), "{error}");
}

#[test]
fn a_route_to_a_channel_that_is_not_there_is_refused() {
    let text = "[apps.demo.channels.fcm]\nkind = \"dummy\"\n[[apps.demo.routes]]\nchannels = [\"fmc\"]\n";
    let error = load(text).unwrap_err();
    let right =
        "pushgate.toml:4: apps.demo.routes.0.channels: there is no channel `fmc`; did you mean `fcm`?";
    assert_eq!(error, right);
}

#[test]
fn a_key_for_an_unknown_app_and_a_bad_digest_are_both_told() {
    let error =
        load("[[keys]]\nid = \"k\"\nsha256 = \"abc\"\napps = [\"demo\"]\nscopes = [\"send\"]\n").unwrap_err();
    assert!(error.contains("pushgate.toml:3: keys.0.sha256: not 64 hexadecimal digits"), "{error}");
    assert!(error.contains("pushgate.toml:4: keys.0.apps: there is no app `demo`"), "{error}");
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    service_account: String,
}

#[test]
fn a_secret_is_read_from_its_file_and_never_printed() {
    let config =
        load("[apps.demo.channels.fcm]\nkind = \"fcm\"\nservice_account = \"file:secret.txt\"\n").unwrap();
    let channel = config.apps.values().next().unwrap().channels.values().next().unwrap();
    assert_eq!(channel.section.parse::<Own>().unwrap().service_account, "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_secret_that_is_not_there_is_told_with_its_line() {
    let error =
        load("[apps.demo.channels.fcm]\nkind = \"fcm\"\nservice_account = \"file:gone.json\"\n").unwrap_err();
    assert!(
        error
            .starts_with("pushgate.toml:3: apps.demo.channels.fcm.service_account: gone.json cannot be read"),
        "{error}"
    );
}

#[test]
fn a_channels_own_unknown_key_is_refused_like_ours() {
    let config = load("[apps.demo.channels.fcm]\nkind = \"fcm\"\nservice_acount = \"x\"\n").unwrap();
    let channel = config.apps.values().next().unwrap().channels.values().next().unwrap();
    let error = channel.section.parse::<Own>().unwrap_err().to_string();
    let right = "pushgate.toml:3: apps.demo.channels.fcm.service_acount: unknown key; did you mean `service_account`?";
    assert!(error.ends_with(right), "{error}");
}

#[test]
fn the_example_loads() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/minimal.toml")).unwrap();
    load(&text.replace("service-account.json", "secret.txt")).unwrap();
}
