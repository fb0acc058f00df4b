//! The bearer: a signed assertion exchanged at the account's `token_uri` (RFC 7523), refreshed ahead, one flight for any
//! number of callers. Never retries by itself: a failure is the fault of whoever asked, and the next caller tries again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{CONTENT_TYPE, DATE};
use parking_lot::Mutex;
use pushgate::answer::{date, retry_after, safe};
use pushgate::{Clock, Fault, Kind, Request, Response, Timestamp, Transport, TransportError};
use serde_json::Value;

use crate::config::ServiceAccount;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long an assertion is good for: the longest Google takes. It is used at once.
const ASSERTION: Duration = Duration::from_secs(3600);
/// A bearer is refreshed so long before it ends, or at half its life if that is later; meanwhile it is used.
const AHEAD: Duration = Duration::from_secs(300);
/// A grant that does not say how long it lasts is believed for so long. Should it be shorter, a refusal tells.
const USUAL_LIFE: u64 = 3599;
/// After a failed exchange everybody gets its fault for so long, instead of asking the token endpoint again.
const PAUSE: Duration = Duration::from_secs(1);
/// A clock that is wrong by more than this is worth a word; assertions are refused from some minutes on.
const SKEW: Duration = Duration::from_secs(60);

/// A bearer, ready to be sent. Its header is marked sensitive, so that it does not print.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    pub(crate) header: HeaderValue,
    refresh_at: Timestamp,
    ends_at: Timestamp,
}

impl Bearer {
    /// The word itself, which a vendor that repeats its request must not get into a fault.
    pub(crate) fn expose(&self) -> &str {
        self.header.to_str().ok().and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default()
    }
}

/// Gives out bearers.
pub(crate) struct Auth {
    account: ServiceAccount,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    current: Mutex<Option<Bearer>>,
    /// The flight: whoever holds it fetches; who waits for it finds the result. Dropped with its caller, so it cannot wedge.
    flight: tokio::sync::Mutex<Option<Failure>>,
}

/// How the last flight failed, and until when nobody tries again.
struct Failure {
    fault: Fault,
    at: Timestamp,
    until: Timestamp,
}

impl Auth {
    /// `timeout` is for one exchange.
    pub(crate) fn new(
        account: ServiceAccount,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let (current, flight) = (Mutex::new(None), tokio::sync::Mutex::new(None));
        Self { account, transport, clock, timeout, current, flight }
    }

    /// The bearer to send with.
    ///
    /// Cancel-safe: a caller who goes away in the middle of an exchange leaves the flight to the next who waits for it.
    pub(crate) async fn bearer(&self) -> Result<Bearer, Fault> {
        if let Some(bearer) = self.good() {
            if self.clock.now() < bearer.refresh_at {
                return Ok(bearer);
            }
            // Still good: the first to come renews it, the others go on.
            return match self.flight.try_lock() {
                Ok(mut last) => self.fetch(&mut last).await.or(Ok(bearer)),
                Err(_) => Ok(bearer),
            };
        }
        let mut last = self.flight.lock().await;
        match self.good() {
            Some(bearer) => Ok(bearer),
            None => self.fetch(&mut last).await,
        }
    }

    /// Forgets a bearer that was refused, unless it has been replaced already.
    pub(crate) fn refused(&self, bearer: &Bearer) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|now| now.header == bearer.header) {
            *current = None;
        }
    }

    fn good(&self) -> Option<Bearer> {
        let now = self.clock.now();
        self.current.lock().clone().filter(|bearer| now < bearer.ends_at)
    }

    async fn fetch(&self, last: &mut Option<Failure>) -> Result<Bearer, Fault> {
        let now = self.clock.now();
        // A clock that was set back must not prolong the pause: only between `at` and `until` is it kept.
        if let Some(failure) = last
            && (failure.at..failure.until).contains(&now)
        {
            return Err(failure.fault.clone());
        }
        let result = self.exchange(now).await;
        match &result {
            Ok(bearer) => {
                *self.current.lock() = Some(bearer.clone());
                *last = None;
            }
            Err(fault) => {
                let at = self.clock.now();
                let until = at + fault.retry_after.unwrap_or(PAUSE).max(PAUSE);
                *last = Some(Failure { fault: fault.clone(), at, until });
            }
        }
        result
    }

    async fn exchange(&self, now: Timestamp) -> Result<Bearer, Fault> {
        let assertion = self
            .assertion(now)
            .ok_or_else(|| Fault::new(Kind::Bug, "the assertion cannot be signed").of_lane())?;
        let body =
            format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let mut request = Request::post(self.account.token_uri.clone(), body, self.timeout);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let response = self.transport.send(request).await.map_err(unanswered)?;
        granted(&response, &assertion, now)
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

/// The part of the assertion that is signed (RFC 7515 §5.1), with the claims of RFC 7523 §3 in Google's order.
fn signing_input(account: &ServiceAccount, now: Timestamp) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let kid = account.key_id.as_deref().map_or(String::new(), |kid| format!(r#","kid":{}"#, quoted(kid)));
    let header = format!(r#"{{"alg":"RS256","typ":"JWT"{kid}}}"#);
    let claims = format!(
        r#"{{"iss":{},"scope":"{SCOPE}","aud":{},"iat":{},"exp":{}}}"#,
        quoted(&account.email),
        quoted(&account.audience),
        now.as_secs(),
        (now + ASSERTION).as_secs()
    );
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// No bearer and no answer. Whatever became of the exchange, no message was sent, so nothing is ambiguous.
fn unanswered(error: TransportError) -> Fault {
    let kind = match &error {
        TransportError::Unreachable { .. } => Kind::Unreachable,
        // `token_uri` leads where our own rules forbid to go.
        TransportError::Refused { .. } => Kind::Credentials,
        TransportError::Timeout { .. }
        | TransportError::Broken { .. }
        | TransportError::GoneAway { .. }
        | TransportError::AnswerTooLong { .. } => Kind::VendorDown,
    };
    Fault::new(kind, format!("no bearer: {error}")).of_lane()
}

/// Reads the token endpoint's answer (RFC 6749 §5). `asked_at` is when the assertion was made: what the grant lasts is
/// counted from there, so that it is never believed too long.
fn granted(response: &Response, assertion: &str, asked_at: Timestamp) -> Result<Bearer, Fault> {
    let grant: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if !response.status.is_success() {
        return Err(denied(response, &grant, assertion, asked_at));
    }
    let header = grant["access_token"]
        .as_str()
        .and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    let Some(mut header) = header else {
        let detail = "the token endpoint answers without a bearer; does token_uri lead to Google?";
        return Err(Fault::new(Kind::VendorDown, detail).of_lane());
    };
    header.set_sensitive(true);
    let seconds = match &grant["expires_in"] {
        Value::String(text) => text.parse().unwrap_or(USUAL_LIFE),
        number => number.as_u64().unwrap_or(USUAL_LIFE),
    };
    let life = Duration::from_secs(seconds.min(24 * 3600));
    let ends_at = asked_at + life;
    Ok(Bearer { header, refresh_at: ends_at - AHEAD.min(life / 2), ends_at })
}

fn denied(response: &Response, grant: &Value, assertion: &str, now: Timestamp) -> Fault {
    let status = response.status;
    let said = safe(grant["error_description"].as_str().unwrap_or("no description"), &[assertion]);
    let error = match &grant["error"] {
        Value::String(error) => safe(error, &[assertion]),
        _ => String::new(),
    };
    let plain = |kind| Fault::new(kind, format!("the token endpoint answers {status}: {said}"));
    let fault = match (status.as_u16(), error.as_str()) {
        (429, _) => plain(Kind::Throttled),
        (300..400 | 408 | 500.., _) => plain(Kind::VendorDown),
        (_, "server_error" | "temporarily_unavailable" | "internal_failure") => plain(Kind::VendorDown),
        (_, "invalid_grant" | "invalid_client" | "invalid_scope") => {
            let advice = advice(&said, response, now);
            Fault::new(
                Kind::Credentials,
                format!("the token endpoint refuses the service account: {said}; {advice}"),
            )
        }
        _ => plain(Kind::Credentials),
    };
    let fault = if error.is_empty() { fault } else { fault.with_code(error) };
    fault.retry_after(retry_after(&response.headers, now)).of_lane()
}

/// What an operator should look at first. Google's texts tell a wrong clock from a revoked key, and its date measures the clock.
fn advice(said: &str, response: &Response, now: Timestamp) -> String {
    let google = date(&response.headers, &DATE);
    let wrong = google.map(|google| google.since(now).max(now.since(google))).filter(|wrong| *wrong > SKEW);
    if let (Some(google), Some(wrong)) = (google, wrong) {
        let side = if google > now { "behind" } else { "ahead of" };
        return format!("this machine's clock is {} s {side} Google's: set it right", wrong.as_secs());
    }
    let advice = if said.contains("iat") || said.contains("reasonable timeframe") {
        "is this machine's clock right?"
    } else if said.contains("Signature") {
        "the key was revoked or belongs to another account: make a new one in the Firebase console"
    } else if said.contains("account not found") {
        "the service account was deleted: make a new one in the Firebase console"
    } else {
        "was the key revoked, or is this machine's clock wrong?"
    };
    advice.to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
