//! Who we are to a push service (VAPID, RFC 8292): a key pair, and a signed token for each service, made once and used for
//! hours. Reads no clock; never prints a key or a token.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING as ES256, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderValue;
use parking_lot::Mutex;
use pushgate::{Secret, Timestamp};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

/// base64url as strangers write it: with or without padding.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How long a token is good. RFC 8292 §2 allows 24 hours; half of it leaves room for clocks that disagree.
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long before its end a token is replaced: no message must meet one that ends on the way.
const AHEAD: Duration = Duration::from_secs(3600);
/// Apple asks for no more than one new token an hour. A younger one that is refused is not refused for its age.
const YOUNG: Duration = Duration::from_secs(3600);
/// Wildcards let strangers name hosts; more services than this are not remembered at once.
const MOST_ORIGINS: usize = 1024;

/// A new VAPID key pair: what `private_key` in the configuration and the page's `applicationServerKey` are made of.
#[derive(Debug)]
pub struct KeyPair {
    /// 32 bytes in base64url: the gateway's, and nobody else's.
    pub private: Secret,
    /// An uncompressed point in base64url: the page subscribes with it.
    pub public: String,
}

impl KeyPair {
    /// Makes one; none when the crypto library has no randomness.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let pair = EcdsaKeyPair::generate(&ES256).ok()?;
        let private = URL_SAFE_NO_PAD.encode(pair.private_key().as_be_bytes().ok()?.as_ref());
        Some(Self { private: private.into(), public: URL_SAFE_NO_PAD.encode(pair.public_key()) })
    }
}

/// Reads a private key: 32 bytes in base64url, or PEM as OpenSSL writes it (PKCS#8 or SEC 1).
pub(crate) fn private_key(text: &str) -> Option<EcdsaKeyPair> {
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        // Before a SEC 1 key, OpenSSL writes the name of the curve in a block of its own, which is passed over.
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        return EcdsaKeyPair::from_private_key_der(&ES256, der.secret_der()).ok();
    }
    let raw = BASE64URL.decode(text).ok()?;
    let public = PrivateKey::from_private_key(&ECDH_P256, &raw).ok()?.compute_public_key().ok()?;
    EcdsaKeyPair::from_private_key_and_public_key(&ES256, &raw, public.as_ref()).ok()
}

/// The key, and the tokens made with it.
pub(crate) struct Vapid {
    key: EcdsaKeyPair,
    public: String,
    subject: String,
    tokens: Mutex<HashMap<String, Token>>,
}

/// What goes into `Authorization`, and when it was made.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) header: HeaderValue,
    made_at: Timestamp,
}

impl Token {
    /// A clock that was set back a little must not cost a new token; one that was set back far must.
    fn is_good(&self, now: Timestamp) -> bool {
        now < self.made_at + (LIFE - AHEAD) && self.made_at < now + YOUNG
    }
}

impl Vapid {
    pub(crate) fn new(key: EcdsaKeyPair, subject: &str) -> Self {
        let public = URL_SAFE_NO_PAD.encode(key.public_key());
        Self { key, public, subject: subject.to_owned(), tokens: Mutex::default() }
    }

    /// The page's `applicationServerKey`.
    pub(crate) fn public(&self) -> &str {
        &self.public
    }

    /// The token for a service, by the origin of its endpoints. Signing takes some 20 µs, so one at a time is enough,
    /// and nobody makes a second one meanwhile. None when the crypto library fails.
    pub(crate) fn token(&self, origin: &str, now: Timestamp) -> Option<Token> {
        let mut tokens = self.tokens.lock();
        if let Some(token) = tokens.get(origin).filter(|token| token.is_good(now)) {
            return Some(token.clone());
        }
        let token = self.signed(origin, now)?;
        if tokens.len() >= MOST_ORIGINS {
            tokens.retain(|_, token| token.is_good(now));
        }
        // Whoever comes when it is full pays for his own tokens; those who were there first are not driven out.
        if tokens.len() < MOST_ORIGINS {
            tokens.insert(origin.to_owned(), token.clone());
        }
        Some(token)
    }

    /// The service takes this token no longer: the next message gets a new one, unless that would be too soon.
    pub(crate) fn refused(&self, origin: &str, token: &Token, now: Timestamp) {
        if now.since(token.made_at) < YOUNG {
            return;
        }
        let mut tokens = self.tokens.lock();
        if tokens.get(origin).is_some_and(|current| current.made_at == token.made_at) {
            tokens.remove(origin);
        }
    }

    fn signed(&self, origin: &str, now: Timestamp) -> Option<Token> {
        let input = signing_input(origin, now + LIFE, &self.subject);
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).ok()?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let mut header =
            HeaderValue::try_from(format!("vapid t={input}.{signature}, k={}", self.public)).ok()?;
        header.set_sensitive(true);
        Some(Token { header, made_at: now })
    }
}

/// Header and claims (RFC 8292 §2), in the order of the RFC's own example.
fn signing_input(origin: &str, ends_at: Timestamp, subject: &str) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let claims =
        format!(r#"{{"aud":{},"exp":{},"sub":{}}}"#, quoted(origin), ends_at.as_secs(), quoted(subject));
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims))
}

#[cfg(test)]
pub(crate) mod tests;
