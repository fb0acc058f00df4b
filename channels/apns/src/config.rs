//! What the channel is configured with, and how it proves who it is. Parsed once, here; secrets never print, and no error
//! quotes what it complains of.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use http::Uri;
use pushgate::Secret;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Deserializer};

use crate::auth::{Auth, ProviderTokens};
use crate::certificate::Certificate;

/// The channel's table in the configuration. It proves itself by `key`, `key_id` and `team_id`, or by `certificate`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The app's bundle id (`"com.example.MyApp"`). The suffixes of push types are added to it.
    pub topic: String,
    /// Which of Apple's two worlds the tokens are of: `"production"` (App Store, TestFlight), the default, or `"sandbox"`
    /// (builds from Xcode).
    #[serde(default)]
    pub environment: Environment,
    /// The text of the `.p8` file of a key made for APNs (`file:AuthKey_ABC123DEFG.p8`).
    #[serde(default)]
    pub key: Option<Secret>,
    /// The key's id: ten characters, also in the file's name.
    #[serde(default)]
    pub key_id: Option<String>,
    /// The team's id: ten characters, under Membership in Apple's developer account.
    #[serde(default)]
    pub team_id: Option<String>,
    /// In place of a key: the PEM text of a push certificate, with the certificates above it.
    #[serde(default)]
    pub certificate: Option<Secret>,
    /// The certificate's private key in PEM, where it is not in the same text.
    #[serde(default)]
    pub certificate_key: Option<Secret>,
    /// Where to send to; another host serves tests and proxies. Default: Apple's host of the environment.
    #[serde(default)]
    pub base_url: Option<String>,
    /// How long one send may take (`"15s"`, the default).
    #[serde(default = "fifteen_seconds", deserialize_with = "humantime")]
    pub timeout: Duration,
    /// The sound of what is shown. `"default"`, the default, is the device's own; an empty text is silence.
    #[serde(default = "devices_own")]
    pub sound: String,
}

/// One of Apple's two worlds. A token of one means nothing in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Apps from the App Store and TestFlight.
    #[default]
    Production,
    /// Apps built with Xcode for development.
    Sandbox,
}

/// What the transport shows Apple as our side of TLS.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate and those above it, in PEM.
    pub certificate: &'a Secret,
    /// Its private key, in PEM.
    pub key: &'a Secret,
}

const fn fifteen_seconds() -> Duration {
    Duration::from_secs(15)
}

fn devices_own() -> String {
    "default".to_owned()
}

fn humantime<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("not a duration like \"15s\": {error}")))
}

impl Config {
    /// For an app's topic, without credentials yet, everything else as it is by default.
    ///
    /// # Panics
    /// Never: every other key has a default.
    #[must_use]
    pub fn new(topic: &str) -> Self {
        serde_json::from_value(serde_json::json!({ "topic": topic }))
            .expect("a topic is all a table must have")
    }

    /// The certificate to connect with. Give it to the transport: the channel itself opens no connection.
    #[must_use]
    pub fn identity(&self) -> Option<Identity<'_>> {
        let certificate = self.certificate.as_ref()?;
        Some(Identity { certificate, key: self.certificate_key.as_ref().unwrap_or(certificate) })
    }

    /// Where to send to, without a slash at the end. Channels with the same base and credentials may share a transport.
    ///
    /// # Errors
    /// [`ConfigError`] when `base_url` is no address.
    pub fn base(&self) -> Result<&str, ConfigError> {
        let own = match self.environment {
            Environment::Production => "https://api.push.apple.com",
            Environment::Sandbox => "https://api.sandbox.push.apple.com",
        };
        let base = self.base_url.as_deref().unwrap_or(own).trim_end_matches('/');
        let uri: Uri = base.parse().unwrap_or_default();
        let is_plain = base.len() <= 1024 && !base.contains(['?', '#']);
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(_)) if is_plain => Ok(base),
            _ => Err(ConfigError::NO_ADDRESS),
        }
    }

    pub(crate) fn topic(&self) -> Result<String, ConfigError> {
        Some(self.topic.clone()).filter(|topic| is_topic(topic)).ok_or(ConfigError::NO_TOPIC)
    }

    pub(crate) fn auth(&self, tokens: &ProviderTokens) -> Result<Auth, ConfigError> {
        match (&self.key, &self.certificate) {
            (Some(key), None) => Ok(Auth::Token(tokens.of(self.base()?, self.signing_key(key)?))),
            (None, Some(chain)) => self.certificate(chain).map(Auth::Certificate),
            (Some(_), Some(_)) => Err(ConfigError::TWO_CREDENTIALS),
            (None, None) => Err(ConfigError::NO_CREDENTIALS),
        }
    }

    fn signing_key(&self, p8: &Secret) -> Result<SigningKey, ConfigError> {
        let der =
            PrivatePkcs8KeyDer::from_pem_slice(p8.expose().as_bytes()).map_err(|_| ConfigError::NO_KEY)?;
        Ok(SigningKey {
            pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
                .map_err(|_| ConfigError::NO_KEY)?,
            key_id: id(self.key_id.as_deref()).ok_or(ConfigError::NO_KEY_ID)?,
            team_id: id(self.team_id.as_deref()).ok_or(ConfigError::NO_TEAM_ID)?,
        })
    }

    fn certificate(&self, chain: &Secret) -> Result<Certificate, ConfigError> {
        let key = self.certificate_key.as_ref().unwrap_or(chain);
        if PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).is_err() {
            return Err(ConfigError::NO_CERTIFICATE_KEY);
        }
        Certificate::read(chain.expose()).ok_or(ConfigError::NO_CERTIFICATE)
    }
}

/// What may stand in the `apns-topic` header.
pub(crate) fn is_topic(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// What a provider token is signed with, and for whom.
pub(crate) struct SigningKey {
    pub(crate) pair: EcdsaKeyPair,
    pub(crate) key_id: String,
    pub(crate) team_id: String,
}

/// Apple's ids are ten letters and digits.
fn id(text: Option<&str>) -> Option<String> {
    let is_id = |text: &&str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    text.filter(is_id).map(str::to_owned)
}

/// What is wrong with the configuration: a key of the channel's table, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{1}")]
pub struct ConfigError(&'static str, &'static str);

impl ConfigError {
    /// The key of the channel's table that is wrong.
    #[must_use]
    pub const fn key(self) -> &'static str {
        self.0
    }
}

/// Everything that can be wrong.
#[rustfmt::skip]
impl ConfigError {
    const NO_CREDENTIALS: Self = Self("key", "is missing: give key, key_id and team_id, or a certificate");
    const TWO_CREDENTIALS: Self = Self("key", "stands beside certificate, and only one of the two can be used");
    const NO_KEY: Self = Self("key", "is not a P-256 key in PKCS#8 PEM; use the .p8 file from Apple's developer account, Keys");
    const NO_KEY_ID: Self = Self("key_id", "must be the ten letters and digits of the key's id, as in AuthKey_ABC123DEFG.p8");
    const NO_TEAM_ID: Self = Self("team_id", "must be the ten letters and digits under Membership in Apple's developer account");
    const NO_CERTIFICATE: Self = Self("certificate", "is not a certificate in PEM; export it with its key and convert it with openssl pkcs12");
    const NO_CERTIFICATE_KEY: Self = Self("certificate_key", "is not a private key in PEM, and the certificate's text holds none");
    const NO_TOPIC: Self = Self("topic", "must be the app's bundle id, like com.example.MyApp");
    const NO_ADDRESS: Self = Self("base_url", "is not an http or https address");
    pub(crate) const NO_TIME: Self = Self("timeout", "must be longer than zero");
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

    fn wrong(config: &Config) -> ConfigError {
        config.auth(&ProviderTokens::default()).err().expect("refused")
    }

    #[test]
    fn credentials_are_a_key_with_its_ids_or_a_certificate() {
        let tokens = ProviderTokens::default();
        assert!(matches!(with_key().auth(&tokens), Ok(Auth::Token(_))));
        assert!(matches!(with_certificate().auth(&tokens), Ok(Auth::Certificate(_))));
        assert!(wrong(&Config::new("a")).to_string().contains("is missing"));
        assert!(wrong(&Config { key: with_key().key, ..with_certificate() }).to_string().contains("beside"));
    }

    #[test]
    fn a_wrong_credential_is_explained_by_its_key_and_never_quoted() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for text in ["s3cret", &p384, &p8().replace("PRIVATE KEY", "EC PRIVATE KEY")] {
            assert!(wrong(&Config { key: Some(text.into()), ..with_key() }).to_string().contains(".p8"));
        }
        for id in
            [None, Some(""), Some("ABC123DEF"), Some("ABC123DEFGH"), Some("ABC-23DEFG"), Some("\"},\"a\":1")]
        {
            let id = id.map(str::to_owned);
            assert_eq!(wrong(&Config { key_id: id.clone(), ..with_key() }).key(), "key_id");
            assert_eq!(wrong(&Config { team_id: id, ..with_key() }).key(), "team_id");
        }
        let none = Config {
            certificate: Some("s3cret".into()),
            certificate_key: with_key().key,
            ..Config::new("a")
        };
        assert_eq!(wrong(&none).key(), "certificate");
        let chain = certificate();
        let (alone, key) = chain.split_at(chain.find("-----BEGIN PRIVATE").unwrap());
        let alone = Config { certificate: Some(alone.into()), ..with_certificate() };
        assert_eq!(wrong(&alone).key(), "certificate_key");
        assert!(
            Config { certificate_key: Some(key.into()), ..alone }.auth(&ProviderTokens::default()).is_ok()
        );
    }

    #[test]
    fn the_identity_is_the_certificate_with_its_key() {
        assert!(with_key().identity().is_none());
        let config = with_certificate();
        let identity = config.identity().unwrap();
        assert_eq!(identity.certificate, identity.key);
        let apart = Config { certificate_key: Some("key".into()), ..config };
        assert_eq!(apart.identity().unwrap().key.expose(), "key");
    }

    #[test]
    fn a_table_needs_a_topic_and_credentials_and_nothing_else() {
        let config: Config = serde_json::from_str(r#"{"topic":"com.example.MyApp","key":"k"}"#).unwrap();
        assert_eq!(
            (config.base(), config.timeout, config.sound.as_str()),
            (Ok("https://api.push.apple.com"), fifteen_seconds(), "default")
        );
        let error = |text: &str| serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error("{}").contains("missing field `topic`"));
        assert!(error(r#"{"topic":"a","timout":"1s"}"#).contains("unknown field `timout`"));
        assert!(error(r#"{"topic":"a","timeout":"15"}"#).contains("not a duration like \"15s\""));
        assert!(error(r#"{"topic":"a","environment":"development"}"#).contains("`production` or `sandbox`"));
    }

    #[test]
    fn a_topic_or_an_address_that_is_none_is_refused() {
        for topic in ["", "two words", "a\r\nb", "Ünicode", &"a".repeat(256)] {
            assert_eq!(Config::new(topic).topic().unwrap_err().key(), "topic");
        }
        for base in ["api.push.apple.com", "ftp://a.test", "https://a.test/?x", ""] {
            let config = Config { base_url: Some(base.to_owned()), ..with_key() };
            assert_eq!(config.base().unwrap_err().key(), "base_url", "{base}");
        }
    }
}
