//! Configuration of the channel, and the service account. Parsed once, here. `Debug` prints no secret, and no error quotes
//! the value it refuses.

use std::time::Duration;

use aws_lc_rs::rsa::KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use pushgate::Secret;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Table of the channel in the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Content of the service-account file from the Firebase console (`file:service-account.json`).
    pub service_account: Secret,
    /// Base URL of the service; another host serves tests and proxies. Default: `https://fcm.googleapis.com`.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// Timeout of one send, including the access token it may have to fetch (default `"15s"`). Google asks for at least
    /// ten seconds before a retry.
    #[serde(default = "default_timeout", deserialize_with = "parse_duration")]
    pub timeout: Duration,
    /// Firebase project, if it differs from that of the service account.
    #[serde(default)]
    pub project: Option<String>,
    /// Web: URL of the icon beside the text.
    #[serde(default)]
    pub icon: Option<String>,
    /// Web: URL of the small monochrome icon in the status bar.
    #[serde(default)]
    pub badge_icon: Option<String>,
    /// Android: notification channel of messages without a category.
    #[serde(default)]
    pub android_channel: Option<String>,
    /// Android and Apple: name of the sound. `"default"` (the default) is the device's own; an empty string is silent.
    #[serde(default = "default_sound")]
    pub sound: String,
}

fn default_base_url() -> String {
    "https://fcm.googleapis.com".to_owned()
}

const fn default_timeout() -> Duration {
    Duration::from_secs(15)
}

fn default_sound() -> String {
    "default".to_owned()
}

fn parse_duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("not a duration like \"15s\": {error}")))
}

impl Config {
    /// Creates a configuration from the content of a service-account file, with defaults for everything else.
    #[must_use]
    pub fn new(service_account: &str) -> Self {
        Self {
            service_account: service_account.into(),
            base_url: default_base_url(),
            timeout: default_timeout(),
            project: None,
            icon: None,
            badge_icon: None,
            android_channel: None,
            sound: default_sound(),
        }
    }

    /// Returns the URI that messages of this project are sent to.
    pub(crate) fn send_uri(&self, project: &str) -> Result<Uri, ConfigError> {
        let base = self.base_url.trim_end_matches('/');
        parse_url(base, "base_url")?;
        // Anything else in a project id would lead the request, and the access token with it, to another path.
        let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if project.is_empty() || !project.chars().all(is_id) {
            return Err(ConfigError::Project);
        }
        parse_url(&format!("{base}/v1/projects/{project}/messages:send"), "base_url")
    }
}

/// Error in the configuration of the channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The service account is not a file as the Firebase console issues it.
    #[error("{0}; use the JSON file from the Firebase console, Project settings, Service accounts")]
    ServiceAccount(String),
    /// A URL is invalid.
    #[error("{0} is not an http or https URL")]
    Url(&'static str),
    /// The project id is invalid.
    #[error("not a project id or number; the Firebase console shows it under Project settings")]
    Project,
    /// The timeout is zero.
    #[error("must be longer than zero; Google advises 10s or more")]
    Timeout,
}

impl ConfigError {
    /// Returns the key of the channel's table that the error is about.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::ServiceAccount(_) => "service_account",
            Self::Url(_) => "base_url",
            Self::Project => "project",
            Self::Timeout => "timeout",
        }
    }
}

/// Google service account: its key, its project, and the endpoint that exchanges assertions for access tokens.
pub(crate) struct ServiceAccount {
    pub(crate) project: String,
    pub(crate) email: String,
    pub(crate) key_id: Option<String>,
    pub(crate) token_uri: Uri,
    /// `token_uri` as written in the file, which the token endpoint compares byte by byte.
    pub(crate) audience: String,
    pub(crate) key: KeyPair,
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccount").field("project", &self.project).finish_non_exhaustive()
    }
}

impl ServiceAccount {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let file = match serde_json::from_str(text) {
            Ok(Value::Object(file)) => file,
            Ok(_) => return Err(invalid("not a JSON object")),
            Err(error) => {
                return Err(invalid(&format!("not JSON (line {}, column {})", error.line(), error.column())));
            }
        };
        // Google issues other credential files with the same fields; `type` tells them apart.
        if file.get("type").is_some_and(|kind| kind != "service_account") {
            return Err(invalid("`type` is not \"service_account\""));
        }
        let audience = match file.get("token_uri") {
            None => "https://oauth2.googleapis.com/token".to_owned(),
            Some(_) => field(&file, "token_uri")?.to_owned(),
        };
        Ok(Self {
            project: field(&file, "project_id")?.to_owned(),
            email: field(&file, "client_email")?.to_owned(),
            key_id: file.get("private_key_id").and_then(Value::as_str).map(str::to_owned),
            key: parse_key(field(&file, "private_key")?)
                .ok_or_else(|| invalid("`private_key` is not an RSA key in PKCS#8 PEM"))?,
            token_uri: parse_url(&audience, "service_account: token_uri")?,
            audience,
        })
    }
}

fn invalid(why: &str) -> ConfigError {
    ConfigError::ServiceAccount(why.to_owned())
}

fn field<'a>(file: &'a Map<String, Value>, name: &str) -> Result<&'a str, ConfigError> {
    match file.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_) | Value::Null) | None => Err(invalid(&format!("`{name}` is missing"))),
        Some(_) => Err(invalid(&format!("`{name}` is not a string"))),
    }
}

/// Parses an absolute http or https URL.
fn parse_url(text: &str, what: &'static str) -> Result<Uri, ConfigError> {
    let uri: Uri = text.parse().map_err(|_| ConfigError::Url(what))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(ConfigError::Url(what)),
    }
}

fn parse_key(pem: &str) -> Option<KeyPair> {
    let body = pem.split("-----BEGIN PRIVATE KEY-----").nth(1)?.split("-----END PRIVATE KEY-----").next()?;
    let base64: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    KeyPair::from_pkcs8(&STANDARD.decode(base64).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::service_account;

    fn why(text: &str) -> String {
        let error = ServiceAccount::parse(text).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        error
    }

    #[test]
    fn a_broken_service_account_is_explained_and_never_quoted() {
        assert!(why("s3cret").contains("not JSON (line 1"));
        assert!(why("\"s3cret\"").contains("not a JSON object"));
        assert!(why("{}").contains("`project_id` is missing"));
        assert!(why(r#"{"project_id":{"s3cret":1}}"#).contains("`project_id` is not a string"));
        assert!(why(r#"{"type":"authorized_user","refresh_token":"s3cret"}"#).contains("`type` is not"));
        assert!(why(r#"{"project_id":"p","client_email":"e"}"#).contains("`private_key` is missing"));
        let bad_key = r#"{"project_id":"p","client_email":"e","private_key":"s3cret"}"#;
        assert!(why(bad_key).contains("not an RSA key in PKCS#8"));
        let pkcs1 = service_account().replace("PRIVATE KEY", "RSA PRIVATE KEY");
        assert!(why(&pkcs1).contains("not an RSA key in PKCS#8"));
        let no_address = service_account().replace("https://oauth2.googleapis.com/token", "s3cret");
        assert!(why(&no_address).contains("token_uri is not an http or https URL"));
    }

    #[test]
    fn a_table_needs_a_service_account_and_nothing_else() {
        let config: Config = serde_json::from_str(r#"{"service_account":"{}"}"#).unwrap();
        assert_eq!(
            (config.base_url, config.timeout, config.sound),
            (default_base_url(), default_timeout(), default_sound())
        );
        let short: Config = serde_json::from_str(r#"{"service_account":"{}","timeout":"1500ms"}"#).unwrap();
        assert_eq!(short.timeout, Duration::from_millis(1500));
    }

    #[test]
    fn a_misspelt_key_and_a_timeout_without_a_unit_are_refused() {
        let error = |text: &str| serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error(r#"{"service_account":"{}","timout":"1s"}"#).contains("unknown field `timout`"));
        assert!(error(r#"{"service_account":"{}","timeout":"15"}"#).contains("not a duration like \"15s\""));
    }

    #[test]
    fn a_project_cannot_lead_the_access_token_elsewhere() {
        let config = Config { base_url: "http://127.0.0.1:9090/".to_owned(), ..Config::new("{}") };
        let uri = config.send_uri("example.com:demo").unwrap();
        assert_eq!(uri, "http://127.0.0.1:9090/v1/projects/example.com:demo/messages:send");
        for project in ["", "../../evil", "a/b", "a?b", "a b"] {
            assert_eq!(config.send_uri(project), Err(ConfigError::Project));
        }
        let nowhere = Config { base_url: "fcm.googleapis.com".to_owned(), ..config };
        assert_eq!(nowhere.send_uri("demo"), Err(ConfigError::Url("base_url")));
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = service_account();
        let config = Config::new(&text);
        let shown = format!("{config:?} {:?}", ServiceAccount::parse(&text).unwrap());
        assert!(!shown.contains("PRIVATE KEY") && !shown.contains("client_email"), "{shown}");
    }
}
