//! From the receiver's answer to an outcome. Pure, and the only place that knows what its statuses mean.

use pushgate_plugin_sdk::{Fault, Kind, Outcome, Response};

/// What became of one address.
#[must_use]
pub fn outcome(response: &Response) -> Outcome {
    let kind = match response.status {
        200..=299 => return Outcome::Accepted { vendor_id: None },
        // Standard Webhooks: 410 is how a receiver says that it wants no more.
        410 => Kind::TokenGone,
        401 | 403 => return Fault::new(Kind::Credentials, told(response)).of_lane().into(),
        404 => return Fault::new(Kind::WrongApp, told(response)).into(),
        413 => Kind::TooLarge,
        429 => {
            let fault = Fault::new(Kind::Throttled, told(response)).retry_after(response.retry_after());
            return fault.of_lane().into();
        }
        300..=499 => Kind::BadMessage,
        _ => Kind::VendorDown,
    };
    Fault::new(kind, told(response)).retry_after(response.retry_after()).into()
}

/// Words that are safe to log: the body may repeat what was sent, so it is left out.
fn told(response: &Response) -> String {
    format!("the receiver answered {}", response.status)
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
