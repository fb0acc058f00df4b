//! What the channel is configured with. Parsed once, here; the key never prints, and no error quotes what it complains of.

use std::time::Duration;

use pushgate::Secret;
use serde::{Deserialize, Deserializer};

use crate::crypto::MAX_PLAIN;

/// The channel's table in the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The VAPID private key: 32 bytes in base64url as `pushgate keys vapid` makes them, or PEM. Subscriptions belong to it:
    /// with another key they are dead.
    pub private_key: Secret,
    /// Whom a push service may write to when something is wrong: `mailto:…` or `https://…`.
    pub subject: String,
    /// Push services beside those of Mozilla, Google, Apple and Windows: `"push.example.net"`, `"*.example.org"`, or `"*"` for
    /// any (UnifiedPush). Addresses inside this network are refused by the transport whatever stands here.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Fill texts up to a multiple of so many bytes, so that their length does not tell a push service "yes" from "no".
    /// 128, the default, costs 64 bytes a message on average; 0 is off.
    #[serde(default = "a_short_line")]
    pub padding: usize,
    /// How long one send may take (`"15s"`, the default). Google asks for ten seconds at least before a message is tried again.
    #[serde(default = "fifteen_seconds", deserialize_with = "humantime")]
    pub timeout: Duration,
    /// The address of the icon beside the text, where the service worker has no better one.
    #[serde(default)]
    pub icon: Option<String>,
    /// The address of the small, one-coloured icon in the status bar.
    #[serde(default)]
    pub badge_icon: Option<String>,
    /// For tests on one machine, never for production: takes endpoints at 127.0.0.1, `[::1]` and localhost, with or without
    /// TLS and on any port. Whoever may register a subscription can then make the gateway post to what runs beside it.
    #[serde(default)]
    pub insecure_loopback_endpoints: bool,
}

const fn a_short_line() -> usize {
    128
}

const fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn humantime<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("not a duration like \"15s\": {error}")))
}

impl Config {
    /// With a key and a contact, everything else as it is by default.
    #[must_use]
    pub fn new(private_key: impl Into<Secret>, subject: &str) -> Self {
        Self {
            private_key: private_key.into(),
            subject: subject.to_owned(),
            endpoints: Vec::new(),
            padding: a_short_line(),
            timeout: fifteen_seconds(),
            icon: None,
            badge_icon: None,
            insecure_loopback_endpoints: false,
        }
    }

    /// What the types alone do not say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if self.padding > MAX_PLAIN {
            return Err(ConfigError::Padding);
        }
        if !is_contact(&self.subject) {
            return Err(ConfigError::Subject);
        }
        Ok(())
    }
}

/// Apple refuses a token whose `sub` is neither; nobody can be written to at localhost.
fn is_contact(subject: &str) -> bool {
    let is_plain = subject.len() <= 256 && subject.bytes().all(|b| b.is_ascii_graphic());
    let host = match (subject.strip_prefix("mailto:"), subject.strip_prefix("https://")) {
        (Some(mail), _) => mail.rsplit_once('@').filter(|(name, _)| !name.is_empty()).map(|(_, host)| host),
        (_, Some(page)) => page.split(['/', '?', '#']).next(),
        (None, None) => None,
    };
    is_plain && host.is_some_and(|host| host.contains('.') && !host.starts_with('.'))
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a key.
    #[error("not a P-256 private key in base64url or PEM; `pushgate keys vapid` makes one")]
    PrivateKey,
    /// Nobody to write to.
    #[error(
        "not a contact like mailto:push@example.com or https://example.com/contact; push services ask for one"
    )]
    Subject,
    /// Not a host.
    #[error("not a host like push.example.net or *.example.org, without scheme, port or path")]
    Endpoints,
    /// More than fits.
    #[error("more than a message holds; from 0 to {MAX_PLAIN} bytes")]
    Padding,
    /// No time at all.
    #[error("must be longer than zero; Google advises 10s or more")]
    Timeout,
}

impl ConfigError {
    /// The key of the channel's table that is wrong.
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

    fn checked(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::new("s3cret", "mailto:push@example.com");
        change(&mut config);
        config.check()
    }

    #[test]
    fn a_table_needs_a_key_and_a_contact_and_nothing_else() {
        let table = r#"{"private_key":"k","subject":"mailto:push@example.com"}"#;
        let config: Config = serde_json::from_str(table).unwrap();
        assert_eq!((config.padding, config.timeout), (128, Duration::from_secs(15)));
        assert!(config.endpoints.is_empty() && !config.insecure_loopback_endpoints);
        assert_eq!(config.check(), Ok(()));
        let error = |text: &str| serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error(r#"{"private_key":"k"}"#).contains("missing field `subject`"));
        assert!(error(r#"{"private_key":"k","subjekt":"x"}"#).contains("unknown field `subjekt`"));
        let unit = r#"{"private_key":"k","subject":"x","timeout":"15"}"#;
        assert!(error(unit).contains("not a duration like \"15s\""));
    }

    #[test]
    fn a_contact_is_a_mail_or_https_address_somebody_can_be_reached_at() {
        let subject = |text: &str| checked(|config| config.subject = text.to_owned());
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
    fn padding_goes_up_to_the_whole_message_and_no_further() {
        assert_eq!(checked(|config| config.padding = 0), Ok(()));
        assert_eq!(checked(|config| config.padding = 3993), Ok(()));
        assert_eq!(checked(|config| config.padding = 3994), Err(ConfigError::Padding));
        assert_eq!(checked(|config| config.timeout = Duration::ZERO), Err(ConfigError::Timeout));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Config::new("s3cret", "mailto:push@example.com"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
