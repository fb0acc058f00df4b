//! Authentication of senders: provider tokens signed with issued keys, or certificates of the emulator's authority.
//! This module knows no devices and payloads.

use std::collections::{HashMap, VecDeque};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair,
    KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::Value;

use super::Environment;
use super::reason::Reason;
use super::rules::{AppleRules, TokenComparison};
use crate::wire::HttpRequest;

/// Maximum number of remembered provider tokens. Real senders use few.
const MAX_REMEMBERED_TOKENS: usize = 100;
/// Maximum length of a provider token, in bytes.
const MAX_TOKEN_LENGTH: usize = 4096;

/// Key that signs provider tokens, as Apple's developer site issues it.
#[derive(Clone)]
pub struct ApnsKey {
    /// Id of the key: ten characters.
    pub id: String,
    /// Text of the `.p8` file.
    pub p8: String,
}

impl std::fmt::Debug for ApnsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApnsKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Scope of a key or certificate. `None` means no restriction.
#[derive(Debug, Clone, Default)]
pub struct CredentialScope {
    /// The only environment in which it is valid.
    pub environment: Option<Environment>,
    /// The only topics for which it is valid, including the suffixes of push types.
    pub topics: Option<Vec<String>>,
}

/// Authenticated sender of a request.
pub(super) struct Sender {
    pub(super) scope: CredentialScope,
    /// Topic of a push without `apns-topic`.
    pub(super) default_topic: Option<String>,
    /// `true` if the sender uses a certificate, `false` for a provider token.
    pub(super) uses_certificate: bool,
}

struct IssuedKey {
    id: String,
    public: Vec<u8>,
    scope: CredentialScope,
    /// Time of its last new provider token, in seconds since 1970.
    last_token_s: Option<u64>,
}

struct IssuedCertificate {
    topic: String,
    scope: CredentialScope,
    is_revoked: bool,
}

/// All issued keys and certificates, and the provider tokens that were used.
#[derive(Default)]
pub(super) struct Credentials(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    keys: Vec<IssuedKey>,
    /// Certificates by their DER.
    certificates: HashMap<Vec<u8>, IssuedCertificate>,
    tokens: VecDeque<String>,
}

/// Parameters of the verification of a sender.
pub(super) struct Verification<'a> {
    pub(super) team: &'a str,
    pub(super) now_s: u64,
    pub(super) rules: &'a AppleRules,
}

/// Parsed provider token. Its signature is not verified yet.
struct ProviderToken<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    kid: String,
    iss: String,
    iat: u64,
}

impl Credentials {
    /// Issues a key. `None` if the machine provides no randomness.
    pub(super) fn issue_key(&self, scope: CredentialScope) -> Option<ApnsKey> {
        self.issue_key_with_id(random_id(), scope)
    }

    /// Issues a key with this id. `None` if the machine provides no randomness.
    pub(super) fn issue_key_with_id(&self, id: String, scope: CredentialScope) -> Option<ApnsKey> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).ok()?;
        let base64 = STANDARD.encode(pkcs8.as_ref());
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let p8 = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let public = pair.public_key().as_ref().to_vec();
        self.0.lock().keys.push(IssuedKey { id: id.clone(), public, scope, last_token_s: None });
        Some(ApnsKey { id, p8 })
    }

    /// Registers an issued certificate with its default topic.
    pub(super) fn register_certificate(&self, der: &[u8], topic: &str, scope: CredentialScope) {
        let certificate = IssuedCertificate { topic: topic.to_owned(), scope, is_revoked: false };
        self.0.lock().certificates.insert(der.to_vec(), certificate);
    }

    /// Revokes a key. Returns `true` if the key existed.
    pub(super) fn revoke_key(&self, id: &str) -> bool {
        let mut inner = self.0.lock();
        let old_length = inner.keys.len();
        inner.keys.retain(|key| key.id != id);
        inner.keys.len() < old_length
    }

    /// Forgets all used provider tokens, so that each key may use any token at once.
    pub(super) fn forget_tokens(&self) {
        let mut inner = self.0.lock();
        inner.tokens.clear();
        inner.keys.iter_mut().for_each(|key| key.last_token_s = None);
    }

    /// Revokes every certificate.
    pub(super) fn revoke_certificates(&self) {
        self.0.lock().certificates.values_mut().for_each(|certificate| certificate.is_revoked = true);
    }

    /// Returns the sender of a request, or the reason to refuse it.
    pub(super) fn authenticate(
        &self,
        request: &HttpRequest,
        verification: &Verification<'_>,
    ) -> Result<Sender, Reason> {
        let authorization = request.header("authorization");
        if authorization.is_none()
            && let Some(der) = &request.peer.certificate
        {
            let inner = self.0.lock();
            let certificate = inner.certificates.get(der.as_ref()).filter(|issued| !issued.is_revoked);
            let certificate = certificate.ok_or(Reason::BadCertificate)?;
            let (scope, default_topic) = (certificate.scope.clone(), Some(certificate.topic.clone()));
            return Ok(Sender { scope, default_topic, uses_certificate: true });
        }
        let authorization = authorization.ok_or(Reason::MissingProviderToken)?;
        let (scheme, token) = authorization.split_once(' ').ok_or(Reason::InvalidProviderToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.len() > MAX_TOKEN_LENGTH {
            return Err(Reason::InvalidProviderToken);
        }
        self.authenticate_token(request, token.trim(), verification)
    }

    /// Returns the sender of a provider token, or the reason to refuse it. Records the token as used.
    fn authenticate_token(
        &self,
        request: &HttpRequest,
        token: &str,
        verification: &Verification<'_>,
    ) -> Result<Sender, Reason> {
        let Verification { team, now_s, rules } = *verification;
        let parsed = parse_token(token).ok_or(Reason::InvalidProviderToken)?;
        let mut inner = self.0.lock();
        let position = inner.keys.iter().position(|key| key.id == parsed.kid);
        let position = position.ok_or(Reason::InvalidProviderToken)?;
        if parsed.iss != team || !has_valid_signature(&parsed, &inner.keys[position].public) {
            return Err(Reason::InvalidProviderToken);
        }
        let connection = request.peer.connection.as_ref();
        let sender = format!("{team}/{}", parsed.kid);
        if connection.is_some_and(|connection| !connection.bind_sender(&sender)) {
            return Err(Reason::UnrelatedKeyIdInToken);
        }
        if parsed.iat > now_s + u64::from(rules.token_skew_s) {
            return Err(Reason::InvalidProviderToken);
        }
        if now_s.saturating_sub(parsed.iat) >= u64::from(rules.token_life_s) {
            return Err(Reason::ExpiredProviderToken);
        }
        let identity = match rules.same_token {
            TokenComparison::Claims => format!("{}/{}/{}", parsed.kid, parsed.iss, parsed.iat),
            TokenComparison::Text => token.to_owned(),
        };
        if !inner.tokens.contains(&identity) {
            let key = &mut inner.keys[position];
            if key.last_token_s.is_some_and(|last| now_s < last + u64::from(rules.mint_every_s)) {
                return Err(Reason::TooManyProviderTokenUpdates);
            }
            key.last_token_s = Some(now_s);
            inner.tokens.push_back(identity);
            if inner.tokens.len() > MAX_REMEMBERED_TOKENS {
                inner.tokens.pop_front();
            }
        }
        let scope = inner.keys[position].scope.clone();
        Ok(Sender { scope, default_topic: None, uses_certificate: false })
    }
}

/// Parses a provider token. `None` if it is malformed or not signed with ES256.
fn parse_token(token: &str) -> Option<ProviderToken<'_>> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    // Apple accepts both alphabets of base64, padded or not, against RFC 7515 §2. Clients in use send all of these
    // forms.
    let bytes = |part: &str| {
        let part = part.trim_end_matches('=').replace('+', "-").replace('/', "_");
        URL_SAFE_NO_PAD.decode(part).ok()
    };
    let object = |part: &str| serde_json::from_slice::<Value>(&bytes(part)?).ok();
    let (header, claims) = (object(header)?, object(claims)?);
    if header["alg"] != "ES256" {
        return None;
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (kid, iss, iat) = (text(&header["kid"])?, text(&claims["iss"])?, claims["iat"].as_u64()?);
    Some(ProviderToken { signed, signature: bytes(signature)?, kid, iss, iat })
}

/// Returns `true` if the signature is valid. Apple accepts both forms: r and s concatenated (RFC 7515), and DER.
fn has_valid_signature(token: &ProviderToken<'_>, public: &[u8]) -> bool {
    let (signed, signature) = (token.signed.as_bytes(), token.signature.as_slice());
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(signed, signature).is_ok()
        || UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public).verify(signed, signature).is_ok()
}

/// Returns a random id of ten characters, as Apple gives to keys and teams.
fn random_id() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let random: [u8; 10] = rand::random();
    random.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
