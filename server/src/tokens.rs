//! User tokens: JSON Web Tokens (RFC 7519) with which a browser or a phone manages the devices of its own user.
//! The configured key decides the algorithm, never the token's header. Tokens and claims are never logged.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pushgate::{AppId, Timestamp, UserId};
use pushgate_config::{Config, ConfigError, UserKeyAlgorithm, UserKeyConfig};
use serde::Deserialize;

use crate::problem::Problem;

/// Largest accepted token, in bytes. A usual token has about 300.
const MAX_TOKEN: usize = 2048;
/// Longest remaining validity of a token. It limits the use of a stolen token.
const MAX_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Tolerated clock difference to the issuer of a token.
const LEEWAY: Duration = Duration::from_secs(30);

/// Keys of every app that verify its user tokens.
#[derive(Default)]
pub struct UserKeys(BTreeMap<AppId, Vec<(String, Verifier)>>);

enum Verifier {
    Hs256(Box<hmac::Key>),
    EdDsa(UnparsedPublicKey<Vec<u8>>),
}

/// Error of a configured key that is not a public key of its algorithm.
#[derive(Debug, thiserror::Error)]
#[error(
    "apps.{app}.user_keys: key `{id}` is no Ed25519 public key; write PEM, or the base64 of its 32 bytes"
)]
pub struct InvalidUserKey {
    app: AppId,
    id: String,
}

impl InvalidUserKey {
    /// Returns the error with its file and line of the configuration.
    pub(crate) fn in_config(&self, config: &Config) -> ConfigError {
        let key = ["apps", self.app.as_str(), "user_keys"];
        let message =
            format!("key `{}` is no Ed25519 public key; write PEM, or the base64 of its 32 bytes", self.id);
        config.refuse(&key, message)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood (RFC 7515 §4.1.11). None is supported.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    app: AppId,
    #[serde(alias = "sub")]
    user: UserId,
    /// Expiry in seconds since 1970. RFC 7519 allows a fraction.
    exp: f64,
    nbf: Option<f64>,
}

impl UserKeys {
    /// Parses the keys of a configuration.
    ///
    /// # Errors
    /// [`InvalidUserKey`] for the first key that does not fit its algorithm.
    pub fn new<'a>(
        apps: impl IntoIterator<Item = (&'a AppId, &'a [UserKeyConfig])>,
    ) -> Result<Self, InvalidUserKey> {
        let mut by_app = BTreeMap::new();
        for (app, keys) in apps {
            let verifier = |key: &UserKeyConfig| {
                let invalid = || InvalidUserKey { app: app.clone(), id: key.id.clone() };
                Ok((key.id.clone(), Verifier::new(key).ok_or_else(invalid)?))
            };
            by_app.insert(app.clone(), keys.iter().map(verifier).collect::<Result<_, _>>()?);
        }
        Ok(Self(by_app))
    }

    /// Verifies a token for this app and returns its user.
    ///
    /// # Errors
    /// 401 if the signature, the app or the validity is wrong.
    pub(crate) fn verify(&self, app: &AppId, token: &str, now: Timestamp) -> Result<UserId, Problem> {
        let invalid = || Problem::new(401, "invalid_user_token", "the user token is not signed by this app");
        let (key_id, claims) = self.verify_signature(app, token).ok_or_else(invalid)?;
        if claims.app != *app {
            return Err(invalid());
        }
        let to_timestamp = |seconds: f64| Timestamp::from_millis((seconds * 1000.0) as i64);
        let expires_at = to_timestamp(claims.exp);
        if expires_at + LEEWAY <= now {
            return Err(Problem::new(
                401,
                "expired_user_token",
                "the user token has expired; fetch a new one",
            ));
        }
        if expires_at > now + MAX_VALIDITY + LEEWAY {
            let detail = format!(
                "the user token of key `{key_id}` is valid for more than seven days; issue one with an earlier `exp`"
            );
            return Err(Problem::new(401, "invalid_user_token", detail));
        }
        if claims.nbf.is_some_and(|nbf| to_timestamp(nbf) > now + LEEWAY) {
            return Err(Problem::new(401, "invalid_user_token", "the user token is not valid yet (`nbf`)"));
        }
        Ok(claims.user)
    }

    /// Returns the claims and the id of the key that signed them. `None` means that no key of the app did.
    fn verify_signature(&self, app: &AppId, token: &str) -> Option<(&str, Claims)> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = decode_json(header)?;
        if header.crit.is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let has_id = |id: &str| header.kid.as_ref().is_none_or(|kid| kid == id);
        let mut keys =
            self.0.get(app)?.iter().filter(|(id, key)| has_id(id) && key.algorithm() == header.alg);
        let (id, _) = keys.find(|(_, key)| key.is_valid(signed.as_bytes(), &signature))?;
        Some((id, decode_json(claims)?))
    }
}

/// Decodes one base64url part of a token.
fn decode_json<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

impl Verifier {
    fn new(key: &UserKeyConfig) -> Option<Self> {
        match key.algorithm {
            UserKeyAlgorithm::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.key.expose().as_bytes());
                Some(Self::Hs256(Box::new(key)))
            }
            UserKeyAlgorithm::EdDsa => {
                Some(Self::EdDsa(UnparsedPublicKey::new(&ED25519, ed25519_public(key.key.expose())?)))
            }
        }
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn is_valid(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(key) => hmac::verify(key, signed, signature).is_ok(),
            Self::EdDsa(key) => key.verify(signed, signature).is_ok(),
        }
    }
}

/// Returns the 32 bytes of an Ed25519 public key, from base64 or from the PEM of a SubjectPublicKeyInfo (RFC 8410 §4).
fn ed25519_public(text: &str) -> Option<Vec<u8>> {
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let bytes = STANDARD.decode(&base64).or_else(|_| URL_SAFE_NO_PAD.decode(&base64)).ok()?;
    let key = if bytes.len() == 32 { &bytes } else { bytes.strip_prefix(&PREFIX)? };
    (key.len() == 32).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn app() -> AppId {
        AppId::new("demo").unwrap()
    }

    fn key(id: &str, algorithm: UserKeyAlgorithm, key: &str) -> UserKeyConfig {
        UserKeyConfig { id: id.to_owned(), algorithm, key: key.into() }
    }

    fn keys(keys: &[UserKeyConfig]) -> UserKeys {
        UserKeys::new([(&app(), keys)]).unwrap()
    }

    fn part(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    fn hs256(header: &Value, claims: &Value, secret: &str) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn claims(exp: i64) -> Value {
        json!({"app": "demo", "user": "bob", "exp": exp})
    }

    fn verify(keys: &UserKeys, token: &str) -> Result<String, &'static str> {
        let now = Timestamp::from_millis(NOW * 1000);
        keys.verify(&app(), token, now).map(|user| user.to_string()).map_err(|problem| problem.code())
    }

    const OLD: &str = "old-old-old-old-old-old-old-old-";
    const NEW: &str = "new-new-new-new-new-new-new-new-";

    #[test]
    fn two_keys_verify_tokens_during_a_key_rotation() {
        let both =
            keys(&[key("old", UserKeyAlgorithm::Hs256, OLD), key("new", UserKeyAlgorithm::Hs256, NEW)]);
        let header = |kid| json!({"alg": "HS256", "kid": kid});
        let good = claims(NOW + 60);
        assert_eq!(verify(&both, &hs256(&header("old"), &good, OLD)), Ok("bob".into()));
        assert_eq!(verify(&both, &hs256(&header("new"), &good, NEW)), Ok("bob".into()));
        assert_eq!(verify(&both, &hs256(&json!({"alg": "HS256"}), &good, NEW)), Ok("bob".into()));
        assert_eq!(verify(&both, &hs256(&header("new"), &good, OLD)), Err("invalid_user_token"));
        let after = keys(&[key("new", UserKeyAlgorithm::Hs256, NEW)]);
        assert_eq!(verify(&after, &hs256(&header("old"), &good, OLD)), Err("invalid_user_token"));
    }

    #[test]
    fn an_ed25519_key_verifies_and_is_no_hmac_secret() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let public = STANDARD.encode(pair.public_key());
        let keys = keys(&[key("k", UserKeyAlgorithm::EdDsa, &public)]);
        let signed = format!("{}.{}", part(&json!({"alg": "EdDSA"})), part(&claims(NOW + 60)));
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(pair.sign(signed.as_bytes())));
        assert_eq!(verify(&keys, &token), Ok("bob".into()));
        // The classic confusion: the public key taken for a shared secret.
        let forged = hs256(&json!({"alg": "HS256"}), &claims(NOW + 60), &public);
        assert_eq!(verify(&keys, &forged), Err("invalid_user_token"));
        let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        spki.extend(pair.public_key().as_ref());
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki));
        assert_eq!(ed25519_public(&pem).unwrap(), pair.public_key().as_ref());
    }

    #[test]
    fn unsigned_foreign_expired_and_too_long_valid_tokens_are_refused() {
        let keys = keys(&[key("k", UserKeyAlgorithm::Hs256, NEW)]);
        let header = json!({"alg": "HS256"});
        let good = hs256(&header, &claims(NOW + 60), NEW);
        assert_eq!(verify(&keys, &good), Ok("bob".into()));
        let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims(NOW + 60)));
        let mut foreign = claims(NOW + 60);
        foreign["app"] = "other".into();
        let mut early = claims(NOW + 600);
        early["nbf"] = (NOW + 300).into();
        let critical = json!({"alg": "HS256", "crit": ["b64"]});
        let (head, tail) = good.split_at(good.len() - 1);
        let bent = format!("{head}{}", if tail == "A" { "Q" } else { "A" });
        for token in [
            "",
            "a.b",
            "..",
            "pgk_key",
            &none,
            &bent,
            &hs256(&header, &foreign, NEW),
            &hs256(&header, &early, NEW),
            &hs256(&header, &claims(NOW + 8 * 24 * 3600), NEW),
            &hs256(&header, &json!({"app": "demo", "user": "bob"}), NEW),
            &hs256(&critical, &claims(NOW + 60), NEW),
            &"x".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(verify(&keys, token), Err("invalid_user_token"), "{token}");
        }
        let old = hs256(&header, &claims(NOW - 31), NEW);
        assert_eq!(verify(&keys, &old), Err("expired_user_token"));
    }
}
