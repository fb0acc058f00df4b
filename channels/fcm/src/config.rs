//! What the channel is configured with, and the service account it signs for. Secrets never print.

use std::time::Duration;

use aws_lc_rs::rsa::KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pushgate::Secret;
use serde::Deserialize;

/// The channel's table in the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The text of the service-account file that the Firebase console gives out (`file:service-account.json`).
    pub service_account: Secret,
    /// Where to send to; another host serves tests and proxies.
    #[serde(default = "google")]
    pub base_url: String,
    /// Seconds one request may take. Google asks for ten at least before a message is tried again.
    #[serde(default = "fifteen")]
    pub timeout_seconds: u64,
}

fn google() -> String {
    "https://fcm.googleapis.com".to_owned()
}

const fn fifteen() -> u64 {
    15
}

impl Config {
    /// With a service account, everything else as Google has it.
    #[must_use]
    pub fn new(service_account: &str) -> Self {
        Self { service_account: service_account.into(), base_url: google(), timeout_seconds: fifteen() }
    }

    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// What is wrong with the configuration. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The service account is not what Google gives out.
    #[error(
        "service_account: {0}; use the JSON file from the Firebase console, Project settings, Service accounts"
    )]
    ServiceAccount(String),
    /// An address is not one.
    #[error("not an http or https address; {0} should be one")]
    Address(&'static str),
}

impl ConfigError {
    /// The key of the channel's table that is wrong.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::ServiceAccount(_) => "service_account",
            Self::Address(key) => key,
        }
    }
}

/// Who signs, for which project, and where a signature is exchanged for a bearer.
pub(crate) struct ServiceAccount {
    pub(crate) project: String,
    pub(crate) email: String,
    pub(crate) key_id: Option<String>,
    pub(crate) token_uri: http::Uri,
    pub(crate) key: KeyPair,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccount").field("project", &self.project).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct File {
    project_id: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    pub(crate) fn read(text: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::ServiceAccount(why.to_owned());
        let file: File = serde_json::from_str(text).map_err(|error| {
            wrong(&format!("not a JSON object (line {}, column {})", error.line(), error.column()))
        })?;
        let has = |field: Option<String>, name: &str| {
            field.filter(|f| !f.is_empty()).ok_or_else(|| wrong(&format!("`{name}` is missing")))
        };
        let token_uri = file.token_uri.unwrap_or_else(|| "https://oauth2.googleapis.com/token".to_owned());
        Ok(Self {
            project: has(file.project_id, "project_id")?,
            email: has(file.client_email, "client_email")?,
            key_id: file.private_key_id,
            token_uri: address(&token_uri, "token_uri")?,
            key: key(&has(file.private_key, "private_key")?)
                .ok_or_else(|| wrong("`private_key` is not an RSA key in PKCS#8 PEM"))?,
        })
    }
}

/// An absolute http or https address.
pub(crate) fn address(text: &str, what: &'static str) -> Result<http::Uri, ConfigError> {
    let uri: http::Uri = text.parse().map_err(|_| ConfigError::Address(what))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(ConfigError::Address(what)),
    }
}

fn key(pem: &str) -> Option<KeyPair> {
    let inside =
        pem.split("-----BEGIN PRIVATE KEY-----").nth(1)?.split("-----END PRIVATE KEY-----").next()?;
    let base64: String = inside.chars().filter(|c| !c.is_whitespace()).collect();
    KeyPair::from_pkcs8(&STANDARD.decode(base64).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_service_account_is_explained_and_never_quoted() {
        let why = |text: &str| ServiceAccount::read(text).unwrap_err().to_string();
        assert!(why("s3cret").contains("not a JSON object (line 1"));
        assert!(why("{}").contains("`project_id` is missing"));
        let bad_key = r#"{"project_id":"p","client_email":"e","private_key":"s3cret"}"#;
        assert!(why(bad_key).contains("not an RSA key in PKCS#8"));
        assert!(!why(bad_key).contains("s3cret"));
    }
}
