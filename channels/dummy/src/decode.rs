//! Classifies the vendor's answers: the only module that knows its errors. Pure. A real channel names the page of its
//! vendor's error table here.

use http::StatusCode;
use pushgate::vendor_response::{retry_after, safe_quote};
use pushgate::{Fault, Kind, Outcome, Response, Timestamp};
use serde_json::Value;

/// Table of the vendor's error codes. `TokenGone` requires proof from the vendor, because the address is pruned.
const ERRORS: [(&str, Kind); 18] = [
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
    ("channel_down", Kind::ChannelDown),
    ("timeout", Kind::Timeout),
    ("unreachable", Kind::Unreachable),
    ("expired", Kind::Expired),
    ("revoked", Kind::Revoked),
    ("unsupported", Kind::Unsupported),
    ("internal", Kind::Bug),
    ("quarantined", Kind::Quarantined),
];

/// Returns one outcome for each of the `expected` tokens, in the order of the request. No outcome quotes a text of `private`
/// (tokens, message texts, the key), even if the vendor repeats it.
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
            results.iter().map(|result| parse_result(result, private)).collect()
        }
        // The results cannot be matched to the tokens. The worker retries under the same id.
        Some(_) | None => {
            let fault = Fault::new(
                Kind::VendorDown,
                "the vendor answers with a success that lacks a result for each token",
            );
            vec![Outcome::Failed(fault); expected]
        }
    }
}

/// Returns the outcome for one token.
fn parse_result(result: &Value, private: &[&str]) -> Outcome {
    if let Some(id) = result["id"].as_str().filter(|_| result["error"].is_null()) {
        return Outcome::Accepted { vendor_id: Some(safe_quote(id, private)) };
    }
    let text = safe_quote(result["message"].as_str().unwrap_or_default(), private);
    let row = ERRORS.iter().find(|(code, _)| result["error"] == *code);
    Outcome::Failed(match row {
        Some((code, kind)) => Fault::new(*kind, text).with_code(*code),
        None => Fault::new(Kind::VendorDown, format!("the vendor answers with an unknown error: {text}")),
    })
}

/// Returns the fault of a refused request.
pub(crate) fn refused(response: &Response, private: &[&str], now: Timestamp) -> Fault {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let text = safe_quote(body["message"].as_str().unwrap_or_default(), private);
    let fault = |kind| Fault::new(kind, format!("the vendor answers {}: {text}", response.status));
    let fault = match response.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => fault(Kind::Credentials).of_lane(),
        StatusCode::PAYLOAD_TOO_LARGE => fault(Kind::TooLarge),
        StatusCode::TOO_MANY_REQUESTS => fault(Kind::Throttled).of_lane(),
        status if status.is_client_error() => fault(Kind::BadMessage),
        _ => fault(Kind::VendorDown),
    };
    fault.retry_after(retry_after(&response.headers, now))
}
