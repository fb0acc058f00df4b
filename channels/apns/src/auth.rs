//! The provider token: an ES256 JWT (RFC 7515, RFC 7518 §3.4), one for all channels with the same environment, team and key,
//! and used for a long time, because Apple refuses whoever makes new ones often. Reads no clock: the hour is handed in.
//! Source: <https://developer.apple.com/documentation/usernotifications/establishing-a-token-based-connection-to-apns>.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use parking_lot::Mutex;
use pushgate::{Fault, Kind, Timestamp};

use crate::certificate::Certificate;
use crate::config::SigningKey;

/// Apple's shortest time between two tokens of one key.
const REST: Duration = Duration::from_secs(20 * 60);
/// "Issued at" is rounded down to this, so that all gateways with one key make the same claims. A token is used at least
/// for [`REST`] and at least to the end of its window: it is never older than [`REST`] and a window together, fifty minutes.
const WINDOW: Duration = Duration::from_secs(30 * 60);
/// Apple takes no token that is an hour old; five minutes are left for clocks that disagree.
const OLDEST: Duration = Duration::from_secs(55 * 60);
/// A token from so far in the future was made before our clock was set back.
const SKEW: Duration = Duration::from_secs(60);

/// How a channel proves who it is.
pub(crate) enum Auth {
    /// By a provider token in each request.
    Token(Arc<ProviderToken>),
    /// By the connection alone.
    Certificate(Certificate),
}

impl Auth {
    /// What authorises a request at `now`, beside the connection.
    pub(crate) fn bearer(&self, now: Timestamp) -> Result<Option<Bearer>, Fault> {
        match self {
            Self::Token(token) => token.bearer(now).map(Some),
            Self::Certificate(certificate) if certificate.ends_at <= now => {
                let detail = format!("the certificate ended at {}; make a new one", certificate.ends_at);
                Err(Fault::new(Kind::Credentials, detail).of_lane())
            }
            Self::Certificate(_) => Ok(None),
        }
    }

    /// Draws from a fault what concerns the provider token, and gives the fault as it then is.
    pub(crate) fn judged(&self, fault: Fault, bearer: Option<&Bearer>, now: Timestamp) -> Fault {
        let (Self::Token(token), Some(bearer)) = (self, bearer) else { return fault };
        if fault.vendor_code.as_deref() == Some("TooManyProviderTokenUpdates") {
            token.too_many(now);
        }
        if fault.kind != Kind::AuthExpired {
            return fault;
        }
        // Too young to be replaced: it would be refused again at once, and so would a new one.
        let Some(wait) = token.expired(bearer, now) else { return fault };
        let detail = "apns says that a fresh provider token has expired: is this machine's clock right?";
        Fault { kind: Kind::Credentials, detail: detail.to_owned(), ..fault }.retry_after(Some(wait))
    }
}

/// The provider tokens of one gateway. Channels that are given the same one share tokens.
#[derive(Default)]
pub struct ProviderTokens {
    tokens: Mutex<HashMap<Owner, Arc<ProviderToken>>>,
}

/// Whose token it is: where it is used, team, key id, and the public key. Two keys under one id are a mistake, which must not
/// reach the other channel.
type Owner = (String, String, String, Vec<u8>);

impl std::fmt::Debug for ProviderTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProviderTokens({})", self.tokens.lock().len())
    }
}

impl ProviderTokens {
    /// The token of this key at `base`.
    pub(crate) fn of(&self, base: &str, key: SigningKey) -> Arc<ProviderToken> {
        let public_key = key.pair.public_key().as_ref().to_vec();
        let owner = (base.to_owned(), key.team_id.clone(), key.key_id.clone(), public_key);
        let mut tokens = self.tokens.lock();
        Arc::clone(
            tokens.entry(owner).or_insert_with(|| Arc::new(ProviderToken { key, state: Mutex::default() })),
        )
    }
}

/// The token of one key.
pub(crate) struct ProviderToken {
    key: SigningKey,
    /// Signing takes microseconds: whoever comes first does it under the lock, and the others find the result.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Bearer>,
    /// Apple called a token expired that was not: the next one is as young as it can be.
    refused: bool,
}

/// A token, ready to be sent. Its header is marked sensitive, so that it does not print.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    pub(crate) header: HeaderValue,
    issued_at: Timestamp,
    made_at: Timestamp,
    renew_at: Timestamp,
}

impl ProviderToken {
    /// The ids of team and key, for a human.
    pub(crate) fn owner(&self) -> String {
        format!("team {}, key {}", self.key.team_id, self.key.key_id)
    }

    /// The token to send with.
    pub(crate) fn bearer(&self, now: Timestamp) -> Result<Bearer, Fault> {
        let mut state = self.state.lock();
        match &state.current {
            Some(bearer) if bearer.issued_at <= now + SKEW && now < bearer.renew_at => Ok(bearer.clone()),
            _ => {
                let bearer = self.made(now, state.refused)?;
                *state = State { current: Some(bearer.clone()), refused: false };
                Ok(bearer)
            }
        }
    }

    /// Forgets a token that Apple calls expired, unless it has been replaced already. `Some` when it is too young to be
    /// replaced: how long until it may be.
    pub(crate) fn expired(&self, bearer: &Bearer, now: Timestamp) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.current.as_ref().is_none_or(|current| current.header != bearer.header) {
            return None;
        }
        let wait = (bearer.made_at + REST).since(now);
        if !wait.is_zero() {
            return Some(wait);
        }
        *state = State { current: None, refused: true };
        None
    }

    /// Keeps the token for as long as Apple asks, as far as its age allows.
    pub(crate) fn too_many(&self, now: Timestamp) {
        if let Some(bearer) = &mut self.state.lock().current {
            bearer.renew_at = (now + REST).min(bearer.issued_at + OLDEST).max(bearer.renew_at);
        }
    }

    fn made(&self, now: Timestamp, refused: bool) -> Result<Bearer, Fault> {
        let window = i64::try_from(WINDOW.as_millis()).expect("half an hour is a number");
        let rounded = Timestamp::from_millis(now.as_millis().div_euclid(window) * window);
        let issued_at = if refused { now } else { rounded };
        let input = signing_input(&self.key, issued_at);
        let broken = || Fault::new(Kind::Bug, "the provider token cannot be signed").of_lane();
        let signature = self.key.pair.sign(&SystemRandom::new(), input.as_bytes()).map_err(|_| broken())?;
        let token = format!("bearer {input}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut header = HeaderValue::try_from(token).map_err(|_| broken())?;
        header.set_sensitive(true);
        let renew_at = (now + REST).max(issued_at + WINDOW);
        Ok(Bearer { header, issued_at, made_at: now, renew_at })
    }
}

/// The part of the token that is signed (RFC 7515 §5.1), in Apple's order. The ids are letters and digits.
fn signing_input(key: &SigningKey, issued_at: Timestamp) -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key.key_id);
    let claims = format!(r#"{{"iss":"{}","iat":{}}}"#, key.team_id, issued_at.as_secs());
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[cfg(test)]
pub(crate) mod tests;
