//! Conversion of results of `a2` to outcomes. Treats a token as dead only if APNs says so. Source:
//! <https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns>.

use a2::{Error, ErrorBody, ErrorReason, Response};
use pushgate_plugin_sdk::{Fault, Kind, Outcome};

/// Returns the outcome of one device.
pub(crate) fn outcome(result: Result<Response, Error>) -> Outcome {
    match result {
        Ok(response) => Outcome::Accepted { vendor_id: response.apns_id },
        Err(error) => fault(&error).into(),
    }
}

/// Returns `true` if the result proves that APNs has accepted the credentials and checked the device.
pub(crate) fn proves_credentials(result: &Result<Response, Error>) -> bool {
    use ErrorReason::{BadDeviceToken, DeviceTokenNotForTopic, Unregistered};
    match result {
        Ok(_) => true,
        Err(Error::ResponseError(Response { error: Some(body), .. })) => {
            matches!(body.reason, BadDeviceToken | DeviceTokenNotForTopic | Unregistered)
        }
        Err(_) => false,
    }
}

/// Returns the fault of an error.
pub(crate) fn fault(error: &Error) -> Fault {
    match error {
        Error::ResponseError(Response { error: Some(body), code, .. }) => fault_by_reason(body, *code),
        Error::ResponseError(Response { code, .. }) => fault_by_status(*code),
        Error::RequestTimeout(seconds) => {
            Fault::new(Kind::Timeout, format!("apns did not respond within {seconds} s"))
        }
        Error::ClientError(error) if error.is_connect() => {
            Fault::new(Kind::Unreachable, format!("no connection to apns: {}", error_chain(error)))
        }
        Error::ClientError(error) => {
            Fault::new(Kind::VendorDown, format!("the connection to apns broke: {}", error_chain(error)))
        }
        Error::ConnectionError(error) => {
            Fault::new(Kind::VendorDown, format!("the connection to apns broke: {}", error_chain(error)))
        }
        Error::SerializeError(_) | Error::InvalidOptions(_) | Error::BuildRequestError(_) => {
            Fault::new(Kind::BadMessage, "a2 can make no request of this message")
        }
        // The remaining errors concern the key or the certificate, so they affect all devices.
        _ => Fault::new(Kind::Credentials, "a2 cannot sign with this key").of_lane(),
    }
}

/// Returns the fault of one of APNs' documented reasons.
fn fault_by_reason(body: &ErrorBody, code: u16) -> Fault {
    use ErrorReason as R;
    let with_kind = |kind| {
        Fault::new(kind, format!("apns says: {:?} ({code})", body.reason))
            .with_code(format!("{:?}", body.reason))
    };
    match body.reason {
        // The only proof of a dead token, and only together with this status.
        R::Unregistered if code == 410 => {
            let fault = with_kind(Kind::TokenGone);
            match body.timestamp.and_then(|at| i64::try_from(at).ok()) {
                Some(since) => fault.since_ms(since),
                None => fault,
            }
        }
        // APNs gives the same response for tokens of the other environment, so this does not prove a dead token.
        R::Unregistered | R::BadDeviceToken | R::DeviceTokenNotForTopic | R::MissingDeviceToken => {
            with_kind(Kind::WrongApp)
        }
        R::PayloadTooLarge => with_kind(Kind::TooLarge),
        // The limit concerns one device, so the others need not wait.
        R::TooManyRequests => with_kind(Kind::Throttled),
        R::TooManyProviderTokenUpdates => with_kind(Kind::Throttled).of_lane(),
        // `a2` renews its token only by its own schedule. An immediate retry would send the same token.
        R::ExpiredProviderToken
        | R::InvalidProviderToken
        | R::MissingProviderToken
        | R::BadCertificate
        | R::BadCertificateEnvironment
        | R::Forbidden
        | R::BadTopic
        | R::MissingTopic
        | R::TopicDisallowed => with_kind(Kind::Credentials).of_lane(),
        R::BadCollapseId
        | R::BadExpirationDate
        | R::BadMessageId
        | R::BadPriority
        | R::DuplicateHeaders
        | R::PayloadEmpty
        | R::BadPath
        | R::MethodNotAllowed => with_kind(Kind::BadMessage),
        R::IdleTimeout | R::InternalServerError | R::ServiceUnavailable | R::Shutdown => {
            with_kind(Kind::VendorDown)
        }
    }
}

/// Returns the fault of a status without a reason. `a2` drops reasons that it does not know.
fn fault_by_status(code: u16) -> Fault {
    let with_kind = |kind| {
        Fault::new(kind, format!("apns responded with status {code} and a reason that a2 does not know"))
    };
    match code {
        403 => with_kind(Kind::Credentials).of_lane(),
        408 => with_kind(Kind::Timeout),
        // Usually `ExpiredToken`. But only the reason proves a dead token, and `a2` has dropped it.
        410 => with_kind(Kind::WrongApp),
        413 => with_kind(Kind::TooLarge),
        429 => with_kind(Kind::Throttled).of_lane(),
        400..=499 => with_kind(Kind::BadMessage),
        _ => with_kind(Kind::VendorDown),
    }
}

/// Returns the texts of an error and its sources. The outermost error alone only says `Connect`.
fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, body: &str) -> Fault {
        let error = serde_json::from_str(body).ok();
        fault(&Error::ResponseError(Response { error, apns_id: None, code }))
    }

    #[test]
    fn every_reason_has_its_kind() {
        let rows = [
            (400, "BadDeviceToken", Kind::WrongApp),
            (400, "DeviceTokenNotForTopic", Kind::WrongApp),
            (400, "TopicDisallowed", Kind::Credentials),
            (403, "ExpiredProviderToken", Kind::Credentials),
            (403, "InvalidProviderToken", Kind::Credentials),
            (413, "PayloadTooLarge", Kind::TooLarge),
            (429, "TooManyRequests", Kind::Throttled),
            (429, "TooManyProviderTokenUpdates", Kind::Throttled),
            (400, "BadCollapseId", Kind::BadMessage),
            (500, "InternalServerError", Kind::VendorDown),
            (503, "Shutdown", Kind::VendorDown),
        ];
        for (code, reason, kind) in rows {
            assert_eq!(refused(code, &format!("{{\"reason\":\"{reason}\"}}")).kind(), kind, "{reason}");
        }
    }

    #[test]
    fn only_the_reason_unregistered_with_status_410_proves_a_dead_token() {
        assert_eq!(
            refused(410, r#"{"reason":"Unregistered","timestamp":1700000000000}"#).kind(),
            Kind::TokenGone
        );
        for (code, body) in [
            (400, r#"{"reason":"Unregistered"}"#),
            (410, r#"{"reason":"ExpiredToken"}"#),
            (410, ""),
            (410, "<html>"),
            (404, ""),
        ] {
            assert_ne!(refused(code, body).kind(), Kind::TokenGone, "{code} {body}");
        }
    }

    #[test]
    fn without_a_known_reason_the_status_decides() {
        let rows = [
            (400, Kind::BadMessage),
            (403, Kind::Credentials),
            (413, Kind::TooLarge),
            (429, Kind::Throttled),
            (500, Kind::VendorDown),
            (503, Kind::VendorDown),
        ];
        for (code, kind) in rows {
            assert_eq!(refused(code, r#"{"reason":"NewOne"}"#).kind(), kind, "{code}");
        }
        assert_eq!(fault(&Error::RequestTimeout(9)).kind(), Kind::Timeout);
    }
}
