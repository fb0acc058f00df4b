//! From the vendor's answer to outcomes: the one place that knows the vendor's errors. Pure; believes nothing it has not
//! parsed. A real channel names the page of the vendor's error table here.

use http::StatusCode;
use pushgate::answer::{retry_after, safe};
use pushgate::{Fault, Kind, Outcome, Response, Timestamp};
use serde_json::Value;

/// The vendor's codes. `TokenGone` stands only where the vendor proves the token dead: the address is forgotten.
const ERRORS: [(&str, Kind); 17] = [
    ("bad_message", Kind::BadMessage),
    ("too_large", Kind::TooLarge),
    ("token_gone", Kind::TokenGone),
    ("token_muted", Kind::TokenMuted),
    ("wrong_app", Kind::WrongApp),
    ("auth_expired", Kind::AuthExpired),
    ("credentials", Kind::Credentials),
    ("throttled", Kind::Throttled),
    ("quota", Kind::Quota),
    ("vendor_down", Kind::VendorDown),
    ("timeout", Kind::Timeout),
    ("unreachable", Kind::Unreachable),
    ("expired", Kind::Expired),
    ("revoked", Kind::Revoked),
    ("unsupported", Kind::Unsupported),
    ("internal", Kind::Bug),
    ("quarantined", Kind::Quarantined),
];

/// One outcome for each of the `expected` tokens, in the request's order. No word of `private` (tokens, texts of users, the
/// key) gets into one, even where the vendor repeats it.
pub(crate) fn outcomes(
    response: &Response,
    expected: usize,
    private: &[&str],
    now: Timestamp,
) -> Vec<Outcome> {
    if !response.status.is_success() {
        return vec![Outcome::Failed(refused(response, private, now)); expected];
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    match body["results"].as_array() {
        Some(results) if results.len() == expected => {
            results.iter().map(|result| of_token(result, private)).collect()
        }
        // Nobody can say whose these results are: it is tried again, under the same id.
        Some(_) | None => {
            let fault = Fault::new(Kind::VendorDown, "a success that does not name a result for each token");
            vec![Outcome::Failed(fault); expected]
        }
    }
}

/// What the vendor says of one token among others.
fn of_token(result: &Value, private: &[&str]) -> Outcome {
    if let Some(id) = result["id"].as_str().filter(|_| result["error"].is_null()) {
        return Outcome::Accepted { vendor_id: Some(safe(id, private)) };
    }
    let said = safe(result["said"].as_str().unwrap_or_default(), private);
    let row = ERRORS.iter().find(|(code, _)| result["error"] == *code);
    Outcome::Failed(match row {
        Some((code, kind)) => Fault::new(*kind, said).with_code(*code),
        None => Fault::new(Kind::VendorDown, format!("an answer of an unknown kind: {said}")),
    })
}

/// What the vendor says of the whole request.
pub(crate) fn refused(response: &Response, private: &[&str], now: Timestamp) -> Fault {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let said = safe(body["said"].as_str().unwrap_or_default(), private);
    let told = |kind| Fault::new(kind, format!("the vendor answers {}: {said}", response.status));
    let fault = match response.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => told(Kind::Credentials).of_lane(),
        StatusCode::PAYLOAD_TOO_LARGE => told(Kind::TooLarge),
        StatusCode::TOO_MANY_REQUESTS => told(Kind::Throttled).of_lane(),
        status if status.is_client_error() => told(Kind::BadMessage),
        _ => told(Kind::VendorDown),
    };
    fault.retry_after(retry_after(&response.headers, now))
}
