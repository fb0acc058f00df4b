//! Tables of the configuration as they are written: their keys and types. `default.toml` documents them; `config.rs` has the
//! validated types.

use std::collections::BTreeMap;

use figment::value::Value;
use pushgate::app::DEFAULT_CONCURRENCY;
use pushgate::{Mode, Priority};
use serde::Deserialize;

use crate::config::{LogFormat, RotationProof};
use crate::fields::{DurationValue, Listen, OneOrMany, PublicUrl, Size};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTop {
    pub(crate) server: Value,
    pub(crate) log: Value,
    pub(crate) storage: Value,
    pub(crate) limits: Value,
    pub(crate) presence: Value,
    pub(crate) retry: Value,
    #[serde(default)]
    pub(crate) keys: Vec<Value>,
    #[serde(default)]
    pub(crate) plugins: Vec<Value>,
    #[serde(default)]
    pub(crate) apps: BTreeMap<String, Value>,
}

/// Process that a plugin runs in.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawIsolation {
    #[default]
    Process,
    None,
}

/// Addresses that a plugin's requests may reach.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawNetwork {
    #[default]
    Public,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPlugin {
    pub(crate) path: String,
    pub(crate) sha256: Option<String>,
    #[serde(default)]
    pub(crate) isolation: RawIsolation,
    #[serde(default)]
    pub(crate) network: RawNetwork,
    pub(crate) memory: Option<Size>,
    pub(crate) open_files: Option<u32>,
    pub(crate) environment: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawServer {
    pub(crate) listen: Listen,
    pub(crate) max_body: Size,
    pub(crate) max_header: Size,
    pub(crate) max_body_bytes_in_flight: Size,
    pub(crate) max_connections: u32,
    pub(crate) header_timeout: DurationValue,
    pub(crate) idle_timeout: DurationValue,
    pub(crate) request_timeout: DurationValue,
    pub(crate) shutdown_grace: DurationValue,
    pub(crate) public_url: PublicUrl,
    pub(crate) public_metrics: bool,
    pub(crate) rotation_without_user_token: RotationProof,
    pub(crate) client_address_header: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLog {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// Kind of the store.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawStorageKind {
    Sqlite,
    Memory,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStorage {
    pub(crate) kind: RawStorageKind,
    pub(crate) path: String,
    pub(crate) keep: DurationValue,
    pub(crate) keep_pruned: DurationValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimits {
    pub(crate) devices_per_user: u32,
    pub(crate) profiles_per_app: u32,
    pub(crate) rotations_per_minute: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPresence {
    pub(crate) lease: DurationValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawKey {
    pub(crate) id: String,
    pub(crate) hash: String,
    pub(crate) apps: OneOrMany,
    pub(crate) scopes: OneOrMany,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawApp {
    #[serde(default)]
    pub(crate) channels: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) routes: Vec<Value>,
    #[serde(default)]
    pub(crate) templates: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) categories: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) user_keys: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    #[serde(default)]
    pub(crate) mode: Mode,
    pub(crate) ttl: Option<DurationValue>,
    pub(crate) priority: Option<Priority>,
    pub(crate) category: Option<String>,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUserKey {
    pub(crate) id: String,
    pub(crate) alg: String,
    pub(crate) key: String,
}

/// Keys of every channel. All others are defined by the channel.
pub(crate) const CHANNEL_KEYS: &[&str] = &["kind", "concurrency", "transport", "retry"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawChannel {
    pub(crate) kind: String,
    #[serde(default = "default_concurrency")]
    pub(crate) concurrency: u32,
    pub(crate) transport: Option<Value>,
    pub(crate) retry: Option<Value>,
}

/// Retry settings: all of them in `[retry]`, overrides in a channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetry {
    pub(crate) first_delay: Option<DurationValue>,
    pub(crate) factor: Option<f64>,
    pub(crate) max_delay: Option<DurationValue>,
    pub(crate) jitter: Option<f64>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) give_up_after: Option<DurationValue>,
}

const fn default_concurrency() -> u32 {
    DEFAULT_CONCURRENCY
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTransport {
    pub(crate) roots: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) connect_timeout: Option<DurationValue>,
    pub(crate) max_connections: Option<u32>,
    #[serde(default)]
    pub(crate) connect_to: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRoute {
    pub(crate) platform: Option<OneOrMany>,
    pub(crate) manufacturer: Option<OneOrMany>,
    pub(crate) country: Option<OneOrMany>,
    pub(crate) capability: Option<OneOrMany>,
    pub(crate) min_app_build: Option<u64>,
    pub(crate) max_app_build: Option<u64>,
    pub(crate) channels: OneOrMany,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTemplate {
    pub(crate) title: Option<String>,
    pub(crate) content: Option<String>,
    pub(crate) payload: Option<String>,
    #[serde(default)]
    pub(crate) locales: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawVariant {
    pub(crate) title: Option<String>,
    pub(crate) content: Option<String>,
    pub(crate) payload: Option<String>,
}
