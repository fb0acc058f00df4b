//! Validated configuration as the server uses it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pushgate::profile::Options;
use pushgate::template::TemplateSource;
use pushgate::{AppId, ChannelName, Profile, RetryPolicy, Route, Secret, TemplateName};
use serde::Deserialize;

use crate::error::{ConfigError, ConfigErrors};
use crate::locate::{KeyPath, Origins};
use crate::section::Section;

/// Sources of a configuration. Flags override the environment, which overrides the file, which overrides the built-in defaults.
#[derive(Default)]
pub struct Sources<'a> {
    /// TOML file. `None` means that only defaults, environment and flags apply.
    pub file: Option<&'a Path>,
    /// Environment variables. `PUSHGATE_SERVER__LISTEN` sets `server.listen`, and `env:NAME` refers to one.
    /// Use [`process_environment`] outside of tests.
    pub environment: BTreeMap<String, String>,
    /// Dotted keys and values of `--set KEY=VALUE`. Later ones override earlier ones.
    pub flags: Vec<(String, String)>,
}

/// Returns the environment of this process. Variables that are not UTF-8 are left out.
#[must_use]
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect()
}

/// Complete configuration of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listener, limits and timeouts.
    pub server: ServerConfig,
    /// Log level and format.
    pub log: LogConfig,
    /// Storage of devices and queue.
    pub storage: StorageConfig,
    /// Limits of users, apps and clients.
    pub limits: LimitsConfig,
    /// Presence sessions.
    pub presence: PresenceConfig,
    /// Server keys of callers.
    pub keys: Vec<KeyConfig>,
    /// Plugins that provide further kinds of channels.
    pub plugins: Vec<PluginConfig>,
    /// Apps by their id.
    pub apps: BTreeMap<AppId, AppConfig>,
    /// All files that were read: the configuration file and those that `file:` names.
    pub files: Vec<PathBuf>,
    pub(crate) origins: Arc<Origins>,
}

impl Config {
    /// Reads and validates all sources.
    ///
    /// # Errors
    /// All errors, each with its file and line (or variable, or flag), its key, and a correction. If a source cannot be parsed
    /// at all, only the errors of that source are returned.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigErrors> {
        crate::load::load(sources)
    }

    /// Returns an error about a key with its file and line. `key` lists the names from the top.
    ///
    /// It is for errors that other crates detect, such as a template that does not compile.
    #[must_use]
    pub fn refuse(&self, key: &[&str], message: impl Into<String>) -> ConfigError {
        let key: KeyPath = key.iter().copied().collect();
        ConfigError::new(self.origins.place(&key), key, message)
    }

    /// Returns an error about a key of the plugin at `index` in [`Config::plugins`], with its file and line.
    #[must_use]
    pub fn refuse_plugin(&self, index: usize, key: &str, message: impl Into<String>) -> ConfigError {
        let key = KeyPath::from_iter(["plugins"]).index(index).key(key);
        ConfigError::new(self.origins.place(&key), key, message)
    }
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Address of the listener. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Largest accepted request body, in bytes.
    pub max_body: usize,
    /// Largest accepted request head, in bytes.
    pub max_header: usize,
    /// Memory budget for the bodies of all requests in progress, in bytes.
    pub max_body_bytes_in_flight: usize,
    /// Largest number of open connections. 0 derives it from the limit of open descriptors.
    pub max_connections: u32,
    /// Timeout for receiving the head of a request.
    pub header_timeout: Duration,
    /// Timeout between two requests of a connection, and for reading a response.
    pub idle_timeout: Duration,
    /// Timeout of a request, including `?wait=`.
    pub request_timeout: Duration,
    /// Deadline of a shutdown, for requests and deliveries together. Unfinished deliveries stay queued.
    pub shutdown_grace: Duration,
    /// Base URL at which devices report device events, without a slash at the end. `None` means that they report none.
    pub public_url: Option<String>,
    /// `true` if `/metrics` answers without a key.
    pub public_metrics: bool,
    /// Addresses for which knowing the old one suffices to replace it.
    pub rotation_without_user_token: RotationProof,
    /// Header with the client's address, set by a reverse proxy. `None` means that the address of the connection is used.
    pub client_address_header: Option<String>,
}

/// Addresses for which knowing the old one suffices to replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationProof {
    /// Web Push subscriptions, which contain a secret.
    Subscriptions,
    /// Web Push subscriptions and tokens.
    All,
    /// No addresses.
    None,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Filter directive of `tracing`, such as `info` or `info,pushgate=debug`.
    pub level: String,
    /// Format of log lines.
    pub format: LogFormat,
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// Kind of the store.
    pub kind: StorageKind,
    /// Retention of delivery status and idempotency keys.
    pub keep: Duration,
    /// Retention of pruned addresses, which can be restored until then.
    pub keep_pruned: Duration,
}

/// Kind of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageKind {
    /// SQLite database file.
    Sqlite {
        /// Path of the file. A relative path starts at the working directory.
        path: PathBuf,
    },
    /// Memory of the process. It is lost when the process ends.
    Memory,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Largest number of devices of one user. Beyond it, the devices registered longest ago are removed.
    pub devices_per_user: usize,
    /// Largest number of profiles of one app.
    pub profiles_per_app: usize,
    /// Largest number of rotations from one client address per minute. 0 means no limit.
    pub rotations_per_minute: u32,
}

/// `[presence]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceConfig {
    /// Time after its last heartbeat at which a presence session expires, unless the heartbeat gives another one.
    pub lease: Duration,
}

/// `[[keys]]`: server key, stored as its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Name of the key in logs and metrics.
    pub id: String,
    /// SHA-256 of the key.
    pub hash: KeyHash,
    /// Apps that the key is valid for.
    pub apps: KeyApps,
    /// Scopes of the key.
    pub scopes: Vec<KeyScope>,
}

impl KeyConfig {
    /// Returns `true` if the key is valid for the app and has the scope.
    #[must_use]
    pub fn allows(&self, app: &AppId, scope: KeyScope) -> bool {
        let is_valid_for_app = match &self.apps {
            KeyApps::All => true,
            KeyApps::These(apps) => apps.contains(app),
        };
        is_valid_for_app && self.scopes.contains(&scope)
    }
}

/// SHA-256 of a server key. Compare it in constant time. `Debug` does not print it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// Apps that a key is valid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyApps {
    /// Every app, written `["*"]`.
    All,
    /// These apps, at least one.
    These(Vec<AppId>),
}

/// Scope of a server key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyScope {
    /// Submits, reads and revokes notifications.
    Send,
    /// Registers and lists devices, sets presence and push rules.
    Devices,
    /// Operates the gateway: metrics, pruned addresses, the queue.
    Admin,
}

impl KeyScope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Send, Self::Devices, Self::Admin];

    /// Returns the name of the scope in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Devices => "devices",
            Self::Admin => "admin",
        }
    }
}

/// `[[plugins]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginConfig {
    /// Path of the shared library.
    pub path: PathBuf,
    /// Expected SHA-256 of the file. `None` accepts any file.
    pub sha256: Option<[u8; 32]>,
    /// Process that the plugin runs in.
    pub isolation: PluginIsolation,
    /// Addresses that its requests may reach.
    pub network: PluginNetwork,
}

/// Addresses that a plugin's requests may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginNetwork {
    /// Public HTTPS services only.
    Public,
    /// Every address, including the gateway's own network and plain HTTP.
    Any,
}

/// Process that a plugin runs in.
#[derive(Clone, PartialEq, Eq)]
pub enum PluginIsolation {
    /// The gateway's own process.
    None,
    /// A child process for each channel, with these limits.
    Process {
        /// Limit of the address space, in bytes.
        memory: u64,
        /// Limit of open files.
        open_files: u32,
        /// Environment variables of the process. `Debug` does not print the values, which may be secrets.
        environment: Vec<(String, String)>,
    },
}

impl fmt::Debug for PluginIsolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Process { memory, open_files, environment } => {
                let names: Vec<_> = environment.iter().map(|(name, _)| name).collect();
                write!(f, "Process({memory} bytes, {open_files} files, {names:?})")
            }
        }
    }
}

/// `[apps.NAME]`
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// Channels by their name.
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
    /// Routes. The first one that matches a device applies. Without routes the device's first address is used.
    pub routes: Vec<Route>,
    /// Template sources, not compiled.
    pub templates: BTreeMap<TemplateName, TemplateSource>,
    /// Profiles by their name.
    pub profiles: BTreeMap<String, Profile>,
    /// Native options per channel, by category.
    pub categories: BTreeMap<String, Options>,
    /// Keys that verify user tokens. Several keys allow one to replace another.
    pub user_keys: Vec<UserKeyConfig>,
}

/// `[[apps.NAME.user_keys]]`: key that verifies user tokens of the app's IM server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKeyConfig {
    /// `kid` of the tokens that the key signs.
    pub id: String,
    /// Signature algorithm.
    pub algorithm: UserKeyAlgorithm,
    /// Shared secret for HS256. Ed25519 public key as PEM or base64 for `EdDSA`.
    pub key: Secret,
}

/// Signature algorithm of user tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKeyAlgorithm {
    /// HMAC with SHA-256 (RFC 7518 §3.2).
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

/// `[apps.NAME.channels.NAME]`
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Kind of the channel, such as `fcm`.
    pub kind: String,
    /// Largest number of addresses in flight.
    pub concurrency: u32,
    /// Retry policy of failed deliveries: `[retry]` with the overrides of the channel's own table.
    pub retry: RetryPolicy,
    /// Settings of the HTTP client.
    pub transport: TransportConfig,
    /// Keys that the channel defines.
    pub section: Section,
}

/// `[apps.NAME.channels.NAME.transport]`. The transport has a default for every missing key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransportConfig {
    /// Trusted certificate authorities.
    pub roots: Roots,
    /// HTTP proxy, `http://user:password@host:port`. It is a secret because of the password.
    pub proxy: Option<Secret>,
    /// Timeout for connecting.
    pub connect_timeout: Option<Duration>,
    /// Largest number of connections to one host.
    pub max_connections: Option<u32>,
    /// Socket addresses by host, used instead of name resolution. The certificate and requests still name the host.
    pub connect_to: BTreeMap<String, SocketAddr>,
}

/// Trusted certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Authorities of the operating system.
    #[default]
    System,
    /// Mozilla's list, built in.
    Bundled,
    /// Only these certificates, as PEM text.
    Pem(Secret),
}
