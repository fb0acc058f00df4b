//! From a push service's answer to an outcome: the one place that knows their errors. Pure; believes nothing it has not parsed.
//! Sources: RFC 8030 §5–§8, RFC 8292 §4; Mozilla: autopush's error codes; Apple: "Sending web push notifications in web apps
//! and browsers"; Windows: "Push notification service request and response headers"; Google: answers seen in the field.
//!
//! No fault reaches the lane: four services and strangers' own share it, and none may stop the others.

use std::borrow::Cow;
use std::time::Duration;

use http::header::LOCATION;
use http::{StatusCode, Uri};
use pushgate::answer::{clock_advice, retry_after, safe};
use pushgate::{Fault, Kind, Message, Outcome, Response, Timestamp, TransportError};
use serde_json::Value;

use crate::subscription::Service;

/// What to keep where a throttle does not say how long: Google's minute, which is longer than what others ask.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest message name kept, in bytes. Mozilla's are some 200.
const LONGEST_NAME: usize = 256;
/// The statuses of a message that was taken; RFC 8030 §5 has 201 and 202, and self-hosted services the others.
const TAKEN: [u16; 4] = [200, 201, 202, 204];

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
    let Some(kind) = meaning(response, asked.service, &said) else { return taken(response, asked) };
    let mut detail = quote(response.status, &said.text, asked);
    if matches!(response.status.as_u16(), 404 | 410) && kind == Kind::VendorDown {
        detail.push_str("; this is no answer of the push service: check for a proxy in between");
    }
    let advice = clock_advice(&response.headers, asked.now).filter(|_| kind == Kind::AuthExpired);
    if let Some(advice) = advice {
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
    Outcome::Failed(fault.retry_after(wish.or((kind == Kind::Throttled).then_some(PAUSE))))
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
}

impl<'a> Said<'a> {
    fn read(response: &'a Response, service: Service) -> Self {
        let body = || serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        match service {
            Service::Mozilla => {
                let body = body();
                let errno = body["errno"].as_u64().filter(|errno| *errno < 1000);
                Self { code: errno.map(|errno| errno.to_string()), text: owned(&body["message"]) }
            }
            Service::Apple => Self { code: word(body()["reason"].as_str()), text: Cow::Borrowed("") },
            Service::Windows => {
                let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
                let body = body();
                let code = word(header("x-wns-status")).or_else(|| match &body["ErrCode"] {
                    Value::Number(code) => Some(code.to_string()),
                    code => word(code.as_str()),
                });
                let text =
                    header("x-wns-error-description").map_or_else(|| owned(&body["ErrDesc"]), Cow::Borrowed);
                Self { code, text }
            }
            Service::Google => {
                let text = String::from_utf8_lossy(&response.body);
                // A page is quoted by its title: old answers are one word in HTML.
                let title = text.split_once("<TITLE>").and_then(|(_, rest)| rest.split_once("</TITLE>"));
                match title {
                    Some((title, _)) => Self { code: word(Some(title)), text: Cow::Owned(title.to_owned()) },
                    None => Self { code: None, text },
                }
            }
            Service::Other => Self { code: None, text: String::from_utf8_lossy(&response.body) },
        }
    }
}

fn owned<'a>(value: &Value) -> Cow<'a, str> {
    Cow::Owned(value.as_str().unwrap_or_default().to_owned())
}

/// A code as services write them; anything else is not repeated, because it could be anything.
fn word(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    let is_code = (1..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_code.then(|| text.to_owned())
}

/// The table: what the service itself says first, then the status line. None where the message was taken.
fn meaning(response: &Response, service: Service, said: &Said<'_>) -> Option<Kind> {
    let code = said.code.as_deref().unwrap_or_default();
    let own = match service {
        Service::Windows => windows(response.status, code),
        _ if TAKEN.contains(&response.status.as_u16()) => None,
        Service::Mozilla => mozilla(code, &said.text),
        Service::Google => google(&said.text),
        Service::Apple => apple(code),
        Service::Other => other(response.status, &said.text),
    };
    let plain = match response.status.as_u16() {
        status if TAKEN.contains(&status) => return own,
        // Ours may have ended or be wrong; a new one is tried once, then an operator has to look.
        401 | 403 => Kind::AuthExpired,
        404 | 410 if is_own_form(response, service, said) => Kind::TokenGone,
        408 => Kind::Timeout,
        413 => Kind::TooLarge,
        429 => Kind::Throttled,
        400..=403 | 405..=409 | 411..=499 => Kind::BadMessage,
        // A 404 or 410 of a proxy or a captive portal proves nothing about the subscription.
        // A redirect is an answer nobody follows: a stranger chose where it leads.
        _ => Kind::VendorDown,
    };
    own.or(Some(plain))
}

/// Returns `true` if only the push service itself gives its refusals this form.
fn is_own_form(response: &Response, service: Service, said: &Said<'_>) -> bool {
    let text = said.text.to_ascii_lowercase();
    match service {
        Service::Google => text.contains("push subscription") || text.contains("notregistered"),
        // RFC 8030 has no form. A proxy answers 404 for an unknown path, but not about subscriptions, and it does not
        // answer 410 of its own accord.
        Service::Other => !text.contains('<') && (response.status == 410 || text.contains("subscription")),
        Service::Mozilla | Service::Apple => said.code.is_some(),
        Service::Windows => response.headers.keys().any(|name| name.as_str().starts_with("x-wns-")),
    }
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
    let has = |word| text.to_ascii_lowercase().contains(word);
    let is_ours = ["vapid", "jwt", "authoriz", "public key", "senderid"].into_iter().any(has);
    (status == 400 && is_ours).then_some(Kind::Credentials)
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

#[cfg(test)]
mod tests;
