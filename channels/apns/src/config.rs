//! Configuration of the channel, and its credentials. Parsed once, here. `Debug` prints no secret, and no error quotes the
//! value it refuses.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use http::Uri;
use pushgate::Secret;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Deserializer};

use crate::auth::{Auth, ProviderTokens};
use crate::certificate::Certificate;

/// Table of the channel in the configuration file. The credentials are `key`, `key_id` and `team_id`, or `certificate`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bundle id of the app (`"com.example.MyApp"`). The channel appends the suffix of the push type.
    pub topic: String,
    /// Environment of the device tokens: `"production"` (App Store, TestFlight; the default) or `"sandbox"` (builds from
    /// Xcode).
    #[serde(default)]
    pub environment: Environment,
    /// Content of the `.p8` file of a key created for APNs (`file:AuthKey_ABC123DEFG.p8`).
    #[serde(default)]
    pub key: Option<Secret>,
    /// Id of the key: ten characters, also in the name of the file.
    #[serde(default)]
    pub key_id: Option<String>,
    /// Id of the team: ten characters, under Membership in Apple's developer account.
    #[serde(default)]
    pub team_id: Option<String>,
    /// Push certificate and its chain in PEM, in place of a key.
    #[serde(default)]
    pub certificate: Option<Secret>,
    /// Private key of the certificate in PEM, unless `certificate` contains it.
    #[serde(default)]
    pub certificate_key: Option<Secret>,
    /// Base URL of the service; another host serves tests and proxies. Default: Apple's host of the environment.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Timeout of one send (default `"15s"`).
    #[serde(default = "default_timeout", deserialize_with = "parse_duration")]
    pub timeout: Duration,
    /// Name of the sound of an alert. `"default"` (the default) is the device's own; an empty string is silent.
    #[serde(default = "default_sound")]
    pub sound: String,
}

/// APNs environment. A device token is valid in one environment only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Apps from the App Store and TestFlight.
    #[default]
    Production,
    /// Apps built with Xcode for development.
    Sandbox,
}

/// Client certificate that the transport presents to Apple.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Certificate and its chain in PEM.
    pub certificate: &'a Secret,
    /// Private key of the certificate in PEM.
    pub key: &'a Secret,
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
    /// Creates a configuration for the topic of an app, without credentials and with defaults for everything else.
    ///
    /// # Panics
    /// Never, because every other key has a default.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        serde_json::from_value(serde_json::json!({ "topic": topic }))
            .expect("a topic is all a table must have")
    }

    /// Returns the client certificate for the transport, which opens the connections. `None` means that the channel uses
    /// provider tokens.
    #[must_use]
    pub fn identity(&self) -> Option<Identity<'_>> {
        let certificate = self.certificate.as_ref()?;
        Some(Identity { certificate, key: self.certificate_key.as_ref().unwrap_or(certificate) })
    }

    /// Returns the base URL without a slash at the end. Channels with the same base URL and credentials may share a
    /// transport.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if `base_url` is not an http or https URL.
    pub fn base(&self) -> Result<&str, ConfigError> {
        let default_base = match self.environment {
            Environment::Production => "https://api.push.apple.com",
            Environment::Sandbox => "https://api.sandbox.push.apple.com",
        };
        let base = self.base_url.as_deref().unwrap_or(default_base).trim_end_matches('/');
        let uri: Uri = base.parse().unwrap_or_default();
        let is_base = base.len() <= 1024 && !base.contains(['?', '#']);
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_)) if is_base => Ok(base),
            _ => Err(ConfigError::INVALID_BASE_URL),
        }
    }

    pub(crate) fn topic(&self) -> Result<String, ConfigError> {
        Some(self.topic.clone()).filter(|topic| is_topic(topic)).ok_or(ConfigError::INVALID_TOPIC)
    }

    pub(crate) fn auth(&self, tokens: &ProviderTokens) -> Result<Auth, ConfigError> {
        match (&self.key, &self.certificate) {
            (Some(key), None) => Ok(Auth::Token(tokens.signer(self.base()?, self.signing_key(key)?))),
            (None, Some(chain)) => self.certificate(chain).map(Auth::Certificate),
            (Some(_), Some(_)) => Err(ConfigError::TWO_CREDENTIALS),
            (None, None) => Err(ConfigError::NO_CREDENTIALS),
        }
    }

    fn signing_key(&self, p8: &Secret) -> Result<SigningKey, ConfigError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(p8.expose().as_bytes())
            .map_err(|_| ConfigError::INVALID_KEY)?;
        Ok(SigningKey {
            pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
                .map_err(|_| ConfigError::INVALID_KEY)?,
            key_id: apple_id(self.key_id.as_deref()).ok_or(ConfigError::INVALID_KEY_ID)?,
            team_id: apple_id(self.team_id.as_deref()).ok_or(ConfigError::INVALID_TEAM_ID)?,
        })
    }

    fn certificate(&self, chain: &Secret) -> Result<Certificate, ConfigError> {
        let key = self.certificate_key.as_ref().unwrap_or(chain);
        if PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).is_err() {
            return Err(ConfigError::INVALID_CERTIFICATE_KEY);
        }
        Certificate::from_pem(chain.expose()).ok_or(ConfigError::INVALID_CERTIFICATE)
    }
}

/// Returns `true` if the text may be the value of the `apns-topic` header.
pub(crate) fn is_topic(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Key that signs provider tokens, with the ids that go into them.
pub(crate) struct SigningKey {
    pub(crate) pair: EcdsaKeyPair,
    pub(crate) key_id: String,
    pub(crate) team_id: String,
}

/// Returns the id if it has the form of Apple's ids: ten letters and digits.
fn apple_id(text: Option<&str>) -> Option<String> {
    let is_id = |text: &&str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    text.filter(is_id).map(str::to_owned)
}

/// Error in the configuration: a key of the channel's table, and a description of a valid value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{1}")]
pub struct ConfigError(&'static str, &'static str);

impl ConfigError {
    /// Returns the key of the channel's table that the error is about.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.0
    }
}

/// All errors.
#[rustfmt::skip]
impl ConfigError {
    const NO_CREDENTIALS: Self = Self("key", "is missing; set key, key_id and team_id, or certificate");
    const TWO_CREDENTIALS: Self = Self("key", "is set beside certificate; remove one of the two");
    const INVALID_KEY: Self = Self("key", "is not a P-256 key in PKCS#8 PEM; use the .p8 file from Apple's developer account, Keys");
    const INVALID_KEY_ID: Self = Self("key_id", "must be the ten letters and digits of the key's id, as in AuthKey_ABC123DEFG.p8");
    const INVALID_TEAM_ID: Self = Self("team_id", "must be the ten letters and digits under Membership in Apple's developer account");
    const INVALID_CERTIFICATE: Self = Self("certificate", "is not a certificate in PEM; export it with its key and convert it with openssl pkcs12");
    const INVALID_CERTIFICATE_KEY: Self = Self("certificate_key", "is not a private key in PEM, and `certificate` contains none");
    const INVALID_TOPIC: Self = Self("topic", "must be the app's bundle id, like com.example.MyApp");
    const INVALID_BASE_URL: Self = Self("base_url", "is not an http or https URL without query");
    pub(crate) const ZERO_TIMEOUT: Self = Self("timeout", "must be longer than zero");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::p8;
    use crate::certificate::tests::certificate;

    fn with_key() -> Config {
        Config {
            key: Some(p8().into()),
            key_id: Some("ABC123DEFG".to_owned()),
            team_id: Some("DEF123GHIJ".to_owned()),
            ..Config::new("com.example.MyApp")
        }
    }

    fn with_certificate() -> Config {
        Config { certificate: Some(certificate().into()), ..Config::new("com.example.MyApp") }
    }

    fn error_of(config: &Config) -> ConfigError {
        config.auth(&ProviderTokens::default()).err().expect("refused")
    }

    #[test]
    fn credentials_are_a_key_with_its_ids_or_a_certificate() {
        let tokens = ProviderTokens::default();
        assert!(matches!(with_key().auth(&tokens), Ok(Auth::Token(_))));
        assert!(matches!(with_certificate().auth(&tokens), Ok(Auth::Certificate(_))));
        assert!(error_of(&Config::new("a")).to_string().contains("is missing"));
        assert!(
            error_of(&Config { key: with_key().key, ..with_certificate() }).to_string().contains("beside")
        );
    }

    #[test]
    fn an_invalid_credential_is_reported_by_its_key_and_never_quoted() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for text in ["s3cret", &p384, &p8().replace("PRIVATE KEY", "EC PRIVATE KEY")] {
            assert!(error_of(&Config { key: Some(text.into()), ..with_key() }).to_string().contains(".p8"));
        }
        for id in
            [None, Some(""), Some("ABC123DEF"), Some("ABC123DEFGH"), Some("ABC-23DEFG"), Some("\"},\"a\":1")]
        {
            let id = id.map(str::to_owned);
            assert_eq!(error_of(&Config { key_id: id.clone(), ..with_key() }).key(), "key_id");
            assert_eq!(error_of(&Config { team_id: id, ..with_key() }).key(), "team_id");
        }
        let invalid = Config {
            certificate: Some("s3cret".into()),
            certificate_key: with_key().key,
            ..Config::new("a")
        };
        assert_eq!(error_of(&invalid).key(), "certificate");
        let chain = certificate();
        let (certificate, key) = chain.split_at(chain.find("-----BEGIN PRIVATE").unwrap());
        let without_key = Config { certificate: Some(certificate.into()), ..with_certificate() };
        assert_eq!(error_of(&without_key).key(), "certificate_key");
        assert!(
            Config { certificate_key: Some(key.into()), ..without_key }
                .auth(&ProviderTokens::default())
                .is_ok()
        );
    }

    #[test]
    fn the_identity_is_the_certificate_with_its_key() {
        assert!(with_key().identity().is_none());
        let config = with_certificate();
        let identity = config.identity().unwrap();
        assert_eq!(identity.certificate, identity.key);
        let separate = Config { certificate_key: Some("key".into()), ..config };
        assert_eq!(separate.identity().unwrap().key.expose(), "key");
    }

    #[test]
    fn a_table_needs_a_topic_and_credentials_and_nothing_else() {
        let config: Config = serde_json::from_str(r#"{"topic":"com.example.MyApp","key":"k"}"#).unwrap();
        assert_eq!(
            (config.base(), config.timeout, config.sound.as_str()),
            (Ok("https://api.push.apple.com"), default_timeout(), "default")
        );
        let error = |text: &str| serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error("{}").contains("missing field `topic`"));
        assert!(error(r#"{"topic":"a","timout":"1s"}"#).contains("unknown field `timout`"));
        assert!(error(r#"{"topic":"a","timeout":"15"}"#).contains("not a duration like \"15s\""));
        assert!(error(r#"{"topic":"a","environment":"development"}"#).contains("`production` or `sandbox`"));
    }

    #[test]
    fn an_invalid_topic_or_base_url_is_refused() {
        for topic in ["", "two words", "a\r\nb", "Ünicode", &"a".repeat(256)] {
            assert_eq!(Config::new(topic).topic().unwrap_err().key(), "topic");
        }
        for base in ["api.push.apple.com", "ftp://a.test", "https://a.test/?x", ""] {
            let config = Config { base_url: Some(base.to_owned()), ..with_key() };
            assert_eq!(config.base().unwrap_err().key(), "base_url", "{base}");
        }
    }
}
