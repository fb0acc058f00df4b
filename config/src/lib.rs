//! Configuration from defaults, file, environment and flags. Errors name file, line and key.
//!
//! [`Config::load`] reads all layers. [`DEFAULT_TOML`] has the defaults and documents every key. A [`Section`] has the keys that
//! a channel defines, until the channel parses them. Errors and `Debug` output never contain a secret.

mod apps;
mod config;
#[cfg(test)]
mod documented;
mod error;
mod fields;
mod layers;
mod load;
mod locate;
mod nearest;
mod plugins;
mod profiles;
mod read;
mod redact;
mod retry;
mod schema;
mod secret;
mod section;
mod syntax;
mod user_keys;

pub use config::{
    AppConfig, ChannelConfig, Config, KeyApps, KeyConfig, KeyHash, KeyScope, LimitsConfig, LogConfig,
    LogFormat, PluginConfig, PluginIsolation, PluginNetwork, PresenceConfig, Roots, RotationProof,
    ServerConfig, Sources, StorageConfig, StorageKind, TransportConfig, UserKeyAlgorithm, UserKeyConfig,
    process_environment,
};
pub use error::{ConfigError, ConfigErrors};
pub use layers::DEFAULT_TOML;
pub use locate::Place;
pub use nearest::nearest;
pub use section::Section;
