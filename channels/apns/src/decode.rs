//! From Apple's answer to an outcome: the one place that knows APNs' reasons. Pure; believes nothing it has not parsed, and
//! calls no token dead that Apple does not call dead.
//! Source: <https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns>.

use http::StatusCode;
use pushgate::answer::retry_after;
use pushgate::{Fault, Kind, Outcome, Response, Scope, Timestamp, TransportError};
use serde_json::Value;

/// The longest id kept, in bytes; Apple's are UUIDs.
const LONGEST_ID: usize = 64;

/// What was asked, as far as it matters for the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The caller, by overrides, and not the operator chose the topic: a refusal is one of this message alone.
    pub(crate) chooses_topic: bool,
    /// The user's texts: no word of them is repeated, even where the answer does.
    pub(crate) private: [&'a str; 3],
}

/// The outcome for the one device the request named.
pub(crate) fn outcome(response: &Response, asked: &Asked<'_>, now: Timestamp) -> Outcome {
    if response.status.is_success() {
        return taken(response);
    }
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let reason = reason(&body, asked);
    let fault = match reason.and_then(|reason| row(reason, asked)) {
        Some((kind, scope, why)) => Fault { scope, ..Fault::new(kind, format!("apns says: {why}")) },
        None => by_status(response.status),
    };
    let fault = Fault { vendor_code: reason.map(str::to_owned), ..fault };
    // Milliseconds, and only with 410. A future death would cost a token that is registered meanwhile.
    let since = body["timestamp"].as_i64().filter(|millis| *millis > 0).map(Timestamp::from_millis);
    Outcome::Failed(match since.filter(|_| fault.kind == Kind::TokenGone) {
        Some(since) => fault.since(since.min(now)),
        None => fault.retry_after(retry_after(&response.headers, now)),
    })
}

/// The fault for a request without an answer. Whoever closes a connection without looking at the request says something of the
/// connection: of our credentials, or of its own state, and never of a device.
pub(crate) fn unanswered(error: TransportError, asked: &Asked<'_>) -> Fault {
    let TransportError::GoneAway { host, reason: said } = &error else { return error.into() };
    let said: Value = serde_json::from_str(said).unwrap_or_default();
    let reason = reason(&said, asked);
    let fault = match reason.and_then(|reason| row(reason, asked)) {
        Some((kind, Scope::Lane, why)) => Fault::new(kind, format!("apns went away: {why}")).of_lane(),
        _ => Fault::new(Kind::VendorDown, format!("{host} went away without looking at the request")),
    };
    Fault { vendor_code: reason.map(str::to_owned), ..fault }
}

/// Whether a refusal proves that Apple knows us and looked at the device: what a probe asks.
pub(crate) fn knows_us(fault: &Fault) -> bool {
    matches!(
        fault.vendor_code.as_deref(),
        Some("BadDeviceToken" | "DeviceTokenNotForTopic" | "Unregistered" | "ExpiredToken")
    )
}

/// Apple says yes with 200, the notification's id and no body. Another page under 200 is somebody else's, and says nothing.
fn taken(response: &Response) -> Outcome {
    let id = |name: &str| {
        let id = response.headers.get(name)?.to_str().ok()?;
        let is_id = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        is_id.then(|| id.to_owned())
    };
    let apns_id = id("apns-id");
    if response.status == StatusCode::OK && (apns_id.is_some() || response.body.is_empty()) {
        // The sandbox gives an id of its own, under which Apple's console shows what became of it.
        return Outcome::Accepted {
            vendor_id: id("apns-unique-id").or(apns_id).or_else(|| id("apns-request-id")),
        };
    }
    let detail = format!("{} that is not APNs'; does base_url lead to Apple?", response.status);
    Outcome::Failed(Fault::new(Kind::VendorDown, detail))
}

/// A reason as Apple writes them; anything else is not repeated, because it could be anything.
fn reason<'a>(body: &'a Value, asked: &Asked<'_>) -> Option<&'a str> {
    let is_reason = |text: &&str| {
        (4..=64).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_alphabetic())
    };
    let reason = body["reason"].as_str().filter(is_reason)?;
    let is_ours = row(reason, asked).is_some();
    (is_ours || !asked.private.iter().any(|text| text.contains(reason))).then_some(reason)
}

/// The table. One row for each of Apple's reasons: what it means, how far it reaches, what to do about it.
#[rustfmt::skip]
fn row(reason: &str, asked: &Asked<'_>) -> Option<(Kind, Scope, &'static str)> {
    use Kind::{AuthExpired, BadMessage, Credentials, Throttled, TokenGone, TooLarge, Unsupported, VendorDown, WrongApp};
    use Scope::{Address, Lane};
    let row = match reason {
        // The same answer for a token of the other environment and for one that never was. Neither proves a death: Apple
        // tells of that by 410.
        "BadDeviceToken"              => (WrongApp, Address, "not a token of this environment; compare `environment` with the build it comes from"),
        "DeviceTokenNotForTopic"      => (WrongApp, Address, "a token of another app or of another kind of push; compare `topic` with the app's bundle id"),
        "Unregistered"                => (TokenGone, Address, "the app is no longer on the device"),
        "ExpiredToken"                => (TokenGone, Address, "the token has expired"),
        // The same answer for a broadcast channel that was ended and for one of the other environment: no proof either.
        "ChannelNotRegistered"        => (WrongApp, Address, "no such broadcast channel; it was ended, or is one of the other environment or of another app"),
        "TopicMismatch"               => (WrongApp, Address, "a broadcast channel of another app; compare `topic` with the app's bundle id"),
        // Devices are still served.
        "FeatureNotEnabled"           => (Unsupported, Address, "broadcasts are not enabled for the app; enable them under Identifiers in Apple's developer account"),
        "CannotCreateChannelConfig"   => (Unsupported, Address, "the app has as many broadcast channels as it may have"),

        "BadTopic" | "TopicDisallowed" if asked.chooses_topic
                                      => (BadMessage, Address, "the credentials are not for the topic that the overrides choose"),
        "BadTopic" | "TopicDisallowed"
                                      => (Credentials, Lane, "the credentials are not for this topic; compare `topic` with the app's bundle id and with what the key or certificate was made for"),
        "MissingTopic"                => (BadMessage, Address, "no topic, and the certificate has several"),
        "InvalidPushType"             => (BadMessage, Address, "no push type"),
        "BadCollapseId"               => (BadMessage, Address, "the collapse id is too long"),
        "BadExpirationDate"           => (BadMessage, Address, "no expiration date"),
        "BadMessageId"                => (BadMessage, Address, "no id"),
        "BadPriority"                 => (BadMessage, Address, "a priority that the push type does not have"),
        "DuplicateHeaders"            => (BadMessage, Address, "a header stands twice"),
        "MissingDeviceToken"          => (BadMessage, Address, "the path names no device"),
        "BadPath"                     => (BadMessage, Address, "no such path; does base_url end with the host?"),
        "MethodNotAllowed"            => (BadMessage, Address, "the method is not POST"),
        "BadChannelId"                => (BadMessage, Address, "not the id of a broadcast channel"),
        "MissingChannelId"            => (BadMessage, Address, "no broadcast channel is named"),
        "MissingPushType"             => (BadMessage, Address, "no push type"),
        "BadRequestParams"            => (BadMessage, Address, "a header that it does not take"),
        "BadRequestPayload"           => (BadMessage, Address, "a payload that it does not take"),
        "PayloadEmpty"                => (BadMessage, Address, "no payload"),
        "PayloadTooLarge"             => (TooLarge, Address, "over 4,096 bytes, or 5,120 for VoIP"),

        "ExpiredProviderToken"        => (AuthExpired, Lane, "the provider token is too old"),
        "InvalidProviderToken"        => (Credentials, Lane, "key, key_id and team_id do not belong together, or the key was revoked"),
        "MissingProviderToken"        => (Credentials, Lane, "neither a provider token nor a certificate reached Apple"),
        "BadEnvironmentKeyIdInToken"
        | "BadEnvironmentKeyInToken"  => (Credentials, Lane, "the key was made for the other environment; make one for both, or change `environment`"),
        "UnrelatedKeyIdInToken"       => (Credentials, Lane, "the connection began with another key of the team"),
        "BadCertificate"              => (Credentials, Lane, "the certificate is not good; has it expired or been revoked?"),
        "BadCertificateEnvironment"   => (Credentials, Lane, "the certificate is for the other environment; change `environment`, or make a new one"),
        "Forbidden"                   => (Credentials, Lane, "what is asked is not allowed with these credentials"),

        // One device gets too much; the others do not wait for it.
        "TooManyRequests"             => (Throttled, Address, "too many notifications for one device"),
        "TooManyProviderTokenUpdates" => (Throttled, Lane, "provider tokens of this key change more often than every 20 minutes; do several gateways use it?"),

        "IdleTimeout"                 => (VendorDown, Address, "the connection was idle"),
        "InternalServerError"         => (VendorDown, Address, "internal error"),
        "ServiceUnavailable"          => (VendorDown, Address, "unavailable"),
        "Shutdown"                    => (VendorDown, Address, "the server is shutting down"),
        _ => return None,
    };
    Some(row)
}

/// Without a reason that we know, the status has to do.
fn by_status(status: StatusCode) -> Fault {
    let plain = |kind| Fault::new(kind, format!("apns answers {status}"));
    match status.as_u16() {
        403 => plain(Kind::Credentials).of_lane(),
        408 => plain(Kind::Timeout),
        // Only Apple's own word proves a death.
        410 => plain(Kind::VendorDown),
        413 => plain(Kind::TooLarge),
        429 => plain(Kind::Throttled).of_lane(),
        400..=499 => plain(Kind::BadMessage),
        _ => plain(Kind::VendorDown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgate_kit::transport::{answer, answer_with};

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const TOKEN: &str = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0";
    const ASKED: Asked<'_> = Asked { chooses_topic: false, private: ["Annabelle", "hello", "{}"] };

    fn fault_of(response: &Response) -> Fault {
        outcome(response, &ASKED, NOW).fault().expect("not accepted").clone()
    }

    fn refusal(status: u16, reason: &str) -> Response {
        answer(status, serde_json::json!({ "reason": reason }).to_string())
    }

    #[test]
    fn a_death_is_dated_by_apple_and_never_in_the_future() {
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
    fn nothing_but_apples_own_word_on_a_410_is_a_death() {
        for body in ["", "<html>gone", "{}", r#"{"reason":7}"#] {
            assert_eq!(fault_of(&answer(410, body)).kind, Kind::VendorDown, "{body}");
        }
        for reason in ["BadDeviceToken", "DeviceTokenNotForTopic", "MissingDeviceToken"] {
            assert_ne!(fault_of(&refusal(400, reason)).kind, Kind::TokenGone);
        }
        assert_eq!(fault_of(&refusal(410, "ChannelNotRegistered")).kind, Kind::WrongApp);
    }

    #[test]
    fn a_topic_that_the_caller_chose_is_his_mistake_and_stops_nobody_else() {
        for reason in ["BadTopic", "TopicDisallowed"] {
            let fault = fault_of(&refusal(400, reason));
            assert_eq!((fault.kind, fault.scope), (Kind::Credentials, Scope::Lane));
            let chosen = Asked { chooses_topic: true, ..ASKED };
            let outcome = outcome(&refusal(400, reason), &chosen, NOW);
            let fault = outcome.fault().unwrap();
            assert_eq!((fault.kind, fault.scope), (Kind::BadMessage, Scope::Address));
        }
    }

    #[test]
    fn a_connection_that_apple_closes_tells_of_credentials_and_never_of_a_device() {
        let fault = |reason: &str| {
            let (host, reason) = ("api.push.apple.com".to_owned(), reason.to_owned());
            let fault = unanswered(TransportError::GoneAway { host, reason }, &ASKED);
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
        for unread in ["", "NO_ERROR", r#"{"reason":"Shutd"#, "[]", r#"{"reason":"Annabelle"}"#] {
            assert_eq!(fault(unread), (Kind::VendorDown, Scope::Address, None), "{unread}");
        }
    }

    #[test]
    fn one_device_that_gets_too_much_does_not_close_the_lane() {
        assert_eq!(fault_of(&refusal(429, "TooManyRequests")).scope, Scope::Address);
        assert_eq!(fault_of(&refusal(429, "TooManyProviderTokenUpdates")).scope, Scope::Lane);
    }

    #[test]
    fn a_reason_of_tomorrow_is_told_and_judged_by_its_status() {
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
    fn neither_token_nor_text_gets_into_a_fault() {
        for private in [TOKEN, "Annabelle", "hello", "a sentence", "Ann\u{0}abelle", "«", ""] {
            let fault = fault_of(&refusal(400, private));
            assert_eq!((fault.detail.as_str(), fault.vendor_code), ("apns answers 400 Bad Request", None));
        }
    }

    #[test]
    fn hostile_answers_are_judged_by_their_status() {
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
    fn a_success_is_apples_or_none() {
        let code = |response: &Response| outcome(response, &ASKED, NOW).code();
        assert_eq!(code(&answer(200, "")), "accepted");
        for response in [answer(200, "<html>welcome to our hotel"), answer(204, ""), answer(201, "{}")] {
            assert_eq!(code(&response), "vendor_down");
        }
        let long = "x".repeat(65);
        let unreadable = answer_with(200, &[("apns-id", long.as_str())], "");
        assert_eq!(outcome(&unreadable, &ASKED, NOW), Outcome::Accepted { vendor_id: None });
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_panic_or_tells_the_token(
            status in 100u16..1000, head in "[A-Z]{0,2}", tail in ".{0,9}", body in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = outcome(&answer(status, body), &ASKED, NOW);
            if let Outcome::Failed(fault) = outcome(&refusal(status, &format!("{head}{TOKEN}{tail}")), &ASKED, NOW) {
                prop_assert!(!fault.to_string().contains(TOKEN));
            }
        }
    }
}
