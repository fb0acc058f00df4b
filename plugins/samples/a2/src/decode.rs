//! From `a2`'s answer to an outcome. Pure; calls no token dead that Apple does not call dead. Source:
//! <https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns>.

use a2::{Error, ErrorBody, ErrorReason, Response};
use pushgate_plugin_sdk::{Fault, Kind, Outcome};

/// What became of one device.
pub(crate) fn outcome(answer: Result<Response, Error>) -> Outcome {
    match answer {
        Ok(response) => Outcome::Accepted { vendor_id: response.apns_id },
        Err(error) => fault(&error).into(),
    }
}

/// Whether a refusal proves that Apple knows us and looked at the device: what a probe asks.
pub(crate) fn knows_us(answer: &Result<Response, Error>) -> bool {
    use ErrorReason::{BadDeviceToken, DeviceTokenNotForTopic, Unregistered};
    match answer {
        Ok(_) => true,
        Err(Error::ResponseError(Response { error: Some(body), .. })) => {
            matches!(body.reason, BadDeviceToken | DeviceTokenNotForTopic | Unregistered)
        }
        Err(_) => false,
    }
}

/// The fault an error is.
pub(crate) fn fault(error: &Error) -> Fault {
    match error {
        Error::ResponseError(Response { error: Some(body), code, .. }) => by_reason(body, *code),
        Error::ResponseError(Response { code, .. }) => by_status(*code),
        Error::RequestTimeout(seconds) => {
            Fault::new(Kind::Timeout, format!("apns did not answer within {seconds} s"))
        }
        Error::ClientError(error) if error.is_connect() => {
            Fault::new(Kind::Unreachable, format!("no connection to apns: {}", chain(error)))
        }
        Error::ClientError(error) => {
            Fault::new(Kind::VendorDown, format!("the connection to apns broke: {}", chain(error)))
        }
        Error::ConnectionError(error) => {
            Fault::new(Kind::VendorDown, format!("the connection to apns broke: {}", chain(error)))
        }
        Error::SerializeError(_) | Error::InvalidOptions(_) | Error::BuildRequestError(_) => {
            Fault::new(Kind::BadMessage, "a2 can make no request of this message")
        }
        // What is left concerns key and certificate, and so everybody.
        _ => Fault::new(Kind::Credentials, "a2 cannot sign with this key").of_lane(),
    }
}

/// The table: what each of Apple's reasons means.
fn by_reason(body: &ErrorBody, code: u16) -> Fault {
    use ErrorReason as R;
    let of = |kind| {
        Fault::new(kind, format!("apns says: {:?} ({code})", body.reason))
            .with_code(format!("{:?}", body.reason))
    };
    match body.reason {
        // Apple's word for a death, and only with its status.
        R::Unregistered if code == 410 => {
            let fault = of(Kind::TokenGone);
            match body.timestamp.and_then(|at| i64::try_from(at).ok()) {
                Some(since) => fault.since_ms(since),
                None => fault,
            }
        }
        // The same answer for a token of the other environment and for one that never was: no proof of a death.
        R::Unregistered | R::BadDeviceToken | R::DeviceTokenNotForTopic | R::MissingDeviceToken => {
            of(Kind::WrongApp)
        }
        R::PayloadTooLarge => of(Kind::TooLarge),
        // One device gets too much; the others do not wait for it.
        R::TooManyRequests => of(Kind::Throttled),
        R::TooManyProviderTokenUpdates => of(Kind::Throttled).of_lane(),
        // a2 signs anew by its own clock alone, so that trying again at once would send the same token.
        R::ExpiredProviderToken
        | R::InvalidProviderToken
        | R::MissingProviderToken
        | R::BadCertificate
        | R::BadCertificateEnvironment
        | R::Forbidden
        | R::BadTopic
        | R::MissingTopic
        | R::TopicDisallowed => of(Kind::Credentials).of_lane(),
        R::BadCollapseId
        | R::BadExpirationDate
        | R::BadMessageId
        | R::BadPriority
        | R::DuplicateHeaders
        | R::PayloadEmpty
        | R::BadPath
        | R::MethodNotAllowed => of(Kind::BadMessage),
        R::IdleTimeout | R::InternalServerError | R::ServiceUnavailable | R::Shutdown => of(Kind::VendorDown),
    }
}

/// A reason a2 does not know is lost, and so the status has to do.
fn by_status(code: u16) -> Fault {
    let of = |kind| Fault::new(kind, format!("apns answers {code}, for a reason that a2 does not know"));
    match code {
        403 => of(Kind::Credentials).of_lane(),
        408 => of(Kind::Timeout),
        // `ExpiredToken`, as a rule. But only Apple's own word proves a death, and a2 has dropped it.
        410 => of(Kind::WrongApp),
        413 => of(Kind::TooLarge),
        429 => of(Kind::Throttled).of_lane(),
        400..=499 => of(Kind::BadMessage),
        _ => of(Kind::VendorDown),
    }
}

/// An error and what lies behind it: the outermost alone says `Connect` and no more.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
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
    fn nothing_but_apples_own_word_on_a_410_is_a_death() {
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
    fn without_a_reason_the_status_has_to_do() {
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
