//! `default.toml` contains the defaults, and its examples are valid.

use crate::kit::Folder;
use pushgate_config::{Config, DEFAULT_TOML, Sources};

/// Returns `default.toml` with every example line (`#key = …`, without a space after the `#`) uncommented.
fn examples_switched_on() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.starts_with(' ') => example.to_owned(),
        _ => line.to_owned(),
    };
    DEFAULT_TOML.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_default_file_loads_alone_and_equals_the_default() {
    let built_in = Config::load(&Sources::default()).unwrap();
    let file = Folder::with(DEFAULT_TOML).load().unwrap();
    assert_eq!(
        format!("{:?}", (built_in.server, built_in.log, built_in.storage, built_in.keys, built_in.apps)),
        format!("{:?}", (file.server, file.log, file.storage, file.keys, file.apps))
    );
}

#[test]
fn every_example_of_the_default_file_works() {
    let config = Folder::with(&examples_switched_on())
        .file("service-account.json", "{}")
        .file("user.key", &"k".repeat(32))
        .load()
        .unwrap();
    let app = config.apps.values().next().unwrap();
    assert_eq!((config.keys.len(), app.channels.len(), app.routes.len(), app.templates.len()), (1, 1, 1, 1));
    let route = &app.routes[0].selector;
    assert_eq!((route.platforms.len(), route.countries.len(), route.min_app_build), (2, 1, Some(100)));
}
