//! From the vendor's answer to an outcome. Pure, and the only place that knows the vendor's errors.

use pushgate_plugin_sdk::{Fault, Kind, Outcome, Response};

/// What became of one address.
pub fn outcome(response: &Response) -> Outcome {
    let kind = match response.status {
        200..=299 => return Outcome::Accepted { vendor_id: None },
        401 | 403 => {
            return Fault::new(Kind::Credentials, told(response))
                .of_lane()
                .into();
        }
        // Be sure before you say so: the gateway forgets the address.
        404 | 410 => Kind::TokenGone,
        429 => Kind::Throttled,
        400..=499 => Kind::BadMessage,
        _ => Kind::VendorDown,
    };
    Fault::new(kind, told(response))
        .retry_after(response.retry_after())
        .into()
}

/// Words that are safe to log: no body, which may repeat what was sent.
fn told(response: &Response) -> String {
    format!("the vendor answered {}", response.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_token_is_told_apart_from_a_vendor_in_trouble() {
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
