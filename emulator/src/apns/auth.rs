//! Who may send: provider tokens signed by a key the emulator gave out, or a certificate of its authority.
//! Knows nothing of devices and payloads.

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
use super::rules::{Rules, SameToken};
use crate::wire::Asked;

/// How many provider tokens are remembered; a fleet has a few.
const REMEMBERED: usize = 100;
/// No honest provider token is longer.
const LONGEST_TOKEN: usize = 4096;

/// A key to sign provider tokens with, as Apple's developer site gives it out.
#[derive(Clone)]
pub struct Key {
    /// Its id: ten characters.
    pub id: String,
    /// The text of its `.p8` file.
    pub p8: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a key or certificate is good for; what is none is not limited.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// In this environment only.
    pub environment: Option<Environment>,
    /// For these topics only, the suffixes of push types included.
    pub topics: Option<Vec<String>>,
}

/// Who sends, when nothing is wrong with that.
pub(super) struct Sender {
    pub(super) scope: Scope,
    /// The topic of a push that names none.
    pub(super) default_topic: Option<String>,
    pub(super) certificate: bool,
}

struct Known {
    id: String,
    public: Vec<u8>,
    scope: Scope,
    /// When it showed a new provider token for the last time, in seconds since 1970.
    minted_s: Option<u64>,
}

struct Certified {
    topic: String,
    scope: Scope,
    revoked: bool,
}

/// Everything that was given out.
#[derive(Default)]
pub(super) struct Credentials(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    keys: Vec<Known>,
    /// By their DER.
    certificates: HashMap<Vec<u8>, Certified>,
    tokens: VecDeque<String>,
}

/// What a sender is measured by.
pub(super) struct Terms<'a> {
    pub(super) team: &'a str,
    pub(super) now_s: u64,
    pub(super) rules: &'a Rules,
}

/// A provider token taken apart, its signature not yet looked at.
struct Parts<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    kid: String,
    iss: String,
    iat: u64,
}

impl Credentials {
    /// A new key; none when the machine has no randomness.
    pub(super) fn key(&self, scope: Scope) -> Option<Key> {
        self.key_named(ten_characters(), scope)
    }

    /// A new key with this id.
    pub(super) fn key_named(&self, id: String, scope: Scope) -> Option<Key> {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).ok()?;
        let base64 = STANDARD.encode(pkcs8.as_ref());
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        let p8 = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let public = pair.public_key().as_ref().to_vec();
        self.0.lock().keys.push(Known { id: id.clone(), public, scope, minted_s: None });
        Some(Key { id, p8 })
    }

    pub(super) fn certify(&self, der: &[u8], topic: &str, scope: Scope) {
        let certified = Certified { topic: topic.to_owned(), scope, revoked: false };
        self.0.lock().certificates.insert(der.to_vec(), certified);
    }

    pub(super) fn revoke_key(&self, id: &str) -> bool {
        let mut inside = self.0.lock();
        let before = inside.keys.len();
        inside.keys.retain(|key| key.id != id);
        inside.keys.len() < before
    }

    /// Forgets which provider tokens the keys have shown, so that each may show any.
    pub(super) fn forget_tokens(&self) {
        let mut inside = self.0.lock();
        inside.tokens.clear();
        inside.keys.iter_mut().for_each(|key| key.minted_s = None);
    }

    pub(super) fn revoke_certificates(&self) {
        self.0.lock().certificates.values_mut().for_each(|one| one.revoked = true);
    }

    /// Who sends a request.
    pub(super) fn sender(&self, asked: &Asked, terms: &Terms<'_>) -> Result<Sender, Reason> {
        let given = asked.header("authorization");
        if given.is_none()
            && let Some(der) = &asked.peer.certificate
        {
            let inside = self.0.lock();
            let known = inside.certificates.get(der.as_ref()).filter(|known| !known.revoked);
            let known = known.ok_or(Reason::BadCertificate)?;
            let (scope, default_topic) = (known.scope.clone(), Some(known.topic.clone()));
            return Ok(Sender { scope, default_topic, certificate: true });
        }
        let given = given.ok_or(Reason::MissingProviderToken)?;
        let (scheme, token) = given.split_once(' ').ok_or(Reason::InvalidProviderToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.len() > LONGEST_TOKEN {
            return Err(Reason::InvalidProviderToken);
        }
        self.by_token(asked, token.trim(), terms)
    }

    fn by_token(&self, asked: &Asked, token: &str, terms: &Terms<'_>) -> Result<Sender, Reason> {
        let Terms { team, now_s, rules } = *terms;
        let parts = parts(token).ok_or(Reason::InvalidProviderToken)?;
        let mut inside = self.0.lock();
        let known = inside.keys.iter().position(|key| key.id == parts.kid);
        let known = known.ok_or(Reason::InvalidProviderToken)?;
        if parts.iss != team || !signed_by(&inside.keys[known].public, &parts) {
            return Err(Reason::InvalidProviderToken);
        }
        if asked.peer.line.as_ref().is_some_and(|line| !line.belongs_to(&format!("{team}/{}", parts.kid))) {
            return Err(Reason::UnrelatedKeyIdInToken);
        }
        if parts.iat > now_s + u64::from(rules.token_skew_s) {
            return Err(Reason::InvalidProviderToken);
        }
        if now_s.saturating_sub(parts.iat) >= u64::from(rules.token_life_s) {
            return Err(Reason::ExpiredProviderToken);
        }
        let name = match rules.same_token {
            SameToken::Claims => format!("{}/{}/{}", parts.kid, parts.iss, parts.iat),
            SameToken::Text => token.to_owned(),
        };
        if !inside.tokens.contains(&name) {
            let key = &mut inside.keys[known];
            if key.minted_s.is_some_and(|last| now_s < last + u64::from(rules.mint_every_s)) {
                return Err(Reason::TooManyProviderTokenUpdates);
            }
            key.minted_s = Some(now_s);
            inside.tokens.push_back(name);
            if inside.tokens.len() > REMEMBERED {
                inside.tokens.pop_front();
            }
        }
        let scope = inside.keys[known].scope.clone();
        Ok(Sender { scope, default_topic: None, certificate: false })
    }
}

fn parts(token: &str) -> Option<Parts<'_>> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    // Some clients in use pad, against RFC 7515 §2, and Apple takes it.
    // Apple takes base64 of either alphabet, padded or not, against RFC 7515 §2: clients in use write all of them.
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
    Some(Parts { signed, signature: bytes(signature)?, kid, iss, iat })
}

/// Apple takes both forms of a signature: r and s side by side (RFC 7515), and DER.
fn signed_by(public: &[u8], parts: &Parts<'_>) -> bool {
    let (signed, signature) = (parts.signed.as_bytes(), parts.signature.as_slice());
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).verify(signed, signature).is_ok()
        || UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public).verify(signed, signature).is_ok()
}

/// An id as Apple gives them to keys and teams.
fn ten_characters() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let random: [u8; 10] = rand::random();
    random.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect()
}
