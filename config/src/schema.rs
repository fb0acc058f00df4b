//! The keys there are, and what they mean together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::{Dict, Value};
use pushgate::template::{TemplateSource, Variant};
use pushgate::{AppId, ChannelName, Platform, Route, Secret, Selector, TemplateName};
use serde::Deserialize;

use crate::error::{ConfigError, ConfigErrors, nearest};
use crate::locate::Source;
use crate::section::{Section, resolve};

/// The standalone gateway's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listener.
    pub server: Server,
    /// What is logged.
    pub log: Log,
    /// Where things are kept.
    pub storage: Storage,
    /// Server keys.
    pub keys: Vec<KeyConfig>,
    /// Apps, by id.
    pub apps: BTreeMap<AppId, AppConfig>,
}

/// The listener and its limits.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The longest a request may take, in seconds.
    pub request_seconds: u64,
    /// How long attempts under way may take on the way down, in seconds.
    pub drain_seconds: u64,
}

/// What is logged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Where things are kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// In what.
    pub kind: StorageKind,
    /// In which file.
    pub path: PathBuf,
    /// How long receipts and idempotency keys are kept, in days.
    pub keep_days: u64,
}

/// What things are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// One file.
    Sqlite,
    /// Nothing: gone with the process.
    Memory,
}

/// A server key, by its digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// Its name, for logs.
    pub id: String,
    /// SHA-256 of the key, 64 hexadecimal digits.
    pub sha256: String,
    /// The apps it is good for; `*` for all.
    pub apps: Vec<String>,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Submit and read notifications.
    Send,
    /// Register and remove devices.
    Devices,
    /// Metrics.
    Admin,
}

/// One app.
#[derive(Debug, Clone, Default)]
pub struct AppConfig {
    /// Its channels, by name.
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
    /// Its routes, in order.
    pub routes: Vec<Route>,
    /// Its templates.
    pub templates: BTreeMap<TemplateName, TemplateSource>,
}

/// One channel.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Which implementation.
    pub kind: String,
    /// Addresses in flight at once.
    pub concurrency: u32,
    /// How it reaches its vendor.
    pub transport: TransportConfig,
    /// The rest, which is the implementation's own.
    pub section: Section,
}

/// How a channel reaches its vendor.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransportConfig {
    /// `system`, `bundled`, or a PEM text.
    pub roots: Option<String>,
    /// A proxy, with its password.
    pub proxy: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    server: Server,
    log: Log,
    storage: Storage,
    #[serde(default)]
    keys: Vec<KeyConfig>,
    #[serde(default)]
    apps: BTreeMap<AppId, RawApp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApp {
    #[serde(default)]
    channels: BTreeMap<ChannelName, Dict>,
    #[serde(default)]
    routes: Vec<RawRoute>,
    #[serde(default)]
    templates: BTreeMap<TemplateName, RawTemplate>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn list(this: Option<Self>) -> Vec<T> {
        match this {
            None => Vec::new(),
            Some(Self::One(one)) => vec![one],
            Some(Self::Many(many)) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    platform: Option<OneOrMany<Platform>>,
    manufacturer: Option<OneOrMany<String>>,
    country: Option<OneOrMany<String>>,
    min_app_build: Option<u64>,
    max_app_build: Option<u64>,
    channels: Vec<ChannelName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    title: Option<String>,
    content: Option<String>,
    payload: Option<String>,
    #[serde(default)]
    locales: BTreeMap<String, RawVariant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVariant {
    title: Option<String>,
    content: Option<String>,
    payload: Option<String>,
}

pub(crate) fn read(
    figment: &Figment,
    source: Option<&Source>,
    folder: &Path,
) -> Result<Config, ConfigErrors> {
    let raw: Raw = figment.extract().map_err(|error| ConfigError::of(&error, source, &[]))?;
    let mut errors = Vec::new();
    let mut apps = BTreeMap::new();
    for (id, raw_app) in raw.apps {
        let mut path = vec!["apps".to_owned(), id.to_string()];
        let app = app(raw_app, &mut path, source, folder, &mut errors);
        apps.insert(id, app);
    }
    for (at, key) in raw.keys.iter().enumerate() {
        check_key(key, at, &apps, source, &mut errors);
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    Ok(Config { server: raw.server, log: raw.log, storage: raw.storage, keys: raw.keys, apps })
}

fn check_key(
    key: &KeyConfig,
    at: usize,
    apps: &BTreeMap<AppId, AppConfig>,
    source: Option<&Source>,
    errors: &mut Vec<ConfigError>,
) {
    let mut wrong = |field: &str, why: String| {
        errors.push(ConfigError::at(source, &["keys".to_owned(), at.to_string(), field.to_owned()], why));
    };
    if key.sha256.len() != 64 || !key.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        wrong("sha256", "not 64 hexadecimal digits; `pushgate keys new` prints the right line".to_owned());
    }
    let known: Vec<_> = apps.keys().map(AppId::as_str).collect();
    for app in key.apps.iter().filter(|app| *app != "*" && !known.contains(&app.as_str())) {
        wrong("apps", unknown("app", app, &known));
    }
}

fn unknown(what: &str, given: &str, known: &[&str]) -> String {
    match nearest(given, known) {
        Some(near) => format!("there is no {what} `{given}`; did you mean `{near}`?"),
        None => format!("there is no {what} `{given}`"),
    }
}

fn app(
    raw: RawApp,
    path: &mut Vec<String>,
    source: Option<&Source>,
    folder: &Path,
    errors: &mut Vec<ConfigError>,
) -> AppConfig {
    let mut app = AppConfig::default();
    for (name, table) in raw.channels {
        path.extend(["channels".to_owned(), name.to_string()]);
        match channel(table, path, source, folder) {
            Ok(channel) => drop(app.channels.insert(name, channel)),
            Err(wrong) => errors.extend(wrong.0),
        }
        path.truncate(path.len() - 2);
    }
    let known: Vec<_> = app.channels.keys().map(ChannelName::as_str).collect();
    for (at, raw) in raw.routes.into_iter().enumerate() {
        let key: Vec<_> = path
            .iter()
            .cloned()
            .chain(["routes".to_owned(), at.to_string(), "channels".to_owned()])
            .collect();
        if raw.channels.is_empty() {
            errors.push(ConfigError::at(source, &key, "empty; name at least one channel of the app"));
        }
        for channel in raw.channels.iter().filter(|channel| !known.contains(&channel.as_str())) {
            errors.push(ConfigError::at(source, &key, unknown("channel", channel.as_str(), &known)));
        }
        app.routes.push(route(raw));
    }
    app.templates = raw.templates.into_iter().map(|(name, raw)| (name, template(raw))).collect();
    app
}

fn route(raw: RawRoute) -> Route {
    let selector = Selector {
        platforms: OneOrMany::list(raw.platform),
        manufacturers: OneOrMany::list(raw.manufacturer),
        countries: OneOrMany::list(raw.country),
        min_app_build: raw.min_app_build,
        max_app_build: raw.max_app_build,
    };
    Route { selector, channels: raw.channels }
}

fn template(raw: RawTemplate) -> TemplateSource {
    let variant = |raw: RawVariant| Variant { title: raw.title, content: raw.content, payload: raw.payload };
    TemplateSource {
        default: Variant { title: raw.title, content: raw.content, payload: raw.payload },
        locales: raw.locales.into_iter().map(|(locale, raw)| (locale, variant(raw))).collect(),
    }
}

/// The keys every channel has are taken out; the rest is the implementation's.
fn channel(
    table: Dict,
    path: &mut Vec<String>,
    source: Option<&Source>,
    folder: &Path,
) -> Result<ChannelConfig, ConfigErrors> {
    let mut value = Value::from(table);
    let mut errors = Vec::new();
    resolve(&mut value, path, folder, source, &mut errors);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let mut table = value.into_dict().unwrap_or_default();
    let mut general = Dict::new();
    for key in ["kind", "concurrency", "transport"] {
        general.extend(table.remove(key).map(|value| (key.to_owned(), value)));
    }
    #[derive(Deserialize)]
    struct General {
        kind: String,
        concurrency: Option<u32>,
        #[serde(default)]
        transport: TransportConfig,
    }
    let general: General = Section::new(path.clone(), general, source).parse()?;
    Ok(ChannelConfig {
        kind: general.kind,
        concurrency: general.concurrency.unwrap_or(1024),
        transport: general.transport,
        section: Section::new(path.clone(), table, source),
    })
}
