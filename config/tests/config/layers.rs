//! Precedence of the layers, and parsing of environment and flags.

use crate::kit::Folder;
use pushgate_config::{Config, LogFormat, Sources};

const APP: &str = "[apps.demo.channels.fcm]\nkind = \"fcm\"\n";

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let folder =
        Folder::with("[server]\nlisten = \"127.0.0.1:1\"\n[log]\nlevel = \"warn\"\nformat = \"json\"\n")
            .variable("PUSHGATE_SERVER__LISTEN", "127.0.0.1:2")
            .variable("PUSHGATE_LOG__LEVEL", "debug")
            .flag("server.listen", "127.0.0.1:3")
            .flag("server.listen", "127.0.0.1:4");
    let config = folder.load().unwrap();
    assert_eq!(config.server.listen.port(), 4);
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.server.max_body, 4 * 1024 * 1024);
}

#[test]
fn environment_and_flags_are_converted_to_the_type_of_the_key() {
    let config = Folder::with(APP)
        .variable("PUSHGATE_SERVER__PUBLIC_METRICS", "true")
        .variable("PUSHGATE_SERVER__MAX_BODY", "4096")
        .variable("PUSHGATE_APPS__DEMO__CHANNELS__FCM__CONCURRENCY", "7")
        .variable("PUSHGATE_APPS__DEMO__ROUTES", "[{ platform = \"web\", channels = [\"fcm\"] }]")
        .flag("storage.path", "0123")
        .flag("server.listen", "[::]:80")
        .load()
        .unwrap();
    assert!(config.server.public_metrics);
    assert_eq!(config.server.max_body, 4096);
    assert_eq!(config.server.listen.to_string(), "[::]:80");
    assert_eq!(format!("{:?}", config.storage.kind), "Sqlite { path: \"0123\" }");
    let app = config.apps.values().next().unwrap();
    assert_eq!(app.channels.values().next().unwrap().concurrency, 7);
    assert_eq!(app.routes.len(), 1);
}

#[test]
fn a_variable_matches_a_name_of_the_file() {
    let config = Folder::with("[apps.\"Com.Example-1\".channels.fcm]\nkind = \"fcm\"\n")
        .variable("PUSHGATE_APPS__COM_EXAMPLE_1__CHANNELS__FCM__CONCURRENCY", "9")
        .load()
        .unwrap();
    let (id, app) = config.apps.iter().next().unwrap();
    assert_eq!((id.as_str(), app.channels.len()), ("Com.Example-1", 1));
    assert_eq!(app.channels.values().next().unwrap().concurrency, 9);
}

#[test]
fn a_mistake_in_a_variable_names_the_variable_and_the_key() {
    let errors = |name: &str, text: &str| Folder::with("").variable(name, text).errors();
    assert_eq!(
        errors("PUSHGATE_SERVER__LISTEN", "8080"),
        "environment PUSHGATE_SERVER__LISTEN: server.listen: \"8080\" is not an address; write ip:port, like \
         \"127.0.0.1:8080\""
    );
    assert_eq!(
        errors("PUSHGATE_SERVER__LISTN", "x"),
        "environment PUSHGATE_SERVER__LISTN: server.listn: unknown key; did you mean PUSHGATE_SERVER__LISTEN?"
    );
    assert_eq!(
        errors("PUSHGATE_SERVER_LISTEN", "x"),
        "environment PUSHGATE_SERVER_LISTEN: server_listen: unknown key; did you mean PUSHGATE_SERVER__LISTEN?"
    );
    assert_eq!(
        errors("PUSHGATE_LISTEN", "x"),
        "environment PUSHGATE_LISTEN: listen: unknown key; did you mean PUSHGATE_SERVER__LISTEN?"
    );
    assert_eq!(
        errors("PUSHGATE_LOG", "debug"),
        "environment PUSHGATE_LOG: log: found \"debug\", expected a table; name a key in it with two underscores, \
         like PUSHGATE_LOG__…"
    );
    assert_eq!(
        errors("PUSHGATE_SERVER__PUBLIC_METRICS", "yes"),
        "environment PUSHGATE_SERVER__PUBLIC_METRICS: server.public_metrics: found \"yes\", expected true or false"
    );
    assert_eq!(
        errors("PUSHGATE_SERVER__", "x"),
        "environment PUSHGATE_SERVER__: not a key; write it like PUSHGATE_SERVER__LISTEN, with two underscores a step"
    );
}

#[test]
fn a_mistake_in_a_flag_names_the_flag_and_the_key() {
    let errors = |key: &str, text: &str| Folder::with("").flag(key, text).errors();
    assert_eq!(
        errors("server.listen", "8080"),
        "--set server.listen=…: server.listen: \"8080\" is not an address; write ip:port, like \"127.0.0.1:8080\""
    );
    assert_eq!(
        errors("server.liste", "x"),
        "--set server.liste=…: server.liste: unknown key; did you mean `listen`?"
    );
    assert_eq!(
        errors("two words", "x"),
        "--set two words=…: not a key; write it dotted, like `server.listen`"
    );
}

#[test]
fn a_mistake_in_a_list_from_a_variable_names_the_variable_even_when_the_file_has_the_list() {
    let folder = Folder::with(&format!("{APP}[[apps.demo.routes]]\nchannels = [\"fcm\"]\n"))
        .variable("PUSHGATE_APPS__DEMO__ROUTES", "[{ channels = [\"fmc\"] }]");
    assert_eq!(
        folder.errors(),
        "environment PUSHGATE_APPS__DEMO__ROUTES: apps.demo.routes[0].channels[0]: \"fmc\" is not a channel of this \
         app; did you mean \"fcm\"?"
    );
}

#[test]
fn unrelated_variables_are_ignored() {
    let folder = Folder::with("")
        .variable("HOME", "/root")
        .variable("PUSHGATE_KEY", "x")
        .variable("PUSHGATE_URL", "x")
        .variable("PUSHGATE_CONFIG", "x")
        .variable("PUSHGATE_PORT_8080_TCP", "tcp://10.0.0.1:8080");
    folder.load().unwrap();
}

#[test]
fn without_sources_the_defaults_apply() {
    let config = Config::load(&Sources::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert!(config.keys.is_empty() && config.apps.is_empty() && config.files.is_empty());
}
