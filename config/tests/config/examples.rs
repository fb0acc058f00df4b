//! The example files load as they are.

use crate::kit::Folder;
use pushgate_config::{KeyScope, StorageKind};

#[test]
fn minimal_loads() {
    let config = Folder::with(include_str!("../../examples/minimal.toml"))
        .file("service-account.json", "{}")
        .load()
        .unwrap();
    let (app, _) = config.apps.iter().next().unwrap();
    assert!(config.keys[0].allows(app, KeyScope::Send) && !config.keys[0].allows(app, KeyScope::Admin));
}

#[test]
fn production_loads() {
    let config = Folder::with(include_str!("../../examples/production.toml"))
        .variable("FCM_SERVICE_ACCOUNT", "{}")
        .variable("PUSH_PROXY", "http://user:password@proxy.example:3128")
        .load()
        .unwrap();
    assert_eq!(config.storage.kind, StorageKind::Sqlite { path: "/var/lib/pushgate/pushgate.db".into() });
    let app = config.apps.values().next().unwrap();
    assert_eq!((app.channels.len(), app.routes.len(), app.templates.len()), (2, 2, 2));
}

#[test]
fn multi_app_loads() {
    let config = Folder::with(include_str!("../../examples/multi-app.toml"))
        .file("secrets/chat.json", "{}")
        .file("secrets/shop.json", "{}")
        .file("secrets/shop-old.json", "{}")
        .load()
        .unwrap();
    let (chat, shop) = (config.apps.keys().next().unwrap(), config.apps.keys().nth(1).unwrap());
    assert!(config.keys[0].allows(chat, KeyScope::Send) && !config.keys[0].allows(shop, KeyScope::Send));
    assert!(config.keys[2].allows(chat, KeyScope::Admin) && config.keys[2].allows(shop, KeyScope::Admin));
}

#[test]
fn every_example_file_has_a_test() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["minimal.toml", "multi-app.toml", "production.toml"]);
}
