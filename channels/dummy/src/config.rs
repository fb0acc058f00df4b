//! Configuration of the channel. Parsed once, here. No error quotes the value it refuses. `deny_unknown_fields` reports a
//! misspelt key with its line.

use http::{HeaderValue, Uri};
use pushgate::Secret;
use serde::Deserialize;

/// Table of the channel in the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// API key of the account at the vendor.
    pub key: Secret,
    /// Base URL of the vendor; another host serves tests and proxies.
    #[serde(default = "default_base_url")]
    pub base_url: String,
}

fn default_base_url() -> String {
    "https://push.dummy.invalid".to_owned()
}

impl Config {
    /// Creates a configuration with this key and defaults for everything else.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.into(), base_url: default_base_url() }
    }

    /// Returns the URI of a path at the vendor.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, ConfigError> {
        let uri = format!("{}{path}", self.base_url.trim_end_matches('/'));
        let uri: Uri = uri.parse().map_err(|_| ConfigError::BaseUrl)?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_)) => Ok(uri),
            _ => Err(ConfigError::BaseUrl),
        }
    }

    /// Returns the `Authorization` header, which is marked sensitive, so that it is not printed.
    pub(crate) fn authorization(&self) -> Result<HeaderValue, ConfigError> {
        let header = HeaderValue::try_from(format!("Bearer {}", self.key.expose()));
        let mut header = header.map_err(|_| ConfigError::Key)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Error in the configuration of the channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The key contains characters that a header cannot have.
    #[error("not a key: it contains line breaks or other control characters")]
    Key,
    /// The base URL is invalid.
    #[error("not an http or https URL")]
    BaseUrl,
}

impl ConfigError {
    /// Returns the key of the channel's table that the error is about.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::BaseUrl => "base_url",
        }
    }
}
