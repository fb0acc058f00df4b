//! Provider tokens: ES256 JWTs (RFC 7515, RFC 7518 §3.4). Channels with the same environment, team and key share one.
//!
//! A token is kept for a long time, because Apple refuses keys whose tokens change often. Reads no clock.
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

/// Minimum time between two tokens of one key, set by Apple.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(20 * 60);
/// Window to which "issued at" is rounded down, so that all gateways with one key sign the same claims. A token is used for
/// at least [`MIN_RENEWAL_INTERVAL`] and to the end of its window. Its age thus stays under fifty minutes, the sum of both.
const ISSUE_WINDOW: Duration = Duration::from_secs(30 * 60);
/// Maximum age of a token. Apple's limit is one hour; five minutes tolerate clocks that disagree.
const MAX_AGE: Duration = Duration::from_secs(55 * 60);
/// Tolerance for a token issued in the future. A token further ahead dates from before the clock was set back.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Authentication of a channel.
pub(crate) enum Auth {
    /// Provider token in each request.
    Token(Arc<TokenSigner>),
    /// Client certificate of the connection.
    Certificate(Certificate),
}

impl Auth {
    /// Returns the provider token for a request at `now`, or `None` if the channel uses a certificate.
    ///
    /// # Errors
    /// Returns a fault if the certificate has expired or the token cannot be signed.
    pub(crate) fn signed_token(&self, now: Timestamp) -> Result<Option<SignedToken>, Fault> {
        match self {
            Self::Token(token) => token.signed_token(now).map(Some),
            Self::Certificate(certificate) if certificate.expires_at <= now => {
                let detail =
                    format!("the certificate expired at {}; create a new one", certificate.expires_at);
                Err(Fault::new(Kind::Credentials, detail).of_lane())
            }
            Self::Certificate(_) => Ok(None),
        }
    }

    /// Applies a fault to the provider token, and returns the fault with the consequences for its kind and retry.
    pub(crate) fn apply_fault(&self, fault: Fault, bearer: Option<&SignedToken>, now: Timestamp) -> Fault {
        let (Self::Token(token), Some(bearer)) = (self, bearer) else { return fault };
        if fault.vendor_code.as_deref() == Some("TooManyProviderTokenUpdates") {
            token.extend(now);
        }
        if fault.kind != Kind::AuthExpired {
            return fault;
        }
        // The token is too young to be replaced, and Apple would refuse both it and a new one.
        let Some(wait) = token.discard_expired(bearer, now) else { return fault };
        let detail = "apns says that a fresh provider token has expired; check the clock of this machine";
        Fault { kind: Kind::Credentials, detail: detail.to_owned(), ..fault }.retry_after(Some(wait))
    }
}

/// Provider tokens of one gateway. Channels created with the same instance share tokens.
#[derive(Default)]
pub struct ProviderTokens {
    signers: Mutex<HashMap<SignerKey, Arc<TokenSigner>>>,
}

/// Key of a shared signer. It includes the public key, so that two keys configured under one id by mistake do not affect
/// each other's channel.
#[derive(PartialEq, Eq, Hash)]
struct SignerKey {
    base: String,
    team_id: String,
    key_id: String,
    public_key: Vec<u8>,
}

impl std::fmt::Debug for ProviderTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProviderTokens({})", self.signers.lock().len())
    }
}

impl ProviderTokens {
    /// Returns the shared signer for this key at the base URL.
    pub(crate) fn signer(&self, base: &str, key: SigningKey) -> Arc<TokenSigner> {
        let public_key = key.pair.public_key().as_ref().to_vec();
        let signer_key = SignerKey {
            base: base.to_owned(),
            team_id: key.team_id.clone(),
            key_id: key.key_id.clone(),
            public_key,
        };
        let mut signers = self.signers.lock();
        Arc::clone(
            signers
                .entry(signer_key)
                .or_insert_with(|| Arc::new(TokenSigner { key, state: Mutex::default() })),
        )
    }
}

/// Signer of one key, with its current token.
pub(crate) struct TokenSigner {
    key: SigningKey,
    /// Signing takes microseconds and happens under the lock, so that concurrent requests share the result.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<SignedToken>,
    /// Apple reported a valid token as expired. The next token gets the exact time as "issued at".
    is_refused: bool,
}

/// Signed token as the value of the `Authorization` header, which is marked sensitive, so that it is not printed.
#[derive(Debug, Clone)]
pub(crate) struct SignedToken {
    pub(crate) header: HeaderValue,
    issued_at: Timestamp,
    created_at: Timestamp,
    renew_at: Timestamp,
}

impl TokenSigner {
    /// Returns the ids of team and key for the output of a probe.
    pub(crate) fn description(&self) -> String {
        format!("team {}, key {}", self.key.team_id, self.key.key_id)
    }

    /// Returns the current token, or signs a new one.
    pub(crate) fn signed_token(&self, now: Timestamp) -> Result<SignedToken, Fault> {
        let mut state = self.state.lock();
        match &state.current {
            Some(bearer) if bearer.issued_at <= now + MAX_CLOCK_SKEW && now < bearer.renew_at => {
                Ok(bearer.clone())
            }
            _ => {
                // Rounding could repeat the very claims that Apple has refused.
                let issued_at = if state.is_refused { now } else { start_of_window(now) };
                let bearer = self.sign(now, issued_at)?;
                *state = State { current: Some(bearer.clone()), is_refused: false };
                Ok(bearer)
            }
        }
    }

    /// Drops a token that Apple reports as expired, unless it has been replaced already. Returns the remaining time if the
    /// token is too young to be replaced.
    pub(crate) fn discard_expired(&self, bearer: &SignedToken, now: Timestamp) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.current.as_ref().is_none_or(|current| current.header != bearer.header) {
            return None;
        }
        let wait = (bearer.created_at + MIN_RENEWAL_INTERVAL).since(now);
        if !wait.is_zero() {
            return Some(wait);
        }
        *state = State { current: None, is_refused: true };
        None
    }

    /// Keeps the token for another [`MIN_RENEWAL_INTERVAL`], limited by [`MAX_AGE`].
    pub(crate) fn extend(&self, now: Timestamp) {
        if let Some(bearer) = &mut self.state.lock().current {
            bearer.renew_at =
                (now + MIN_RENEWAL_INTERVAL).min(bearer.issued_at + MAX_AGE).max(bearer.renew_at);
        }
    }

    fn sign(&self, now: Timestamp, issued_at: Timestamp) -> Result<SignedToken, Fault> {
        let input = signing_input(&self.key, issued_at);
        let bug = || Fault::new(Kind::Bug, "the provider token cannot be signed").of_lane();
        let signature = self.key.pair.sign(&SystemRandom::new(), input.as_bytes()).map_err(|_| bug())?;
        let token = format!("bearer {input}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut header = HeaderValue::try_from(token).map_err(|_| bug())?;
        header.set_sensitive(true);
        let renew_at = (now + MIN_RENEWAL_INTERVAL).max(issued_at + ISSUE_WINDOW);
        Ok(SignedToken { header, issued_at, created_at: now, renew_at })
    }
}

fn start_of_window(now: Timestamp) -> Timestamp {
    let window = i64::try_from(ISSUE_WINDOW.as_millis()).expect("half an hour is a number");
    Timestamp::from_millis(now.as_millis().div_euclid(window) * window)
}

/// Returns the signing input (RFC 7515 §5.1) with the fields in Apple's order. The ids need no escaping, because they
/// consist of letters and digits.
fn signing_input(key: &SigningKey, issued_at: Timestamp) -> String {
    let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, key.key_id);
    let claims = format!(r#"{{"iss":"{}","iat":{}}}"#, key.team_id, issued_at.as_secs());
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[cfg(test)]
pub(crate) mod tests;
