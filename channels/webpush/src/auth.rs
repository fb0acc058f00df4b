//! Authentication to push services (VAPID, RFC 8292): a key pair, and signed tokens that are cached per service.
//! Reads no clock, and prints neither keys nor tokens.

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

/// Decoder for base64url, with or without padding.
pub(crate) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Lifetime of a token. RFC 8292 §2 allows 24 hours; half of that tolerates clocks that disagree.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Time before its expiry at which a token is replaced, so that none expires in transit.
const RENEWAL_MARGIN: Duration = Duration::from_secs(3600);
/// Minimum time between two tokens for one service. Apple allows one new token per hour.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(3600);
/// Maximum number of cached tokens. Wildcards in the configuration let clients choose hosts without limit.
const MAX_ORIGINS: usize = 1024;

/// New VAPID key pair: the `private_key` of the configuration and the `applicationServerKey` of the page.
#[derive(Debug)]
pub struct KeyPair {
    /// Private key: 32 bytes in base64url.
    pub private: Secret,
    /// Public key: an uncompressed point in base64url. The page subscribes with it.
    pub public: String,
}

impl KeyPair {
    /// Generates a key pair. Returns `None` if the system's random generator fails.
    #[must_use]
    pub fn generate() -> Option<Self> {
        let pair = EcdsaKeyPair::generate(&ES256).ok()?;
        let private = URL_SAFE_NO_PAD.encode(pair.private_key().as_be_bytes().ok()?.as_ref());
        Some(Self { private: private.into(), public: URL_SAFE_NO_PAD.encode(pair.public_key()) })
    }
}

/// Parses a private key: 32 bytes in base64url, or PEM as OpenSSL writes it (PKCS#8 or SEC 1). Returns `None` for anything
/// else.
pub(crate) fn parse_private_key(text: &str) -> Option<EcdsaKeyPair> {
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        // OpenSSL writes a block with the name of the curve before a SEC 1 key. The parser skips it.
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).ok()?;
        return EcdsaKeyPair::from_private_key_der(&ES256, der.secret_der()).ok();
    }
    let raw = BASE64URL.decode(text).ok()?;
    let public = PrivateKey::from_private_key(&ECDH_P256, &raw).ok()?.compute_public_key().ok()?;
    EcdsaKeyPair::from_private_key_and_public_key(&ES256, &raw, public.as_ref()).ok()
}

/// Signer of VAPID tokens, with a cache of one token per origin.
pub(crate) struct VapidSigner {
    key: EcdsaKeyPair,
    public_key: String,
    subject: String,
    tokens: Mutex<HashMap<String, VapidToken>>,
}

/// Value of the `Authorization` header, and the time of its creation.
#[derive(Clone)]
pub(crate) struct VapidToken {
    pub(crate) header: HeaderValue,
    created_at: Timestamp,
}

impl VapidToken {
    /// Returns `true` if the token does not need to be replaced. A token from the future is usable only if it is less than
    /// [`MIN_RENEWAL_INTERVAL`] ahead, so that a clock set back far leads to a new token.
    fn is_usable(&self, now: Timestamp) -> bool {
        now < self.created_at + (TOKEN_LIFETIME - RENEWAL_MARGIN)
            && self.created_at < now + MIN_RENEWAL_INTERVAL
    }
}

impl VapidSigner {
    pub(crate) fn new(key: EcdsaKeyPair, subject: &str) -> Self {
        let public_key = URL_SAFE_NO_PAD.encode(key.public_key());
        Self { key, public_key, subject: subject.to_owned(), tokens: Mutex::default() }
    }

    /// Returns the `applicationServerKey` for the page, in base64url.
    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Returns the token for the service with this origin, or `None` if the crypto library fails. Signing happens under the
    /// lock, so that no two tokens are created at once; it takes about 20 µs.
    pub(crate) fn token(&self, origin: &str, now: Timestamp) -> Option<VapidToken> {
        let mut tokens = self.tokens.lock();
        if let Some(token) = tokens.get(origin).filter(|token| token.is_usable(now)) {
            return Some(token.clone());
        }
        let token = self.sign(origin, now)?;
        if tokens.len() >= MAX_ORIGINS {
            tokens.retain(|_, token| token.is_usable(now));
        }
        // A full cache keeps its tokens, so that invented hosts cannot evict those of real services.
        if tokens.len() < MAX_ORIGINS {
            tokens.insert(origin.to_owned(), token.clone());
        }
        Some(token)
    }

    /// Drops a token that the service refused, unless it is younger than [`MIN_RENEWAL_INTERVAL`].
    pub(crate) fn discard_refused(&self, origin: &str, token: &VapidToken, now: Timestamp) {
        if now.since(token.created_at) < MIN_RENEWAL_INTERVAL {
            return;
        }
        let mut tokens = self.tokens.lock();
        if tokens.get(origin).is_some_and(|current| current.created_at == token.created_at) {
            tokens.remove(origin);
        }
    }

    fn sign(&self, origin: &str, now: Timestamp) -> Option<VapidToken> {
        let input = signing_input(origin, now + TOKEN_LIFETIME, &self.subject);
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).ok()?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let mut header =
            HeaderValue::try_from(format!("vapid t={input}.{signature}, k={}", self.public_key)).ok()?;
        header.set_sensitive(true);
        Some(VapidToken { header, created_at: now })
    }
}

/// Returns the encoded header and claims (RFC 8292 §2), in the order of the RFC's example.
fn signing_input(origin: &str, expires_at: Timestamp, subject: &str) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let claims =
        format!(r#"{{"aud":{},"exp":{},"sub":{}}}"#, quoted(origin), expires_at.as_secs(), quoted(subject));
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims))
}

#[cfg(test)]
pub(crate) mod tests;
