//! OAuth 2.0 access tokens by JWT assertion (RFC 7523). Tokens are refreshed ahead of their expiry, with one request for any
//! number of callers. A failed request is not retried here: its callers get the fault, and the next caller tries again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, DATE};
use parking_lot::Mutex;
use pushgate::vendor_response::{date, retry_after, safe_quote};
use pushgate::{Clock, Fault, Kind, Request, Response, Timestamp, Transport, TransportError};
use serde_json::Value;

use crate::config::ServiceAccount;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Lifetime of an assertion, the longest that Google accepts. It is used at once.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(3600);
/// Time before expiry at which a token is refreshed, at most half of its lifetime. It stays in use meanwhile.
const REFRESH_AHEAD: Duration = Duration::from_secs(300);
/// Lifetime in seconds of a token whose response has no usable `expires_in`.
const DEFAULT_LIFETIME_SECS: u64 = 3599;
/// Minimum pause after a failed request. Within it all callers get the fault of that request.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// Clock skew from which a fault mentions the clock. Google refuses assertions from some minutes on.
const REPORTED_SKEW: Duration = Duration::from_secs(60);

/// Access token as an `Authorization` header. The header is marked sensitive, so `Debug` does not print it.
#[derive(Debug, Clone)]
pub(crate) struct AccessToken {
    pub(crate) header: HeaderValue,
    refresh_at: Timestamp,
    expires_at: Timestamp,
}

impl AccessToken {
    /// Returns the token itself, for removal from error texts that repeat it.
    pub(crate) fn expose(&self) -> &str {
        self.header.to_str().ok().and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default()
    }
}

/// Source of access tokens for one service account.
pub(crate) struct Auth {
    account: ServiceAccount,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    current: Mutex<Option<AccessToken>>,
    /// Lock of the one request in flight, with the last failure. A cancelled holder releases it, so it cannot block.
    refresh: tokio::sync::Mutex<Option<Failure>>,
}

/// Last failure, and the end of the pause after it.
struct Failure {
    fault: Fault,
    at: Timestamp,
    until: Timestamp,
}

impl Auth {
    /// Creates a source. `timeout` limits one request to the token endpoint.
    pub(crate) fn new(
        account: ServiceAccount,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let (current, refresh) = (Mutex::new(None), tokio::sync::Mutex::new(None));
        Self { account, transport, clock, timeout, current, refresh }
    }

    /// Returns a valid access token, and fetches one if necessary.
    ///
    /// Cancel-safe: if a caller is cancelled during its request, the next waiting caller starts one.
    pub(crate) async fn access_token(&self) -> Result<AccessToken, Fault> {
        if let Some(access_token) = self.valid() {
            if self.clock.now() < access_token.refresh_at {
                return Ok(access_token);
            }
            // Still valid: the first caller refreshes it, the others use it as it is.
            return match self.refresh.try_lock() {
                Ok(mut last) => self.fetch(&mut last).await.or(Ok(access_token)),
                Err(_) => Ok(access_token),
            };
        }
        let mut last = self.refresh.lock().await;
        match self.valid() {
            Some(access_token) => Ok(access_token),
            None => self.fetch(&mut last).await,
        }
    }

    /// Discards a refused token, unless it has been replaced already.
    pub(crate) fn discard(&self, access_token: &AccessToken) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|now| now.header == access_token.header) {
            *current = None;
        }
    }

    fn valid(&self) -> Option<AccessToken> {
        let now = self.clock.now();
        self.current.lock().clone().filter(|access_token| now < access_token.expires_at)
    }

    async fn fetch(&self, last: &mut Option<Failure>) -> Result<AccessToken, Fault> {
        let now = self.clock.now();
        // Compared with both ends, so that a clock that was set back does not prolong the pause.
        if let Some(failure) = last
            && (failure.at..failure.until).contains(&now)
        {
            return Err(failure.fault.clone());
        }
        let result = self.exchange(now).await;
        match &result {
            Ok(access_token) => {
                *self.current.lock() = Some(access_token.clone());
                *last = None;
            }
            Err(fault) => {
                let at = self.clock.now();
                let until = at + fault.retry_after.unwrap_or(FAILURE_PAUSE).max(FAILURE_PAUSE);
                *last = Some(Failure { fault: fault.clone(), at, until });
            }
        }
        result
    }

    async fn exchange(&self, now: Timestamp) -> Result<AccessToken, Fault> {
        let assertion = self
            .assertion(now)
            .ok_or_else(|| Fault::new(Kind::Bug, "the assertion cannot be signed").of_lane())?;
        let body =
            format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let mut request = Request::post(self.account.token_uri.clone(), body, self.timeout);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let response = self.transport.send(request).await.map_err(exchange_fault)?;
        parse_grant(&response, &assertion, now)
    }

    fn assertion(&self, now: Timestamp) -> Option<String> {
        let input = signing_input(&self.account, now);
        let mut signature = vec![0; self.account.key.public_modulus_len()];
        self.account
            .key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .ok()?;
        Some(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Returns the part of the assertion that is signed (RFC 7515 §5.1), with the claims of RFC 7523 §3 in Google's order.
fn signing_input(account: &ServiceAccount, now: Timestamp) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let kid = account.key_id.as_deref().map_or(String::new(), |kid| format!(r#","kid":{}"#, quoted(kid)));
    let header = format!(r#"{{"alg":"RS256","typ":"JWT"{kid}}}"#);
    let claims = format!(
        r#"{{"iss":{},"scope":"{SCOPE}","aud":{},"iat":{},"exp":{}}}"#,
        quoted(&account.email),
        quoted(&account.audience),
        now.as_secs(),
        (now + ASSERTION_LIFETIME).as_secs()
    );
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// Converts a transport error of the token endpoint. No message was sent, so the fault is never ambiguous.
fn exchange_fault(error: TransportError) -> Fault {
    let kind = match &error {
        TransportError::Unreachable { .. } => Kind::Unreachable,
        // The destination rules forbid `token_uri`.
        TransportError::Refused { .. } => Kind::Credentials,
        TransportError::Timeout { .. }
        | TransportError::Broken { .. }
        | TransportError::GoneAway { .. }
        | TransportError::AnswerTooLong { .. } => Kind::VendorDown,
    };
    Fault::new(kind, format!("no access token: {error}")).of_lane()
}

/// Parses the response of the token endpoint (RFC 6749 §5). The lifetime counts from `requested_at`, so that it is never
/// overestimated.
fn parse_grant(response: &Response, assertion: &str, requested_at: Timestamp) -> Result<AccessToken, Fault> {
    let grant: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if !response.status.is_success() {
        return Err(denial_fault(response, &grant, assertion, requested_at));
    }
    let header = grant["access_token"]
        .as_str()
        .and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    let Some(mut header) = header else {
        let detail = "the token endpoint answers without an access token; does token_uri lead to Google?";
        return Err(Fault::new(Kind::VendorDown, detail).of_lane());
    };
    header.set_sensitive(true);
    let seconds = match &grant["expires_in"] {
        Value::String(text) => text.parse().unwrap_or(DEFAULT_LIFETIME_SECS),
        number => number.as_u64().unwrap_or(DEFAULT_LIFETIME_SECS),
    };
    let life = Duration::from_secs(seconds.min(24 * 3600));
    let expires_at = requested_at + life;
    Ok(AccessToken { header, refresh_at: expires_at - REFRESH_AHEAD.min(life / 2), expires_at })
}

fn denial_fault(response: &Response, grant: &Value, assertion: &str, now: Timestamp) -> Fault {
    let status = response.status;
    let description =
        safe_quote(grant["error_description"].as_str().unwrap_or("no description"), &[assertion]);
    let error = match &grant["error"] {
        Value::String(error) => safe_quote(error, &[assertion]),
        _ => String::new(),
    };
    let plain = |kind| Fault::new(kind, format!("the token endpoint answers {status}: {description}"));
    let fault = match (status.as_u16(), error.as_str()) {
        (429, _) => plain(Kind::Throttled),
        (300..400 | 408 | 500.., _) => plain(Kind::VendorDown),
        (_, "server_error" | "temporarily_unavailable" | "internal_failure") => plain(Kind::VendorDown),
        (_, "invalid_grant" | "invalid_client" | "invalid_scope") => {
            let advice = advice(&description, response, now);
            Fault::new(
                Kind::Credentials,
                format!("the token endpoint refuses the service account: {description}; {advice}"),
            )
        }
        _ => plain(Kind::Credentials),
    };
    let fault = if error.is_empty() { fault } else { fault.with_code(error) };
    fault.retry_after(retry_after(&response.headers, now)).of_lane()
}

/// Returns advice for the operator. Google's texts tell a wrong clock from a revoked key, and its `Date` measures the skew.
fn advice(description: &str, response: &Response, now: Timestamp) -> String {
    let google = date(&response.headers, &DATE);
    let skew =
        google.map(|google| google.since(now).max(now.since(google))).filter(|skew| *skew > REPORTED_SKEW);
    if let (Some(google), Some(skew)) = (google, skew) {
        let side = if google > now { "behind" } else { "ahead of" };
        return format!("this machine's clock is {} s {side} Google's: set it right", skew.as_secs());
    }
    let advice = if description.contains("iat") || description.contains("reasonable timeframe") {
        "is this machine's clock right?"
    } else if description.contains("Signature") {
        "the key was revoked or belongs to another account: make a new one in the Firebase console"
    } else if description.contains("account not found") {
        "the service account was deleted: make a new one in the Firebase console"
    } else {
        "was the key revoked, or is this machine's clock wrong?"
    };
    advice.to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
