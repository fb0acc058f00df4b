//! Conversion of Acme's responses to outcomes. The only place that knows Acme's errors.

use pushgate_plugin_sdk::{Fault, Kind, Outcome, Response};

/// Returns the outcome of one address.
pub fn outcome(response: &Response) -> Outcome {
    let kind = match response.status {
        200..=299 => return Outcome::Accepted { vendor_id: None },
        401 | 403 => {
            return Fault::new(Kind::Credentials, detail(response))
                .of_lane()
                .into();
        }
        // Only if the token is certainly dead, because the gateway removes the address.
        404 | 410 => Kind::TokenGone,
        429 => Kind::Throttled,
        400..=499 => Kind::BadMessage,
        _ => Kind::VendorDown,
    };
    Fault::new(kind, detail(response))
        .retry_after(response.retry_after())
        .into()
}

/// Returns a detail that is safe to log. It leaves out the body, which may repeat the message.
fn detail(response: &Response) -> String {
    format!("acme responded with status {}", response.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_token_and_a_failing_service_have_different_kinds() {
        let kind = |status| match outcome(&Response {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }) {
            Outcome::Failed(fault) => Some(fault.kind()),
            _ => None,
        };
        assert_eq!(kind(200), None);
        assert_eq!(kind(410), Some(Kind::TokenGone));
        assert_eq!(kind(503), Some(Kind::VendorDown));
    }
}
