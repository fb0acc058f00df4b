//! Builds a [`Config`] from the merged layers, table by table, and collects all errors.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use figment::value::{Dict, Value};
use pushgate::{AppId, RetryPolicy};

use crate::config::{
    Config, KeyApps, KeyConfig, KeyHash, KeyScope, LimitsConfig, LogConfig, PresenceConfig, ServerConfig,
    Sources, StorageConfig, StorageKind,
};
use crate::error::ConfigErrors;
use crate::fields::{DurationValue, OneOrMany, Size};
use crate::layers::{self, Layered};
use crate::locate::{KeyPath, Place};
use crate::nearest::nearest;
use crate::read::{Reader, Rules, list, not_one_of};
use crate::schema::{RawKey, RawLimits, RawLog, RawPresence, RawServer, RawStorage, RawStorageKind, RawTop};
use crate::secret::References;

/// `max_body`. One notification for an audience of any allowed size needs less than 64 MiB.
const BODY: RangeInclusive<u64> = 1024..=64 * 1024 * 1024;
/// `max_header`. HTTP libraries need 8 KiB; a head over 1 MiB is an attack.
const HEADER: RangeInclusive<u64> = 8 * 1024..=1024 * 1024;
/// `max_body_bytes_in_flight`. Below the smallest `max_body` no request would fit.
const BODIES: RangeInclusive<u64> = 1024..=64 * 1024 * 1024 * 1024;
/// `max_connections`. 0 means that it is derived; Linux allows about a million descriptors per process.
const CONNECTIONS: RangeInclusive<u32> = 0..=1_000_000;
/// `header_timeout`. Below 100 ms mobile clients fail; a head that takes over a minute does not arrive.
const HEAD_TIME: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// `idle_timeout`. Client pools keep connections for an hour at most.
const IDLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// `request_timeout`. Below a second healthy requests fail; clients wait for ten minutes at most.
const REQUEST: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
/// `shutdown_grace`. Service managers kill a process after ten minutes at the latest.
const GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);
/// Retention. Below a minute an idempotency key expires before its retry; above a year the store only grows.
const KEEP: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(366 * 24 * 3600);

/// `devices_per_user`. A batch of a thousand users must fit into 65,536 numbered addresses.
const DEVICES: RangeInclusive<u32> = 1..=50;

/// `profiles_per_app`. More of them mean that an app creates one per message, which is a mistake.
const PROFILES: RangeInclusive<u32> = 1..=1000;
/// `rotations_per_minute`. A higher limit would have no effect.
const ROTATIONS: RangeInclusive<u32> = 0..=100_000;
/// Expiry of presence sessions. Below a second it precedes the next heartbeat; over an hour it does not show presence.
const LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(crate) fn load(sources: &Sources<'_>) -> Result<Config, ConfigErrors> {
    let Layered { value, defaults, origins } = layers::merge(sources)?;
    let origins = Arc::new(origins);
    let folder = sources.file.and_then(Path::parent).unwrap_or(Path::new(""));
    let mut reader = Reader::new(Arc::clone(&origins));
    leaves(&defaults, &KeyPath::default(), &mut reader.elsewhere);
    let references = References {
        environment: &sources.environment,
        folder,
        files: sources.file.map(PathBuf::from).into_iter().collect(),
    };
    let mut loader = Loader { reader, references, defaults, general_retry: RetryPolicy::default() };
    let config = loader.config(value);
    let Loader { reader, references, .. } = loader;
    ConfigErrors::from(reader.errors).into_result()?;
    let files = references.files.into_iter().collect();
    config.map(|config| Config { files, origins, ..config }).ok_or_else(ConfigErrors::default)
}

fn leaves(value: &Value, at: &KeyPath, into: &mut Vec<String>) {
    match value {
        Value::Dict(_, dict) => dict.iter().for_each(|(name, value)| leaves(value, &at.key(name), into)),
        _ => into.push(at.to_string()),
    }
}

/// State for reading all tables.
pub(crate) struct Loader<'a> {
    pub(crate) reader: Reader,
    pub(crate) references: References<'a>,
    defaults: Value,
    /// Policy of `[retry]`, for channels without overrides.
    pub(crate) general_retry: RetryPolicy,
}

impl Loader<'_> {
    fn config(&mut self, value: Value) -> Option<Config> {
        let top: RawTop = self.reader.read(value, &KeyPath::default(), &Rules::default())?;
        let server = self.server(top.server);
        let log = self.log(top.log);
        let storage = self.storage(top.storage);
        let limits = self.general_limits(top.limits);
        let presence = self.presence(top.presence);
        let at = KeyPath::from_iter(["retry"]);
        let retry = self.retry(top.retry, &at, self.general_retry);
        self.general_retry = retry.unwrap_or_default();
        let names: Vec<&str> = top.apps.keys().map(String::as_str).collect();
        let keys = self.keys(top.keys, &names);
        let plugins = self.plugins(top.plugins);
        let apps = self.apps(top.apps, limits.as_ref().map(|limits| limits.profiles_per_app));
        let (server, log, storage) = (server?, log?, storage?);
        let (limits, presence) = (limits?, presence?);
        retry?;
        let (files, origins) = (Vec::new(), Arc::default());
        Some(Config { server, log, storage, limits, presence, keys, plugins, apps, files, origins })
    }

    fn table<T: serde::de::DeserializeOwned>(&mut self, name: &'static str, value: Value) -> Option<T> {
        let defaults = self.defaults.as_dict().and_then(|defaults| defaults.get(name));
        let rules = Rules { defaults, ..Rules::default() };
        self.reader.read(value, &KeyPath::default().key(name), &rules)
    }

    fn server(&mut self, value: Value) -> Option<ServerConfig> {
        let raw: RawServer = self.table("server", value)?;
        let at = KeyPath::from_iter(["server"]);
        let max_body = self.size(&at.key("max_body"), raw.max_body, BODY);
        let in_flight = at.key("max_body_bytes_in_flight");
        let max_body_bytes_in_flight = self.size(&in_flight, raw.max_body_bytes_in_flight, BODIES);
        if max_body_bytes_in_flight < max_body {
            let message = format!("is less than server.max_body; write at least {max_body} bytes");
            self.reader.refuse(&in_flight, message);
        }
        self.within(&at.key("max_connections"), raw.max_connections, CONNECTIONS, |number| number);
        Some(ServerConfig {
            listen: raw.listen.0,
            max_body,
            max_body_bytes_in_flight,
            max_connections: raw.max_connections,
            header_timeout: self.duration(&at.key("header_timeout"), raw.header_timeout, HEAD_TIME),
            idle_timeout: self.duration(&at.key("idle_timeout"), raw.idle_timeout, IDLE),
            max_header: self.size(&at.key("max_header"), raw.max_header, HEADER),
            request_timeout: self.duration(&at.key("request_timeout"), raw.request_timeout, REQUEST),
            shutdown_grace: self.duration(&at.key("shutdown_grace"), raw.shutdown_grace, GRACE),
            public_url: raw.public_url.0,
            public_metrics: raw.public_metrics,
            rotation_without_user_token: raw.rotation_without_user_token,
            client_address_header: self
                .header_name(&at.key("client_address_header"), raw.client_address_header),
        })
    }

    /// Returns the name of a header. `None` if the text is empty.
    fn header_name(&mut self, at: &KeyPath, name: String) -> Option<String> {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            self.reader
                .refuse(at, format!("{name:?} is no name of a header; write one like \"X-Forwarded-For\""));
        }
        Some(name).filter(|name| !name.is_empty())
    }

    fn log(&mut self, value: Value) -> Option<LogConfig> {
        let raw: RawLog = self.table("log", value)?;
        if let Err(message) = check_filter(&raw.level) {
            self.reader.refuse(&KeyPath::from_iter(["log", "level"]), message);
        }
        Some(LogConfig { level: raw.level, format: raw.format })
    }

    fn storage(&mut self, value: Value) -> Option<StorageConfig> {
        let raw: RawStorage = self.table("storage", value)?;
        let at = KeyPath::from_iter(["storage"]);
        let kind = match raw.kind {
            RawStorageKind::Memory => StorageKind::Memory,
            RawStorageKind::Sqlite if raw.path.is_empty() => {
                self.reader
                    .refuse(&at.key("path"), "is empty; write the path of a file, like \"pushgate.db\"");
                return None;
            }
            RawStorageKind::Sqlite => StorageKind::Sqlite { path: raw.path.into() },
        };
        let keep = self.duration(&at.key("keep"), raw.keep, KEEP);
        let keep_pruned = self.duration(&at.key("keep_pruned"), raw.keep_pruned, KEEP);
        Some(StorageConfig { kind, keep, keep_pruned })
    }

    fn general_limits(&mut self, value: Value) -> Option<LimitsConfig> {
        let raw: RawLimits = self.table("limits", value)?;
        let at = KeyPath::from_iter(["limits"]);
        self.within(&at.key("devices_per_user"), raw.devices_per_user, DEVICES, |number| number);
        self.within(&at.key("profiles_per_app"), raw.profiles_per_app, PROFILES, |number| number);
        self.within(&at.key("rotations_per_minute"), raw.rotations_per_minute, ROTATIONS, |number| number);
        Some(LimitsConfig {
            devices_per_user: raw.devices_per_user as usize,
            profiles_per_app: raw.profiles_per_app as usize,
            rotations_per_minute: raw.rotations_per_minute,
        })
    }

    fn presence(&mut self, value: Value) -> Option<PresenceConfig> {
        let raw: RawPresence = self.table("presence", value)?;
        let at = KeyPath::from_iter(["presence"]);
        Some(PresenceConfig { lease: self.duration(&at.key("lease"), raw.lease, LEASE) })
    }

    fn keys(&mut self, values: Vec<Value>, apps: &[&str]) -> Vec<KeyConfig> {
        let mut keys = Vec::new();
        let mut ids = BTreeMap::new();
        let mut hashes = BTreeMap::new();
        for (i, value) in values.into_iter().enumerate() {
            let at = KeyPath::from_iter(["keys"]).index(i);
            // The value may be a key that was pasted in place of its hash.
            let rules = Rules { secret: true, examples: KEY_EXAMPLES, ..Rules::default() };
            let Some(raw) = self.reader.read::<RawKey>(value, &at, &rules) else { continue };
            if !is_slug(&raw.id) {
                self.reader
                    .refuse(&at.key("id"), format!("{:?} is not 1 to 64 of A-Z a-z 0-9 _ - .", raw.id));
            }
            let hash = key_hash(&raw.hash);
            if hash.is_none() {
                let message = "is not \"sha256:\" and 64 hexadecimal digits; `pushgate keys new` prints a key and its hash";
                self.reader.refuse(&at.key("hash"), message);
            }
            if let Some(first) = ids.insert(raw.id.clone(), i) {
                let first = self.describe_key(&KeyPath::from_iter(["keys"]).index(first));
                self.reader.refuse(
                    &at.key("id"),
                    format!("{:?} is the id of {first} already; choose another", raw.id),
                );
            } else if let Some(first) = hash.and_then(|hash| hashes.insert(hash.0, i)) {
                let first = self.describe_key(&KeyPath::from_iter(["keys"]).index(first));
                self.reader
                    .refuse(&at.key("hash"), format!("is the same key as {first}; keep one of the two"));
            }
            let apps = self.key_apps(&raw.apps, &at.key("apps"), apps);
            let scopes = self.key_scopes(&raw.scopes, &at.key("scopes"));
            keys.extend(hash.map(|hash| KeyConfig { id: raw.id, hash, apps, scopes }));
        }
        keys
    }

    /// Describes the location of another key of the file.
    fn describe_key(&self, key: &KeyPath) -> String {
        match self.reader.origins.place(key) {
            Place::File { line: Some(line), .. } => format!("{key} (line {line})"),
            _ => key.to_string(),
        }
    }

    fn key_apps(&mut self, names: &OneOrMany, at: &KeyPath, known: &[&str]) -> KeyApps {
        if names.is_empty() {
            self.reader.refuse(at, "is empty; write the apps the key is good for, or [\"*\"] for all");
        }
        let mut apps = Vec::new();
        let mut has_wildcard = false;
        for (i, name) in names.each() {
            let at = i.map_or_else(|| at.clone(), |i| at.index(i));
            match AppId::new(name) {
                _ if name == "*" => has_wildcard = true,
                Ok(app) if known.contains(&name) => apps.push(app),
                _ => {
                    let hint = match nearest(name, known.iter().copied()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None if known.is_empty() => {
                            "there is none yet: add [apps.NAME], or write \"*\"".to_owned()
                        }
                        None => format!("write {} or \"*\"", list(known, '"')),
                    };
                    self.reader.refuse(&at, format!("{name:?} is not an app; {hint}"));
                }
            }
        }
        if has_wildcard && !apps.is_empty() {
            self.reader.refuse(at, "\"*\" means every app; leave the others out");
        }
        if has_wildcard { KeyApps::All } else { KeyApps::These(apps) }
    }

    fn key_scopes(&mut self, names: &OneOrMany, at: &KeyPath) -> Vec<KeyScope> {
        let known = KeyScope::ALL.map(KeyScope::as_str);
        if names.is_empty() {
            self.reader.refuse(at, format!("is empty; write some of {}", list(&known, '"')));
        }
        let mut scopes = Vec::new();
        for (i, name) in names.each() {
            match KeyScope::ALL.into_iter().find(|scope| scope.as_str() == name) {
                Some(scope) => scopes.push(scope),
                None => {
                    let at = i.map_or_else(|| at.clone(), |i| at.index(i));
                    let message = not_one_of(Some(name), nearest(name, known), &known);
                    self.reader.refuse(&at, message);
                }
            }
        }
        scopes
    }

    fn size(&mut self, at: &KeyPath, size: Size, range: RangeInclusive<u64>) -> usize {
        self.within(at, size.0, range, Size);
        usize::try_from(size.0).unwrap_or(usize::MAX)
    }

    pub(crate) fn duration(
        &mut self,
        at: &KeyPath,
        duration: DurationValue,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        self.within(at, duration.0, range, humantime::format_duration);
        duration.0
    }

    /// Refuses a value that is out of range. `shown` formats values for the error.
    pub(crate) fn within<T: PartialOrd + Copy, S: Display>(
        &mut self,
        at: &KeyPath,
        value: T,
        range: RangeInclusive<T>,
        shown: impl Fn(T) -> S,
    ) {
        if !range.contains(&value) {
            let (min, max) = (shown(*range.start()), shown(*range.end()));
            let message = format!("{} is out of range; write {min} to {max}", shown(value));
            self.reader.refuse(at, message);
        }
    }

    /// Reads a table of named values without looking at the values.
    pub(crate) fn dict(&mut self, value: Value, at: &KeyPath) -> Option<Dict> {
        self.reader.read(value, at, &Rules { secret: true, ..Rules::default() })
    }
}

const KEY_EXAMPLES: &[(&str, &str)] = &[
    ("id", "id = \"im-server\""),
    ("hash", "hash = \"sha256:…\""),
    ("apps", "apps = [\"*\"]"),
    ("scopes", "scopes = [\"send\"]"),
];

pub(crate) fn is_slug(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=64).contains(&text.len()) && text.chars().all(is_allowed)
}

fn key_hash(text: &str) -> Option<KeyHash> {
    text.strip_prefix("sha256:").and_then(sha256).map(KeyHash)
}

/// Parses 64 hexadecimal digits. `None` for any other text.
pub(crate) fn sha256(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// Refuses misspelled levels, which `tracing` would accept as module names and log nothing. `tracing` checks the rest.
fn check_filter(filter: &str) -> Result<(), String> {
    if filter.contains('[') {
        return Ok(());
    }
    for directive in filter.split(',') {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            continue;
        }
        return Err(match nearest(level, LEVELS) {
            Some(near) => format!("{level:?} is not a level; did you mean \"{near}\"?"),
            None => format!(
                "{level:?} is not a level; write {}, or one a module, like \"info,pushgate=debug\"",
                list(&LEVELS, '"')
            ),
        });
    }
    Ok(())
}
