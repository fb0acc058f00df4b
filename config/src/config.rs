//! The configuration as the server gets it: plain types that cannot be wrong.

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

/// What a configuration is made of, later over earlier: built-in defaults, file, environment, flags.
#[derive(Default)]
pub struct Sources<'a> {
    /// The TOML file; without one only defaults, environment and flags count.
    pub file: Option<&'a Path>,
    /// The environment: `PUSHGATE_SERVER__LISTEN` sets `server.listen`, and `env:NAME` is looked up here.
    /// Take [`process_environment`] outside of tests.
    pub environment: BTreeMap<String, String>,
    /// `--set KEY=VALUE`: dotted keys and their values, later over earlier.
    pub flags: Vec<(String, String)>,
}

/// The environment of this process. A variable that is not UTF-8 counts as not set.
#[must_use]
pub fn process_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)))
        .collect()
}

/// Everything the server is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it listens and how long it waits.
    pub server: ServerConfig,
    /// What it logs.
    pub log: LogConfig,
    /// Where it keeps what it must not lose.
    pub storage: StorageConfig,
    /// How much of everything there may be.
    pub limits: LimitsConfig,
    /// Who counts as online.
    pub presence: PresenceConfig,
    /// Who may ask it for what.
    pub keys: Vec<KeyConfig>,
    /// Channels that are not compiled in.
    pub plugins: Vec<PluginConfig>,
    /// The tenants.
    pub apps: BTreeMap<AppId, AppConfig>,
    /// Every file that was read: the configuration file and those named by `file:`. Watch these to reload.
    pub files: Vec<PathBuf>,
    pub(crate) origins: Arc<Origins>,
}

impl Config {
    /// Reads and checks all sources.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first, each with file and line (or variable, or flag), key, and what
    /// would be right. When a source cannot be read as such, only what is wrong with that is told.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigErrors> {
        crate::load::load(sources)
    }

    /// An error about a key (its names, top down), placed at its line. For what only the assembly can tell: a template
    /// that does not compile, a log level that does not parse.
    #[must_use]
    pub fn refuse(&self, key: &[&str], message: impl Into<String>) -> ConfigError {
        let key: KeyPath = key.iter().copied().collect();
        ConfigError::new(self.origins.place(&key), key, message)
    }

    /// Returns an error about a key of the plugin at `index` in [`Config::plugins`], placed at its line.
    #[must_use]
    pub fn refuse_plugin(&self, index: usize, key: &str, message: impl Into<String>) -> ConfigError {
        let key = KeyPath::from_iter(["plugins"]).index(index).key(key);
        ConfigError::new(self.origins.place(&key), key, message)
    }
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The largest request body taken, in bytes.
    pub max_body: usize,
    /// The largest request head taken, in bytes.
    pub max_header: usize,
    /// Budget for the bodies of all requests together, in bytes.
    pub max_body_bytes_in_flight: usize,
    /// Maximum number of open connections; 0 derives it from the limit of open descriptors.
    pub max_connections: u32,
    /// Maximum time for the head of a request.
    pub header_timeout: Duration,
    /// Maximum time between two requests of a connection, and for reading a response.
    pub idle_timeout: Duration,
    /// How long a request may take, `?wait=` included.
    pub request_timeout: Duration,
    /// Maximum duration of a shutdown, for requests and deliveries together; the rest stays queued.
    pub shutdown_grace: Duration,
    /// Where devices reach it, without a slash at the end; none when they are not to tell what became of what they got.
    pub public_url: Option<String>,
    /// Whether `/metrics` answers without a key.
    pub public_metrics: bool,
    /// Addresses for which the old one is proof enough to replace it.
    pub rotation_without_user_token: RotationProof,
    /// Header in which a reverse proxy names the client's address. `None` means that the connection's address counts.
    pub client_address_header: Option<String>,
}

/// Addresses that may be replaced with nothing but the old one as proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RotationProof {
    /// Web Push subscriptions, which have a secret in them.
    Subscriptions,
    /// Tokens, too.
    All,
    /// Nothing.
    None,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter directive of `tracing`: `info`, `info,pushgate=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// Which store.
    pub kind: StorageKind,
    /// How long receipts and idempotency keys are kept.
    pub keep: Duration,
    /// Time for which pruned addresses are kept, so that they can be restored.
    pub keep_pruned: Duration,
}

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageKind {
    /// A database file.
    Sqlite {
        /// Relative to the working directory.
        path: PathBuf,
    },
    /// Nothing survives the process.
    Memory,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The most devices of one user; beyond it, those registered longest ago are forgotten.
    pub devices_per_user: usize,
    /// The most profiles of one app.
    pub profiles_per_app: usize,
    /// Maximum number of rotations from one client address in a minute; 0 is no limit.
    pub rotations_per_minute: u32,
}

/// `[presence]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceConfig {
    /// How long a session lives after the last word of it, unless that word says otherwise.
    pub lease: Duration,
}

/// `[[keys]]`: a server key, known by its hash only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Its name in logs and metrics.
    pub id: String,
    /// SHA-256 of the key.
    pub hash: KeyHash,
    /// For which apps.
    pub apps: KeyApps,
    /// For what.
    pub scopes: Vec<KeyScope>,
}

impl KeyConfig {
    /// Whether the key is good for this in that app.
    #[must_use]
    pub fn allows(&self, app: &AppId, scope: KeyScope) -> bool {
        let for_app = match &self.apps {
            KeyApps::All => true,
            KeyApps::These(apps) => apps.contains(app),
        };
        for_app && self.scopes.contains(&scope)
    }
}

/// SHA-256 of a server key. Compare it in constant time; it does not print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// For which apps a key is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyApps {
    /// `["*"]`
    All,
    /// At least one.
    These(Vec<AppId>),
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyScope {
    /// Submit, look up and revoke notifications.
    Send,
    /// Register and list devices, set presence and push rules.
    Devices,
    /// Everything that concerns the gateway itself.
    Admin,
}

impl KeyScope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Send, Self::Devices, Self::Admin];

    /// The name used in the configuration.
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
    /// The shared library.
    pub path: PathBuf,
    /// What the file must be.
    pub sha256: Option<[u8; 32]>,
    /// Where it runs.
    pub isolation: PluginIsolation,
    /// Where its requests may go.
    pub network: PluginNetwork,
}

/// Where a plugin's requests may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginNetwork {
    /// To public HTTPS services alone.
    Public,
    /// Anywhere, the gateway's own network and plain HTTP included.
    Any,
}

/// Where a plugin runs.
#[derive(Clone, PartialEq, Eq)]
pub enum PluginIsolation {
    /// In the gateway's own process.
    None,
    /// In a child process for each channel, with these limits.
    Process {
        /// Address space, in bytes.
        memory: u64,
        /// Open files.
        open_files: u32,
        /// Its environment: names and values. Values may be secrets, so they do not print.
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
    /// Its ways to the vendors.
    pub channels: BTreeMap<ChannelName, ChannelConfig>,
    /// The first that takes a device decides; without any, the device's first address does.
    pub routes: Vec<Route>,
    /// As they are written; the core compiles them.
    pub templates: BTreeMap<TemplateName, TemplateSource>,
    /// Named sets of options.
    pub profiles: BTreeMap<String, Profile>,
    /// Native options by channel for notifications of a category.
    pub categories: BTreeMap<String, Options>,
    /// What user tokens are signed with; several, so that one can take another's place.
    pub user_keys: Vec<UserKeyConfig>,
}

/// `[[apps.NAME.user_keys]]`: a key that the app's IM server signs user tokens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKeyConfig {
    /// The `kid` of the tokens it signs.
    pub id: String,
    /// How they are signed.
    pub algorithm: UserKeyAlgorithm,
    /// HS256: the shared secret. `EdDSA`: the Ed25519 public key, PEM or base64.
    pub key: Secret,
}

/// How a user token is signed.
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
    /// Which implementation: `fcm`.
    pub kind: String,
    /// The most addresses in flight at once.
    pub concurrency: u32,
    /// When failed deliveries are tried again: `[retry]`, and what the channel's own table says instead.
    pub retry: RetryPolicy,
    /// How it reaches the vendor.
    pub transport: TransportConfig,
    /// What belongs to the channel itself.
    pub section: Section,
}

/// `[apps.NAME.channels.NAME.transport]`; what is not given is the transport's to choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransportConfig {
    /// Whom to trust.
    pub roots: Roots,
    /// The HTTP proxy, `http://user:password@host:port`; a secret, for the password in it.
    pub proxy: Option<Secret>,
    /// How long a connection may take to be made.
    pub connect_timeout: Option<Duration>,
    /// The most connections to one host.
    pub max_connections: Option<u32>,
    /// Where to connect for a host, instead of where its name leads; certificate and requests stay the host's.
    pub connect_to: BTreeMap<String, SocketAddr>,
}

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Those of the operating system.
    #[default]
    System,
    /// Mozilla's, built in.
    Bundled,
    /// These and no others: certificates as PEM text.
    Pem(Secret),
}
