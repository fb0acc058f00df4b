//! Classifies the answers of APNs: the only module that knows Apple's reasons. Pure. A token is dead only if Apple says so.
//!
//! Source: <https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns>.

use http::StatusCode;
use pushgate::vendor_response::retry_after;
use pushgate::{Fault, Kind, Outcome, Response, Scope, Timestamp, TransportError};
use serde_json::Value;

/// Maximum length of a message id that is kept. Apple's are UUIDs.
const MAX_VENDOR_ID_BYTES: usize = 64;

/// Properties of the request that affect how its answer is classified.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    /// `true` if overrides chose the topic. A refusal of the topic then concerns this message only.
    pub(crate) chooses_topic: bool,
    /// Texts of the message, which no fault may quote.
    pub(crate) private: [&'a str; 3],
}

/// Returns the outcome for the device of the request.
pub(crate) fn outcome(response: &Response, context: &RequestContext<'_>, now: Timestamp) -> Outcome {
    if response.status.is_success() {
        return accepted(response);
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let reason = parse_reason(&body, context);
    let fault = match reason.and_then(|reason| reason_info(reason, context)) {
        Some(info) => {
            Fault { scope: info.scope, ..Fault::new(info.kind, format!("apns says: {}", info.detail)) }
        }
        None => by_status(response.status),
    };
    let fault = Fault { vendor_code: reason.map(str::to_owned), ..fault };
    // Milliseconds, and only with 410. A timestamp in the future would prune a token that is registered until then.
    let since = body["timestamp"].as_i64().filter(|millis| *millis > 0).map(Timestamp::from_millis);
    Outcome::Failed(match since.filter(|_| fault.kind == Kind::TokenGone) {
        Some(since) => fault.since(since.min(now)),
        None => fault.retry_after(retry_after(&response.headers, now)),
    })
}

/// Returns the fault of a request without an answer. A connection closed before the request was read allows conclusions about
/// the credentials and the service only, never about a device.
pub(crate) fn transport_fault(error: TransportError, context: &RequestContext<'_>) -> Fault {
    let TransportError::GoneAway { host, reason: text } = &error else { return error.into() };
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let reason = parse_reason(&body, context);
    let fault = match reason.and_then(|reason| reason_info(reason, context)) {
        Some(info) if info.scope == Scope::Lane => {
            Fault::new(info.kind, format!("apns closed the connection: {}", info.detail)).of_lane()
        }
        Some(_) | None => {
            Fault::new(Kind::VendorDown, format!("{host} closed the connection before it read the request"))
        }
    };
    Fault { vendor_code: reason.map(str::to_owned), ..fault }
}

/// Returns `true` if a refusal proves that Apple accepted the credentials and looked up the device.
pub(crate) fn accepted_credentials(fault: &Fault) -> bool {
    matches!(
        fault.vendor_code.as_deref(),
        Some("BadDeviceToken" | "DeviceTokenNotForTopic" | "Unregistered" | "ExpiredToken")
    )
}

/// Returns the outcome of an answer with a success status. APNs answers 200 with an id and no body; any other answer comes
/// from a proxy and proves nothing.
fn accepted(response: &Response) -> Outcome {
    let id = |name: &str| {
        let id = response.headers.get(name)?.to_str().ok()?;
        let is_id = (1..=MAX_VENDOR_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        is_id.then(|| id.to_owned())
    };
    let apns_id = id("apns-id");
    if response.status == StatusCode::OK && (apns_id.is_some() || response.body.is_empty()) {
        // The sandbox adds an id of its own, under which Apple's console shows the delivery.
        return Outcome::Accepted {
            vendor_id: id("apns-unique-id").or(apns_id).or_else(|| id("apns-request-id")),
        };
    }
    let detail = format!("{} in a form that APNs does not use; check base_url", response.status);
    Outcome::Failed(Fault::new(Kind::VendorDown, detail))
}

/// Returns the reason if it has the form of Apple's. Returns `None` for any other text, which might be private.
fn parse_reason<'a>(body: &'a Value, context: &RequestContext<'_>) -> Option<&'a str> {
    let is_reason = |text: &&str| {
        (4..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_alphabetic())
    };
    let reason = body["reason"].as_str().filter(is_reason)?;
    let is_known = reason_info(reason, context).is_some();
    (is_known || !context.private.iter().any(|text| text.contains(reason))).then_some(reason)
}

/// Meaning of one of Apple's reasons.
struct ReasonInfo {
    kind: Kind,
    scope: Scope,
    /// Description, with the action to take.
    detail: &'static str,
}

/// Looks up a reason in the table of all reasons. Returns `None` for an unknown one.
#[rustfmt::skip]
fn reason_info(reason: &str, context: &RequestContext<'_>) -> Option<ReasonInfo> {
    use Kind::{AuthExpired, BadMessage, Credentials, Throttled, TokenGone, TooLarge, Unsupported, VendorDown, WrongApp};
    use Scope::{Address, Lane};
    let (kind, scope, detail) = match reason {
        // Apple gives this reason for a token of the other environment, too. Only a 410 proves that a token is dead.
        "BadDeviceToken"              => (WrongApp, Address, "not a token of this environment; compare `environment` with the build it comes from"),
        "DeviceTokenNotForTopic"      => (WrongApp, Address, "a token of another app or of another kind of push; compare `topic` with the app's bundle id"),
        "Unregistered"                => (TokenGone, Address, "the app is no longer on the device"),
        "ExpiredToken"                => (TokenGone, Address, "the token has expired"),
        // Apple gives this reason for a broadcast channel of the other environment, too, so it proves no end either.
        "ChannelNotRegistered"        => (WrongApp, Address, "the broadcast channel does not exist; it was deleted, or belongs to the other environment or another app"),
        "TopicMismatch"               => (WrongApp, Address, "a broadcast channel of another app; compare `topic` with the app's bundle id"),
        // Pushes to devices still work.
        "FeatureNotEnabled"           => (Unsupported, Address, "broadcasts are not enabled for the app; enable them under Identifiers in Apple's developer account"),
        "CannotCreateChannelConfig"   => (Unsupported, Address, "the app has reached its limit of broadcast channels"),

        "BadTopic" | "TopicDisallowed" if context.chooses_topic
                                      => (BadMessage, Address, "the credentials are not for the topic that the overrides choose"),
        "BadTopic" | "TopicDisallowed"
                                      => (Credentials, Lane, "the credentials are not for this topic; compare `topic` with the app's bundle id and with what the key or certificate was made for"),
        "MissingTopic"                => (BadMessage, Address, "the topic is missing, and the certificate has several"),
        "InvalidPushType"             => (BadMessage, Address, "the push type is missing or not valid"),
        "BadCollapseId"               => (BadMessage, Address, "the collapse id is too long"),
        "BadExpirationDate"           => (BadMessage, Address, "the expiration date is not valid"),
        "BadMessageId"                => (BadMessage, Address, "the id is not valid"),
        "BadPriority"                 => (BadMessage, Address, "the push type does not allow this priority"),
        "DuplicateHeaders"            => (BadMessage, Address, "a header occurs twice"),
        "MissingDeviceToken"          => (BadMessage, Address, "the path names no device"),
        "BadPath"                     => (BadMessage, Address, "the path does not exist; check that base_url ends with the host"),
        "MethodNotAllowed"            => (BadMessage, Address, "the method is not POST"),
        "BadChannelId"                => (BadMessage, Address, "not the id of a broadcast channel"),
        "MissingChannelId"            => (BadMessage, Address, "the broadcast channel is missing"),
        "MissingPushType"             => (BadMessage, Address, "the push type is missing or not valid"),
        "BadRequestParams"            => (BadMessage, Address, "a header is not valid"),
        "BadRequestPayload"           => (BadMessage, Address, "the payload is not valid"),
        "PayloadEmpty"                => (BadMessage, Address, "the payload is empty"),
        "PayloadTooLarge"             => (TooLarge, Address, "over 4,096 bytes, or 5,120 for VoIP"),

        "ExpiredProviderToken"        => (AuthExpired, Lane, "the provider token is too old"),
        "InvalidProviderToken"        => (Credentials, Lane, "key, key_id and team_id do not belong together, or the key was revoked"),
        "MissingProviderToken"        => (Credentials, Lane, "neither a provider token nor a certificate reached Apple"),
        "BadEnvironmentKeyIdInToken"
        | "BadEnvironmentKeyInToken"  => (Credentials, Lane, "the key was made for the other environment; make one for both, or change `environment`"),
        "UnrelatedKeyIdInToken"       => (Credentials, Lane, "the connection was opened with another key of the team"),
        "BadCertificate"              => (Credentials, Lane, "the certificate is not valid; check whether it has expired or been revoked"),
        "BadCertificateEnvironment"   => (Credentials, Lane, "the certificate is for the other environment; change `environment`, or make a new one"),
        "Forbidden"                   => (Credentials, Lane, "the credentials do not permit this request"),

        // Limit of one device, which must not delay the others.
        "TooManyRequests"             => (Throttled, Address, "too many notifications for one device"),
        "TooManyProviderTokenUpdates" => (Throttled, Lane, "provider tokens of this key change more often than every 20 minutes; check whether several gateways use it"),

        "IdleTimeout"                 => (VendorDown, Address, "the connection was idle"),
        "InternalServerError"         => (VendorDown, Address, "internal error"),
        "ServiceUnavailable"          => (VendorDown, Address, "unavailable"),
        "Shutdown"                    => (VendorDown, Address, "the server is shutting down"),
        _ => return None,
    };
    Some(ReasonInfo { kind, scope, detail })
}

/// Classifies an answer without a known reason by its status.
fn by_status(status: StatusCode) -> Fault {
    let fault = |kind| Fault::new(kind, format!("apns answers {status}"));
    match status.as_u16() {
        403 => fault(Kind::Credentials).of_lane(),
        408 => fault(Kind::Timeout),
        // Without Apple's reason, a 410 does not prove that the token is dead.
        410 => fault(Kind::VendorDown),
        413 => fault(Kind::TooLarge),
        429 => fault(Kind::Throttled).of_lane(),
        400..=499 => fault(Kind::BadMessage),
        _ => fault(Kind::VendorDown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgate_kit::transport::{answer, answer_with};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
    const CONTEXT: RequestContext<'_> =
        RequestContext { chooses_topic: false, private: ["Annabelle", "hello", "{}"] };

    fn fault_of(response: &Response) -> Fault {
        outcome(response, &CONTEXT, NOW).fault().expect("not accepted").clone()
    }

    fn refusal(status: u16, reason: &str) -> Response {
        answer(status, serde_json::json!({ "reason": reason }).to_string())
    }

    #[test]
    fn a_dead_token_has_apples_timestamp_but_never_one_in_the_future() {
        let since = |timestamp: &str| {
            let body = format!(r#"{{"reason":"Unregistered","timestamp":{timestamp}}}"#);
            let fault = fault_of(&answer(410, body));
            assert_eq!(fault.kind, Kind::TokenGone);
            fault.since
        };
        assert_eq!(since("1699999000000"), Some(Timestamp::from_millis(1_699_999_000_000)));
        assert_eq!(since("9999999999999"), Some(NOW));
        for nonsense in ["-1", "0", "\"soon\"", "null", "1e99", "{}"] {
            assert_eq!(since(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn only_a_410_with_apples_reason_proves_a_token_dead() {
        for body in ["", "<html>gone", "{}", r#"{"reason":7}"#] {
            assert_eq!(fault_of(&answer(410, body)).kind, Kind::VendorDown, "{body}");
        }
        for reason in ["BadDeviceToken", "DeviceTokenNotForTopic", "MissingDeviceToken"] {
            assert_ne!(fault_of(&refusal(400, reason)).kind, Kind::TokenGone);
        }
        assert_eq!(fault_of(&refusal(410, "ChannelNotRegistered")).kind, Kind::WrongApp);
    }

    #[test]
    fn a_refused_topic_from_overrides_fails_that_message_only() {
        for reason in ["BadTopic", "TopicDisallowed"] {
            let fault = fault_of(&refusal(400, reason));
            assert_eq!((fault.kind, fault.scope), (Kind::Credentials, Scope::Lane));
            let with_chosen_topic = RequestContext { chooses_topic: true, ..CONTEXT };
            let outcome = outcome(&refusal(400, reason), &with_chosen_topic, NOW);
            let fault = outcome.fault().unwrap();
            assert_eq!((fault.kind, fault.scope), (Kind::BadMessage, Scope::Address));
        }
    }

    #[test]
    fn a_closed_connection_is_never_a_fault_of_the_device() {
        let fault = |reason: &str| {
            let (host, reason) = ("api.push.apple.com".to_owned(), reason.to_owned());
            let fault = transport_fault(TransportError::GoneAway { host, reason }, &CONTEXT);
            (fault.kind, fault.scope, fault.vendor_code)
        };
        let known = |kind, scope, code: &str| (kind, scope, Some(code.to_owned()));
        let rows = [
            ("BadCertificate", Kind::Credentials, Scope::Lane),
            ("ExpiredProviderToken", Kind::AuthExpired, Scope::Lane),
            ("TooManyProviderTokenUpdates", Kind::Throttled, Scope::Lane),
            ("Shutdown", Kind::VendorDown, Scope::Address),
            ("IdleTimeout", Kind::VendorDown, Scope::Address),
            ("BadDeviceToken", Kind::VendorDown, Scope::Address),
            ("Unregistered", Kind::VendorDown, Scope::Address),
        ];
        for (reason, kind, scope) in rows {
            assert_eq!(fault(&format!(r#"{{"reason":"{reason}"}}"#)), known(kind, scope, reason));
        }
        for unknown in ["", "NO_ERROR", r#"{"reason":"Shutd"#, "[]", r#"{"reason":"Annabelle"}"#] {
            assert_eq!(fault(unknown), (Kind::VendorDown, Scope::Address, None), "{unknown}");
        }
    }

    #[test]
    fn a_limit_of_one_device_does_not_pause_the_lane() {
        assert_eq!(fault_of(&refusal(429, "TooManyRequests")).scope, Scope::Address);
        assert_eq!(fault_of(&refusal(429, "TooManyProviderTokenUpdates")).scope, Scope::Lane);
    }

    #[test]
    fn an_unknown_reason_is_kept_and_classified_by_its_status() {
        let rows = [
            (400, Kind::BadMessage),
            (403, Kind::Credentials),
            (429, Kind::Throttled),
            (503, Kind::VendorDown),
        ];
        for (status, kind) in rows {
            let fault = fault_of(&refusal(status, "ReasonOfTomorrow"));
            assert_eq!((fault.kind, fault.vendor_code.as_deref()), (kind, Some("ReasonOfTomorrow")));
        }
    }

    #[test]
    fn no_fault_contains_a_token_or_a_message_text() {
        for private in [TOKEN, "Annabelle", "hello", "a sentence", "Ann\u{0}abelle", "«", ""] {
            let fault = fault_of(&refusal(400, private));
            assert_eq!((fault.detail.as_str(), fault.vendor_code), ("apns answers 400 Bad Request", None));
        }
    }

    #[test]
    fn hostile_answers_are_classified_by_their_status() {
        let deep = "[".repeat(60_000);
        let bodies: [&[u8]; 9] = [
            b"",
            b"<html>",
            b"{\"reason\":",
            b"[]",
            b"null",
            b"7",
            b"{\"reason\":[]}",
            b"\xff\xfe\x00",
            deep.as_bytes(),
        ];
        for body in bodies {
            for (status, kind) in [
                (301, Kind::VendorDown),
                (400, Kind::BadMessage),
                (403, Kind::Credentials),
                (408, Kind::Timeout),
                (410, Kind::VendorDown),
                (413, Kind::TooLarge),
                (429, Kind::Throttled),
                (502, Kind::VendorDown),
            ] {
                let fault = fault_of(&answer(status, body.to_vec()));
                assert_eq!((fault.kind, fault.vendor_code), (kind, None));
            }
        }
    }

    #[test]
    fn only_a_success_in_apples_form_counts_as_accepted() {
        let code = |response: &Response| outcome(response, &CONTEXT, NOW).code();
        assert_eq!(code(&answer(200, "")), "accepted");
        for response in [answer(200, "<html>welcome to our hotel"), answer(204, ""), answer(201, "{}")] {
            assert_eq!(code(&response), "vendor_down");
        }
        let long = "x".repeat(65);
        let unreadable = answer_with(200, &[("apns-id", long.as_str())], "");
        assert_eq!(outcome(&unreadable, &CONTEXT, NOW), Outcome::Accepted { vendor_id: None });
    }

    proptest! {
        #[test]
        fn no_answer_causes_a_panic_or_reveals_the_token(
            status in 100u16..1000, head in "[A-Z]{0,2}", tail in ".{0,9}", body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = outcome(&answer(status, body), &CONTEXT, NOW);
            if let Outcome::Failed(fault) = outcome(&refusal(status, &format!("{head}{TOKEN}{tail}")), &CONTEXT, NOW) {
                prop_assert!(!fault.to_string().contains(TOKEN));
            }
        }
    }
}
