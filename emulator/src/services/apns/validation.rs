//! Validation of headers, topic and payload of a push against Apple's reference. The first violation is returned as a
//! [`Reason`].
//! This module knows no devices.

use bytes::Bytes;

use super::Environment;
use super::PushType;
use super::auth::Sender;
use super::reason::Reason;
use super::rules::{AppleRules, WrongSuffix};
use crate::wire::HttpRequest;

/// Maximum length of a collapse id, in bytes.
const MAX_COLLAPSE_ID_LENGTH: usize = 64;

/// Valid push.
pub(super) struct PushRequest {
    pub(super) push_type: PushType,
    /// `true` if the push has a type. Otherwise it is validated as an alert.
    pub(super) has_push_type: bool,
    /// Expiration in seconds since 1970. 0 means that it is not stored. `None` means that the sender set none.
    pub(super) expiration: Option<u64>,
    pub(super) collapse_id: Option<String>,
    pub(super) body: Bytes,
}

/// Values of the headers that device pushes and broadcasts have in common.
pub(super) struct Headers {
    pub(super) push_type: Option<PushType>,
    pub(super) expiration: Option<u64>,
    collapse_id: Option<String>,
    priority: u8,
}

impl Headers {
    /// Parses and validates the headers of a request.
    pub(super) fn parse(request: &HttpRequest) -> Result<Self, Reason> {
        let names = request.head.headers.keys().filter(|name| name.as_str().starts_with("apns-"));
        if names.into_iter().any(|name| request.head.headers.get_all(name).iter().count() > 1) {
            return Err(Reason::DuplicateHeaders);
        }
        if request.header("apns-id").is_some_and(|id| !is_uuid(id)) {
            return Err(Reason::BadMessageId);
        }
        let push_type = match request.header("apns-push-type") {
            Some(push_type) => Some(PushType::parse(push_type).ok_or(Reason::InvalidPushType)?),
            None => None,
        };
        let expiration = match request.header("apns-expiration") {
            Some(at) => Some(at.parse().map_err(|_| Reason::BadExpirationDate)?),
            None => None,
        };
        let priority = match request.header("apns-priority") {
            Some(priority) => priority.parse().map_err(|_| Reason::BadPriority)?,
            None => 10,
        };
        let collapse_id = request.header("apns-collapse-id").map(str::to_owned);
        if request.head.headers.contains_key("apns-collapse-id")
            && !collapse_id.as_ref().is_some_and(|id| (1..=MAX_COLLAPSE_ID_LENGTH).contains(&id.len()))
        {
            return Err(Reason::BadCollapseId);
        }
        Ok(Self { push_type, expiration, collapse_id, priority })
    }
}

/// Validates a push of this sender.
pub(super) fn validate(
    request: &HttpRequest,
    sender: &Sender,
    bundle: &str,
    rules: &AppleRules,
) -> Result<PushRequest, Reason> {
    let headers = Headers::parse(request)?;
    let push_type = headers.push_type.unwrap_or(PushType::Alert);
    // Without the header, a push gets a priority that its type allows.
    let has_priority = request.head.headers.contains_key("apns-priority");
    if has_priority && !push_type.allows_priority(headers.priority) {
        return Err(Reason::BadPriority);
    }
    let topic = request.header("apns-topic").or(sender.default_topic.as_deref());
    let topic = topic.ok_or(Reason::MissingTopic)?;
    verify_topic(topic, push_type, sender, bundle, rules)?;
    let max_length = if push_type == PushType::Voip { rules.max_voip_payload } else { rules.max_payload };
    verify_payload(&request.body, max_length)?;
    let Headers { expiration, collapse_id, .. } = headers;
    Ok(PushRequest {
        push_type,
        has_push_type: headers.push_type.is_some(),
        expiration,
        collapse_id,
        body: request.body.clone(),
    })
}

/// Verifies that a payload is not empty and has at most `max_length` bytes.
pub(super) fn verify_payload(body: &[u8], max_length: usize) -> Result<(), Reason> {
    match body.len() {
        0 => Err(Reason::PayloadEmpty),
        length if length > max_length => Err(Reason::PayloadTooLarge),
        _ => Ok(()),
    }
}

/// Verifies that a key or certificate is valid in this environment.
pub(super) fn verify_environment(sender: &Sender, here: Environment) -> Result<(), Reason> {
    match sender.scope.environment {
        Some(environment) if environment != here && sender.uses_certificate => {
            Err(Reason::BadCertificateEnvironment)
        }
        Some(environment) if environment != here => Err(Reason::BadEnvironmentKeyIdInToken),
        _ => Ok(()),
    }
}

fn verify_topic(
    topic: &str,
    push_type: PushType,
    sender: &Sender,
    bundle: &str,
    rules: &AppleRules,
) -> Result<(), Reason> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if topic.is_empty() || !topic.chars().all(is_allowed) {
        return Err(Reason::BadTopic);
    }
    let is_in_scope =
        sender.scope.topics.as_ref().is_none_or(|topics| topics.iter().any(|listed| listed == topic));
    if !is_in_scope || (sender.uses_certificate && !push_type.allows_certificate()) {
        return Err(Reason::TopicDisallowed);
    }
    // The team may send to another app's topic, but no device has a token of this app for it.
    if topic.strip_prefix(bundle).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('.')) {
        return Err(Reason::DeviceTokenNotForTopic);
    }
    if topic.strip_prefix(bundle) != Some(push_type.suffix()) {
        return Err(match rules.wrong_suffix {
            WrongSuffix::BadTopic => Reason::BadTopic,
            WrongSuffix::TopicDisallowed => Reason::TopicDisallowed,
            WrongSuffix::InvalidPushType => Reason::InvalidPushType,
            WrongSuffix::DeviceTokenNotForTopic => Reason::DeviceTokenNotForTopic,
        });
    }
    Ok(())
}

/// Returns `true` for a UUID of 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
