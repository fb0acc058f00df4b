//! Conversion of the endpoint's responses to outcomes. The only place that knows the status codes.

use pushgate_plugin_sdk::{Fault, Kind, Outcome, Response};

/// Returns the outcome of one address.
#[must_use]
pub fn outcome(response: &Response) -> Outcome {
    let kind = match response.status {
        200..=299 => return Outcome::Accepted { vendor_id: None },
        // Standard Webhooks: with 410 an endpoint asks for no further messages.
        410 => Kind::TokenGone,
        401 | 403 => return Fault::new(Kind::Credentials, detail(response)).of_lane().into(),
        404 => return Fault::new(Kind::WrongApp, detail(response)).into(),
        413 => Kind::TooLarge,
        429 => {
            let fault = Fault::new(Kind::Throttled, detail(response)).retry_after(response.retry_after());
            return fault.of_lane().into();
        }
        300..=499 => Kind::BadMessage,
        _ => Kind::VendorDown,
    };
    Fault::new(kind, detail(response)).retry_after(response.retry_after()).into()
}

/// Returns a detail that is safe to log. It leaves out the body, which may repeat the message.
fn detail(response: &Response) -> String {
    format!("the endpoint responded with status {}", response.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_kind() {
        let kind = |status| {
            let response = Response { status, headers: Vec::new(), body: Vec::new() };
            match outcome(&response) {
                Outcome::Failed(fault) => Some(fault.kind()),
                _ => None,
            }
        };
        let rows = [
            (200, None),
            (204, None),
            (301, Some(Kind::BadMessage)),
            (400, Some(Kind::BadMessage)),
            (401, Some(Kind::Credentials)),
            (404, Some(Kind::WrongApp)),
            (410, Some(Kind::TokenGone)),
            (413, Some(Kind::TooLarge)),
            (429, Some(Kind::Throttled)),
            (500, Some(Kind::VendorDown)),
            (503, Some(Kind::VendorDown)),
        ];
        for (status, expected) in rows {
            assert_eq!(kind(status), expected, "{status}");
        }
    }
}
