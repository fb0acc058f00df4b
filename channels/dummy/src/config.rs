//! What the channel is configured with. `deny_unknown_fields`, so that a slip is told with its line and the nearest key.
//! Checked once, here; no error quotes what it complains of.

use http::{HeaderValue, Uri};
use pushgate::Secret;
use serde::Deserialize;

/// The channel's table in the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key the vendor knows us by.
    pub key: Secret,
    /// Where to send to; another host serves tests and proxies.
    #[serde(default = "vendors_own")]
    pub base_url: String,
}

fn vendors_own() -> String {
    "https://push.dummy.invalid".to_owned()
}

impl Config {
    /// With this key, everything else as it is by default.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self { key: key.into(), base_url: vendors_own() }
    }

    /// An address of the vendor's.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, ConfigError> {
        let uri = format!("{}{path}", self.base_url.trim_end_matches('/'));
        let uri: Uri = uri.parse().map_err(|_| ConfigError::Address)?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_)) => Ok(uri),
            _ => Err(ConfigError::Address),
        }
    }

    /// What every request is sent under. Marked sensitive, so that it does not print.
    pub(crate) fn authorization(&self) -> Result<HeaderValue, ConfigError> {
        let header = HeaderValue::try_from(format!("Bearer {}", self.key.expose()));
        let mut header = header.map_err(|_| ConfigError::Key)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The key has characters no key has.
    #[error("not a key: it has line breaks or other control characters in it")]
    Key,
    /// An address is not one.
    #[error("not an http or https address")]
    Address,
}

impl ConfigError {
    /// The key of the channel's table that is wrong.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Address => "base_url",
        }
    }
}
