//! Classifies the answers of push services: the only module that knows their errors. Pure.
//!
//! Sources: RFC 8030 §5–§8, RFC 8292 §4; Mozilla: autopush's error codes; Apple: "Sending web push notifications in web apps
//! and browsers"; Windows: "Push notification service request and response headers"; Google: answers seen in the field.
//!
//! No fault has the scope of the lane: several push services share it, and none of them may stop the others.

use std::borrow::Cow;
use std::time::Duration;

use http::header::LOCATION;
use http::{StatusCode, Uri};
use pushgate::vendor_response::{clock_advice, retry_after, safe_quote};
use pushgate::{Fault, Kind, Message, Outcome, Response, Timestamp, TransportError};
use serde_json::Value;

use crate::subscription::Service;

/// Pause after a 429 without `retry-after`. Google asks for one minute, the others for less.
const DEFAULT_PAUSE: Duration = Duration::from_secs(60);
/// Maximum length of a message id that is kept. Those of Mozilla have about 200 bytes.
const MAX_VENDOR_ID_BYTES: usize = 256;
/// Statuses of an accepted message: 201 and 202 by RFC 8030 §5, the others at self-hosted services.
const SUCCESS_STATUSES: [u16; 4] = [200, 201, 202, 204];

/// Request that an answer belongs to, with the texts that no fault may quote.
pub(crate) struct RequestContext<'a> {
    pub(crate) service: Service,
    pub(crate) endpoint: &'a Uri,
    pub(crate) message: &'a Message,
    pub(crate) now: Timestamp,
}

/// Returns the outcome for the one subscription of the request.
pub(crate) fn outcome(response: &Response, context: &RequestContext<'_>) -> Outcome {
    let refusal = Refusal::parse(response, context.service);
    let Some(kind) = classify(response, context.service, &refusal) else {
        return accepted(response, context);
    };
    let mut detail = describe(response.status, &refusal.text, context);
    if matches!(response.status.as_u16(), 404 | 410) && kind == Kind::VendorDown {
        detail.push_str("; the push service does not answer in this form: check for a proxy in between");
    }
    let advice = clock_advice(&response.headers, context.now).filter(|_| kind == Kind::AuthExpired);
    if let Some(advice) = advice {
        detail = format!("{advice}; {detail}");
    }
    let mut fault = Fault::new(kind, detail);
    // A service that answers with a part of the endpoint in place of a code must not leak it.
    let endpoint = context.endpoint.to_string();
    if let Some(code) = refusal.code.filter(|code| code.len() < 16 || !endpoint.contains(code)) {
        fault = fault.with_code(code);
    }
    // A requested delay of zero would cause a loop without a pause.
    let requested_delay = retry_after(&response.headers, context.now).filter(|delay| !delay.is_zero());
    let default_pause = (kind == Kind::Throttled).then_some(DEFAULT_PAUSE);
    Outcome::Failed(fault.retry_after(requested_delay.or(default_pause)))
}

/// Returns the fault of a request without an answer. Removes private texts, because a peer can send any text as its reason.
pub(crate) fn transport_fault(error: TransportError, context: &RequestContext<'_>) -> Fault {
    let fault = Fault::from(error);
    Fault { detail: safe_quote(&fault.detail, &private_texts(context)), ..fault }
}

/// Returns the outcome of an accepted message, with the message id that each service returns in a place of its own.
fn accepted(response: &Response, context: &RequestContext<'_>) -> Outcome {
    let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
    let id = match context.service {
        Service::Apple => header("apns-id"),
        Service::Windows => header("x-wns-msg-id"),
        Service::Mozilla | Service::Google | Service::Other => {
            header(LOCATION.as_str()).and_then(|location| location.rsplit('/').next())
        }
    };
    let is_valid = |id: &&str| {
        (1..=MAX_VENDOR_ID_BYTES).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_graphic())
            // A part of the endpoint is not an id, and must not be stored as one.
            && !context.endpoint.to_string().contains(*id)
    };
    Outcome::Accepted { vendor_id: id.filter(is_valid).map(str::to_owned) }
}

/// Parsed error answer. All fields are optional, because the answer may come from a proxy.
struct Refusal<'a> {
    /// Error code of the service.
    code: Option<String>,
    /// Error text of the service.
    text: Cow<'a, str>,
}

impl<'a> Refusal<'a> {
    fn parse(response: &'a Response, service: Service) -> Self {
        let body = || serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        match service {
            Service::Mozilla => {
                let body = body();
                let errno = body["errno"].as_u64().filter(|errno| *errno < 1000);
                Self { code: errno.map(|errno| errno.to_string()), text: owned(&body["message"]) }
            }
            Service::Apple => Self { code: parse_code(body()["reason"].as_str()), text: Cow::Borrowed("") },
            Service::Windows => {
                let header = |name: &str| response.headers.get(name).and_then(|value| value.to_str().ok());
                let body = body();
                let code = parse_code(header("x-wns-status")).or_else(|| match &body["ErrCode"] {
                    Value::Number(code) => Some(code.to_string()),
                    code => parse_code(code.as_str()),
                });
                let text =
                    header("x-wns-error-description").map_or_else(|| owned(&body["ErrDesc"]), Cow::Borrowed);
                Self { code, text }
            }
            Service::Google => {
                let text = String::from_utf8_lossy(&response.body);
                // Google's older answers are an HTML page whose title is the error code.
                let title = text.split_once("<TITLE>").and_then(|(_, rest)| rest.split_once("</TITLE>"));
                match title {
                    Some((title, _)) => {
                        Self { code: parse_code(Some(title)), text: Cow::Owned(title.to_owned()) }
                    }
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

/// Returns an error code in the form that services use. Returns `None` for any other text, which might be private.
fn parse_code(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    let is_code = (1..=24).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_code.then(|| text.to_owned())
}

/// Returns the kind of a refusal, or `None` for an accepted message. The service's own code and text come before the status.
fn classify(response: &Response, service: Service, refusal: &Refusal<'_>) -> Option<Kind> {
    let code = refusal.code.as_deref().unwrap_or_default();
    let by_service = match service {
        Service::Windows => windows(response.status, code),
        _ if SUCCESS_STATUSES.contains(&response.status.as_u16()) => None,
        Service::Mozilla => mozilla(code, &refusal.text),
        Service::Google => google(&refusal.text),
        Service::Apple => apple(code),
        Service::Other => other(response.status, &refusal.text),
    };
    let by_status = match response.status.as_u16() {
        status if SUCCESS_STATUSES.contains(&status) => return by_service,
        // The VAPID token may have expired. The gateway tries a new one once before it reports the credentials.
        401 | 403 => Kind::AuthExpired,
        404 | 410 if is_own_form(response, service, refusal) => Kind::TokenGone,
        408 => Kind::Timeout,
        413 => Kind::TooLarge,
        429 => Kind::Throttled,
        400..=403 | 405..=409 | 411..=499 => Kind::BadMessage,
        // A 404 or 410 of a proxy or a captive portal proves nothing about the subscription.
        // Redirects are not followed, because the client that chose the endpoint also chose the target.
        _ => Kind::VendorDown,
    };
    by_service.or(Some(by_status))
}

/// Returns `true` if the refusal has a form that only the push service itself uses, and no proxy.
fn is_own_form(response: &Response, service: Service, refusal: &Refusal<'_>) -> bool {
    let text = refusal.text.to_ascii_lowercase();
    match service {
        Service::Google => text.contains("push subscription") || text.contains("notregistered"),
        // RFC 8030 defines no form. A proxy may answer 404 for an unknown path, but it does not mention subscriptions, and it
        // does not answer 410 by itself.
        Service::Other => !text.contains('<') && (response.status == 410 || text.contains("subscription")),
        Service::Mozilla | Service::Apple => refusal.code.is_some(),
        Service::Windows => response.headers.keys().any(|name| name.as_str().starts_with("x-wns-")),
    }
}

/// Classifies an error number of Mozilla. Source: <https://mozilla-services.github.io/autopush-rs/errors.html>.
fn mozilla(errno: &str, message: &str) -> Option<Kind> {
    Some(match errno {
        "101" | "110" | "111" | "112" | "113" => Kind::BadMessage,
        "102" | "103" | "105" | "106" | "108" => Kind::TokenGone,
        "104" => Kind::TooLarge,
        // Either the subscription or the configuration has another key. The configuration may be corrected, so the
        // subscription is kept.
        "109" if message.to_ascii_lowercase().contains("public key mismatch") => Kind::WrongApp,
        "109" => Kind::AuthExpired,
        "201" | "202" | "900" | "901" | "902" | "903" => Kind::VendorDown,
        _ => return None,
    })
}

/// Classifies the known error texts of Google, which has no error codes.
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

/// Classifies a reason of Apple. Source:
/// <https://developer.apple.com/documentation/usernotifications/sending-web-push-notifications-in-web-apps-and-browsers>.
fn apple(reason: &str) -> Option<Kind> {
    Some(match reason {
        "BadTtl" | "BadUrgency" | "BadWebPushTopic" | "BadWebPushRequest" | "MethodNotAllowed" => {
            Kind::BadMessage
        }
        "BadPath" | "Unregistered" | "ExpiredToken" => Kind::TokenGone,
        "VapidPkHashMismatch" => Kind::WrongApp,
        "BadAuthorizationHeader" | "BadJwtToken" | "BadVapidPublicKey" => Kind::AuthExpired,
        "PayloadTooLarge" => Kind::TooLarge,
        // Limit of this one device.
        "TooManyRequests" => Kind::Throttled,
        "IdleTimeout" | "InternalServerError" | "ServiceUnavailable" | "Shutdown" => Kind::VendorDown,
        _ => return None,
    })
}

/// Classifies the answers of Windows. Its error texts may change, so only status and `x-wns-status` count. With a success
/// status, `x-wns-status` may still report that the message was dropped.
fn windows(status: StatusCode, code: &str) -> Option<Kind> {
    match (status.as_u16(), code) {
        (200 | 201, "channelthrottled") | (406, _) => Some(Kind::Throttled),
        (200 | 201, "dropped") => Some(Kind::TokenMuted),
        // The channel belongs to another application server, possibly to this one before a change of keys.
        (403, _) => Some(Kind::WrongApp),
        _ => None,
    }
}

/// Recognizes a refused key or token in a 400 of an unknown service, which usually means a bad message. A 401 or 403 is
/// recognized by its status.
fn other(status: StatusCode, text: &str) -> Option<Kind> {
    let has = |term| text.to_ascii_lowercase().contains(term);
    let is_about_credentials = ["vapid", "jwt", "authoriz", "public key", "senderid"].into_iter().any(has);
    (status == 400 && is_about_credentials).then_some(Kind::Credentials)
}

/// Describes a refusal with its text, without private texts.
fn describe(status: StatusCode, text: &str, context: &RequestContext<'_>) -> String {
    let service = match context.service {
        Service::Mozilla => "mozilla",
        Service::Google => "google",
        Service::Apple => "apple",
        Service::Windows => "windows",
        Service::Other => "the push service",
    };
    match safe_quote(text, &private_texts(context)) {
        text if text.is_empty() => format!("{service} answers {status}"),
        text => format!("{service} answers {status}: {text}"),
    }
}

/// Returns the texts that no fault may quote: the endpoint, its longer parts, and the content of the message.
fn private_texts<'a>(context: &RequestContext<'a>) -> Vec<&'a str> {
    let Message { title, content, payload, .. } = context.message;
    let payload = payload.as_ref().map_or("", |payload| payload.expose());
    let endpoint = context.endpoint.path_and_query().map_or("", |path| path.as_str());
    let parts = endpoint.split(['/', '?', '&', '=']).filter(|part| part.len() >= 16);
    [endpoint, title.expose(), content.expose(), payload].into_iter().chain(parts).collect()
}

#[cfg(test)]
mod tests;
