//! From a push service's answer to an outcome: the one place that knows their errors. Pure; believes nothing it has not parsed.
//! Sources: RFC 8030 §5–§8, RFC 8292 §4; Mozilla: autopush's error codes; Apple: "Sending web push notifications in web apps
//! and browsers"; Windows: "Push notification service request and response headers"; Google: answers seen in the field.
//!
//! No fault reaches the lane: four services and strangers' own share it, and none may stop the others.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{DATE, LOCATION};
use http::{HeaderMap, StatusCode, Uri};
use pushgate::answer::{date, retry_after, safe};
use pushgate::{Fault, Kind, Message, Outcome, Response, Timestamp, TransportError};
use serde_json::Value;

use crate::subscription::Service;

/// What to keep where a throttle does not say how long: Google's minute, which is longer than what others ask.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest message name kept, in bytes. Mozilla's are some 200.
const LONGEST_NAME: usize = 256;
/// The statuses of a message that was taken; RFC 8030 §5 has 201 and 202, and self-hosted services the others.
const TAKEN: [u16; 4] = [200, 201, 202, 204];
/// A clock that is further off than this spoils tokens.
const SKEW: Duration = Duration::from_secs(300);

/// What was asked, as far as it tells what the answer means, and what must not be repeated from it.
pub(crate) struct Asked<'a> {
    pub(crate) service: Service,
    pub(crate) endpoint: &'a Uri,
    pub(crate) message: &'a Message,
    pub(crate) now: Timestamp,
}

/// The outcome for the one subscription that was asked.
pub(crate) fn outcome(response: &Response, asked: &Asked<'_>) -> Outcome {
    let said = Said::read(response, asked.service);
    let Some(kind) = meaning(response.status, asked.service, &said) else { return taken(response, asked) };
    let mut detail = quote(response.status, &said.text, asked);
    if matches!(response.status.as_u16(), 404 | 410) && kind == Kind::VendorDown {
        detail = format!(
            "{detail}; this is no answer of the push service, so the address is kept: check for a proxy in between"
        );
    }
    if kind == Kind::AuthExpired
        && let Some(advice) = clock_advice(&response.headers, asked.now)
    {
        detail = format!("{advice}; {detail}");
    }
    let mut fault = Fault::new(kind, detail);
    // A piece of the endpoint is no code, whoever says so.
    let endpoint = asked.endpoint.to_string();
    if let Some(code) = said.code.filter(|code| code.len() < 16 || !endpoint.contains(code)) {
        fault = fault.with_code(code);
    }
    // A wish for no wait at all would be a loop without a pause.
    let wish = retry_after(&response.headers, asked.now).filter(|wish| !wish.is_zero());
    let pause = (kind == Kind::Throttled).then_some(PAUSE);
    Outcome::Failed(fault.retry_after(wish.or(pause)))
}

/// No answer. What a peer gives as its reason is a stranger's text as well.
pub(crate) fn unanswered(error: TransportError, asked: &Asked<'_>) -> Fault {
    let fault = Fault::from(error);
    Fault { detail: safe(&fault.detail, &private(asked)), ..fault }
}

/// The name is for the receipts; services give it in places of their own.
fn taken(response: &Response, asked: &Asked<'_>) -> Outcome {
    let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    let name = match asked.service {
        Service::Apple => header("apns-id"),
        Service::Windows => header("x-wns-msg-id"),
        Service::Mozilla | Service::Google | Service::Other => {
            header(LOCATION.as_str()).and_then(|location| location.rsplit('/').next())
        }
    };
    let readable = |name: &&str| {
        (1..=LONGEST_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_graphic())
            // A service that repeats the endpoint has told us nothing, and nobody else should read it.
            && !asked.endpoint.to_string().contains(*name)
    };
    Outcome::Accepted { vendor_id: name.filter(readable).map(str::to_owned) }
}

/// What can be read of a refusal. Everything is optional, because anybody may answer.
struct Said<'a> {
    /// The service's own code.
    code: Option<String>,
    /// What it says in words.
    text: Cow<'a, str>,
    /// Whether the answer has the form that only the push service gives its answers.
    is_own_form: bool,
}

impl<'a> Said<'a> {
    fn read(response: &'a Response, service: Service) -> Self {
        let body = || serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        match service {
            Service::Mozilla => {
                let body = body();
                let code =
                    body["errno"].as_u64().filter(|errno| *errno < 1000).map(|errno| errno.to_string());
                Self { is_own_form: code.is_some(), code, text: owned(&body["message"]) }
            }
            Service::Apple => {
                let code = word(body()["reason"].as_str());
                Self { is_own_form: code.is_some(), code, text: Cow::Borrowed("") }
            }
            Service::Windows => Self::read_windows(response, &body()),
            Service::Google => {
                let text = String::from_utf8_lossy(&response.body);
                // A page is quoted by its title: old answers are one word in HTML.
                let title = text.split_once("<TITLE>").and_then(|(_, rest)| rest.split_once("</TITLE>"));
                let (code, text) = match title {
                    Some((title, _)) => (word(Some(title)), Cow::Owned(title.to_owned())),
                    None => (None, text),
                };
                let is_own_form = code.as_deref() == Some("NotRegistered")
                    || text.to_ascii_lowercase().contains("push subscription");
                Self { code, text, is_own_form }
            }
            Service::Other => {
                let text = String::from_utf8_lossy(&response.body);
                // RFC 8030 gives refusals no form. A proxy answers 404 for an unknown path, but not in JSON and not about
                // subscriptions, and it does not answer 410 of its own accord.
                let is_plain = !text.contains('<');
                let is_own_form = body().is_object()
                    || (is_plain && (response.status == StatusCode::GONE || text.contains("subscription")));
                Self { code: None, text, is_own_form }
            }
        }
    }

    /// Windows answers in headers, and sometimes in JSON as well.
    fn read_windows(response: &'a Response, body: &Value) -> Self {
        let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
        let code = word(header("x-wns-status")).or_else(|| match &body["ErrCode"] {
            Value::Number(code) => Some(code.to_string()),
            code => word(code.as_str()),
        });
        let text = header("x-wns-error-description").map_or_else(|| owned(&body["ErrDesc"]), Cow::Borrowed);
        let has_header = response.headers.keys().any(|name| name.as_str().starts_with("x-wns-"));
        Self { is_own_form: has_header || code.is_some(), code, text }
    }
}

fn owned<'a>(value: &Value) -> Cow<'a, str> {
    Cow::Owned(value.as_str().unwrap_or_default().to_owned())
}

/// A code as services write them; anything else is not repeated, because it could be anything.
fn word(text: Option<&str>) -> Option<String> {
    let is_code = |text: &&str| {
        let text = text.trim();
        (1..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    text.filter(is_code).map(|text| text.trim().to_owned())
}

/// The table: what the service itself says first, then the status line. None where the message was taken.
fn meaning(status: StatusCode, service: Service, said: &Said<'_>) -> Option<Kind> {
    let code = said.code.as_deref().unwrap_or_default();
    let own = match service {
        Service::Windows => windows(status, code),
        _ if TAKEN.contains(&status.as_u16()) => None,
        Service::Mozilla => mozilla(code, &said.text),
        Service::Google => google(&said.text),
        Service::Apple => apple(code),
        Service::Other => other(status, &said.text),
    };
    let plain = match status.as_u16() {
        status if TAKEN.contains(&status) => return own,
        // Ours may have ended or be wrong; a new one is tried once, then an operator has to look.
        401 | 403 => Kind::AuthExpired,
        404 | 410 if said.is_own_form => Kind::TokenGone,
        // A page of a proxy or a captive portal proves nothing about the subscription.
        404 | 410 => Kind::VendorDown,
        408 => Kind::Timeout,
        413 => Kind::TooLarge,
        429 => Kind::Throttled,
        400..=499 => Kind::BadMessage,
        // A redirect is an answer nobody follows: a stranger chose where it leads.
        _ => Kind::VendorDown,
    };
    own.or(Some(plain))
}

/// <https://mozilla-services.github.io/autopush-rs/errors.html>
fn mozilla(errno: &str, message: &str) -> Option<Kind> {
    Some(match errno {
        "101" | "110" | "111" | "112" | "113" => Kind::BadMessage,
        "102" | "103" | "105" | "106" | "108" => Kind::TokenGone,
        "104" => Kind::TooLarge,
        // The subscription was made for another key, or the configured key is the wrong one: it may be right again tomorrow.
        "109" if message.to_ascii_lowercase().contains("public key mismatch") => Kind::WrongApp,
        "109" => Kind::AuthExpired,
        "201" | "202" | "900" | "901" | "902" | "903" => Kind::VendorDown,
        _ => return None,
    })
}

/// Google answers in words, of which these are known.
fn google(text: &str) -> Option<Kind> {
    const OTHER_KEY: [&str; 3] = [
        "do not correspond to the credentials used to create the subscription",
        "does not correspond to the sender ID used to subscribe",
        "MismatchSenderId",
    ];
    if OTHER_KEY.iter().any(|words| text.contains(words)) {
        return Some(Kind::WrongApp);
    }
    text.contains("UnauthorizedRegistration").then_some(Kind::AuthExpired)
}

/// <https://developer.apple.com/documentation/usernotifications/sending-web-push-notifications-in-web-apps-and-browsers>
fn apple(reason: &str) -> Option<Kind> {
    Some(match reason {
        "BadTtl" | "BadUrgency" | "BadWebPushTopic" | "BadWebPushRequest" | "MethodNotAllowed" => {
            Kind::BadMessage
        }
        "BadPath" | "Unregistered" | "ExpiredToken" => Kind::TokenGone,
        "VapidPkHashMismatch" => Kind::WrongApp,
        "BadAuthorizationHeader" | "BadJwtToken" | "BadVapidPublicKey" => Kind::AuthExpired,
        "PayloadTooLarge" => Kind::TooLarge,
        // Of this device alone.
        "TooManyRequests" => Kind::Throttled,
        "IdleTimeout" | "InternalServerError" | "ServiceUnavailable" | "Shutdown" => Kind::VendorDown,
        _ => return None,
    })
}

/// Windows' reasons are sentences, which cannot be relied on. It takes some messages only to say in a header that it has
/// thrown them away.
fn windows(status: StatusCode, code: &str) -> Option<Kind> {
    match (status.as_u16(), code) {
        (200 | 201, "channelthrottled") | (406, _) => Some(Kind::Throttled),
        (200 | 201, "dropped") => Some(Kind::TokenMuted),
        // A channel of another application server, which may be our own before a change of keys.
        (403, _) => Some(Kind::WrongApp),
        _ => None,
    }
}

/// Unknown services refuse our key or token with words of their own, and with a status that elsewhere means the message. A 401 or
/// 403 needs no words.
fn other(status: StatusCode, text: &str) -> Option<Kind> {
    let text = text.to_ascii_lowercase();
    let words = ["vapid", "jwt", "authoriz", "public key", "senderid"];
    (status == 400 && words.iter().any(|words| text.contains(words))).then_some(Kind::Credentials)
}

fn quote(status: StatusCode, text: &str, asked: &Asked<'_>) -> String {
    let service = match asked.service {
        Service::Mozilla => "mozilla",
        Service::Google => "google",
        Service::Apple => "apple",
        Service::Windows => "windows",
        Service::Other => "the push service",
    };
    match safe(text, &private(asked)) {
        said if said.is_empty() => format!("{service} answers {status}"),
        said => format!("{service} answers {status}: {said}"),
    }
}

/// What no fault may repeat: the endpoint, whole or in parts, and what the user is shown.
fn private<'a>(asked: &Asked<'a>) -> Vec<&'a str> {
    let Message { title, content, payload, .. } = asked.message;
    let payload = payload.as_ref().map_or("", |payload| payload.expose());
    let endpoint = asked.endpoint.path_and_query().map_or("", |path| path.as_str());
    let parts = endpoint.split(['/', '?', '&', '=']).filter(|part| part.len() >= 16);
    [endpoint, title.expose(), content.expose(), payload].into_iter().chain(parts).collect()
}

/// A token is refused most often because a clock is wrong, and the service's date measures ours.
fn clock_advice(headers: &HeaderMap, now: Timestamp) -> Option<String> {
    let theirs = date(headers, &DATE)?;
    let off = theirs.since(now).max(now.since(theirs));
    let side = if theirs > now { "behind" } else { "ahead of" };
    (off > SKEW)
        .then(|| format!("this machine's clock is {} s {side} the service's: set it right", off.as_secs()))
}

#[cfg(test)]
mod tests;
