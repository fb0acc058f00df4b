//! Configuration of the channel. Parsed once, here. `Debug` prints no secret, and no error quotes the value it refuses.

use std::time::Duration;

use pushgate::Secret;
use serde::{Deserialize, Deserializer};

use crate::crypto::MAX_PLAINTEXT;

/// Table of the channel in the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// VAPID private key: 32 bytes in base64url as `pushgate keys vapid` prints them, or PEM. A subscription is valid only
    /// for the key it was created with.
    pub private_key: Secret,
    /// Contact for the operators of push services: `mailto:…` or `https://…`.
    pub subject: String,
    /// Hosts of further push services, beside those of Mozilla, Google, Apple and Windows: `"push.example.net"`,
    /// `"*.example.org"`, or `"*"` for any (UnifiedPush). The transport refuses private addresses in any case.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Block size in bytes to which plaintexts are padded, so that their length does not reveal a short answer to the push
    /// service. The default of 128 adds 64 bytes per message on average. 0 turns padding off.
    #[serde(default = "default_padding")]
    pub padding: usize,
    /// Timeout of one send (default `"15s"`). Google asks for at least ten seconds before a retry.
    #[serde(default = "default_timeout", deserialize_with = "parse_duration")]
    pub timeout: Duration,
    /// URL of the icon beside the text, unless the service worker sets one of its own.
    #[serde(default)]
    pub icon: Option<String>,
    /// URL of the small monochrome icon in the status bar.
    #[serde(default)]
    pub badge_icon: Option<String>,
    /// Accepts endpoints at 127.0.0.1, `[::1]` and localhost, with or without TLS and on any port. Only for tests on one
    /// machine: anyone who may register a subscription can then make the gateway post to local services.
    #[serde(default)]
    pub insecure_loopback_endpoints: bool,
}

const fn default_padding() -> usize {
    128
}

const fn default_timeout() -> Duration {
    Duration::from_secs(15)
}

fn parse_duration<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("not a duration like \"15s\": {error}")))
}

impl Config {
    /// Creates a configuration from a key and a contact, with defaults for everything else.
    #[must_use]
    pub fn new(private_key: impl Into<Secret>, subject: &str) -> Self {
        Self {
            private_key: private_key.into(),
            subject: subject.to_owned(),
            endpoints: Vec::new(),
            padding: default_padding(),
            timeout: default_timeout(),
            icon: None,
            badge_icon: None,
            insecure_loopback_endpoints: false,
        }
    }

    /// Checks the limits that the types do not express.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if self.padding > MAX_PLAINTEXT {
            return Err(ConfigError::Padding);
        }
        if !is_contact_uri(&self.subject) {
            return Err(ConfigError::Subject);
        }
        Ok(())
    }
}

/// Returns `true` for a `mailto:` or `https:` URI with a public host. Apple refuses a token with any other `sub`.
fn is_contact_uri(subject: &str) -> bool {
    let is_plain = subject.len() <= 256 && subject.bytes().all(|b| b.is_ascii_graphic());
    let host = match (subject.strip_prefix("mailto:"), subject.strip_prefix("https://")) {
        (Some(mailbox), _) => {
            mailbox.rsplit_once('@').filter(|(name, _)| !name.is_empty()).map(|(_, host)| host)
        }
        (_, Some(url)) => url.split(['/', '?', '#']).next(),
        (None, None) => None,
    };
    is_plain && host.is_some_and(|host| host.contains('.') && !host.starts_with('.'))
}

/// Error in the configuration of the channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The private key cannot be parsed.
    #[error("not a P-256 private key in base64url or PEM; `pushgate keys vapid` makes one")]
    PrivateKey,
    /// The contact is not a `mailto:` or `https:` URI with a public host.
    #[error(
        "not a contact like mailto:push@example.com or https://example.com/contact; push services ask for one"
    )]
    Subject,
    /// An entry is not a host name.
    #[error("not a host like push.example.net or *.example.org, without scheme, port or path")]
    Endpoints,
    /// The padding is larger than a message.
    #[error("larger than a message; use 0 to {MAX_PLAINTEXT} bytes")]
    Padding,
    /// The timeout is zero.
    #[error("must be longer than zero; Google advises 10s or more")]
    Timeout,
}

impl ConfigError {
    /// Returns the key of the channel's table that the error is about.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::PrivateKey => "private_key",
            Self::Subject => "subject",
            Self::Endpoints => "endpoints",
            Self::Padding => "padding",
            Self::Timeout => "timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_with(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::new("s3cret", "mailto:push@example.com");
        change(&mut config);
        config.validate()
    }

    #[test]
    fn a_table_needs_a_key_and_a_contact_and_nothing_else() {
        let table = r#"{"private_key":"k","subject":"mailto:push@example.com"}"#;
        let config: Config = serde_json::from_str(table).unwrap();
        assert_eq!((config.padding, config.timeout), (128, Duration::from_secs(15)));
        assert!(config.endpoints.is_empty() && !config.insecure_loopback_endpoints);
        assert_eq!(config.validate(), Ok(()));
        let error = |text: &str| serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error(r#"{"private_key":"k"}"#).contains("missing field `subject`"));
        assert!(error(r#"{"private_key":"k","subjekt":"x"}"#).contains("unknown field `subjekt`"));
        let unit = r#"{"private_key":"k","subject":"x","timeout":"15"}"#;
        assert!(error(unit).contains("not a duration like \"15s\""));
    }

    #[test]
    fn a_contact_is_a_mailto_or_https_uri_with_a_public_host() {
        let subject = |text: &str| check_with(|config| config.subject = text.to_owned());
        for good in ["mailto:push@example.com", "https://example.com", "https://example.com/contact?x#y"] {
            assert_eq!(subject(good), Ok(()), "{good}");
        }
        let long = format!("mailto:{}@example.com", "x".repeat(256));
        for bad in [
            "",
            "push@example.com",
            "mailto:",
            "mailto:@example.com",
            "mailto:push",
            "mailto:push@localhost",
            "https://localhost",
            "https://",
            "http://example.com",
            "mailto:Push <push@example.com>",
            "mailto:päush@example.com",
            &long,
        ] {
            assert_eq!(subject(bad), Err(ConfigError::Subject), "{bad}");
        }
    }

    #[test]
    fn padding_is_limited_to_the_size_of_a_message() {
        assert_eq!(check_with(|config| config.padding = 0), Ok(()));
        assert_eq!(check_with(|config| config.padding = 3993), Ok(()));
        assert_eq!(check_with(|config| config.padding = 3994), Err(ConfigError::Padding));
        assert_eq!(check_with(|config| config.timeout = Duration::ZERO), Err(ConfigError::Timeout));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Config::new("s3cret", "mailto:push@example.com"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
