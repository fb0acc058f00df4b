//! Configuration: defaults, file, environment and flags, with errors that name file, line and key.
//!
//! [`Config::load`] reads the layers; [`DEFAULT_TOML`] is the default and the reference of every key. A channel's own
//! keys stay in its [`Section`] until the channel's type reads them. No secret is in any error or `Debug`.

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
