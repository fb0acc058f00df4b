//! Whether a push is what Apple's reference allows: headers, topic, payload; the first thing that is not, in its word.
//! Knows nothing of devices.

use bytes::Bytes;

use super::Environment;
use super::PushType;
use super::auth::Sender;
use super::reason::Reason;
use super::rules::{Rules, WrongSuffix};
use crate::wire::Asked;

/// In bytes.
const LONGEST_COLLAPSE_ID: usize = 64;

/// A good push.
pub(super) struct Push {
    pub(super) kind: PushType,
    /// The push named its type. Otherwise it is judged as an alert.
    pub(super) has_type: bool,
    /// When it expires, in seconds since 1970; 0 is now or never, none is not said.
    pub(super) expiration: Option<u64>,
    pub(super) collapse: Option<String>,
    pub(super) body: Bytes,
}

/// The values of the headers, which is all the same for devices and broadcasts.
pub(super) struct Headers {
    pub(super) kind: Option<PushType>,
    pub(super) expiration: Option<u64>,
    collapse: Option<String>,
    priority: u8,
}

impl Headers {
    pub(super) fn read(asked: &Asked) -> Result<Self, Reason> {
        let names = asked.head.headers.keys().filter(|name| name.as_str().starts_with("apns-"));
        if names.into_iter().any(|name| asked.head.headers.get_all(name).iter().count() > 1) {
            return Err(Reason::DuplicateHeaders);
        }
        if asked.header("apns-id").is_some_and(|id| !is_uuid(id)) {
            return Err(Reason::BadMessageId);
        }
        let kind = match asked.header("apns-push-type") {
            Some(kind) => Some(PushType::parse(kind).ok_or(Reason::InvalidPushType)?),
            None => None,
        };
        let expiration = match asked.header("apns-expiration") {
            Some(at) => Some(at.parse().map_err(|_| Reason::BadExpirationDate)?),
            None => None,
        };
        let priority = match asked.header("apns-priority") {
            Some(priority) => priority.parse().map_err(|_| Reason::BadPriority)?,
            None => 10,
        };
        let collapse = asked.header("apns-collapse-id").map(str::to_owned);
        if asked.head.headers.contains_key("apns-collapse-id")
            && !collapse.as_ref().is_some_and(|id| (1..=LONGEST_COLLAPSE_ID).contains(&id.len()))
        {
            return Err(Reason::BadCollapseId);
        }
        Ok(Self { kind, expiration, collapse, priority })
    }
}

/// Whether a request is a good push of this sender.
pub(super) fn check(asked: &Asked, sender: &Sender, bundle: &str, rules: &Rules) -> Result<Push, Reason> {
    let headers = Headers::read(asked)?;
    let kind = headers.kind.unwrap_or(PushType::Alert);
    // Without the header, a background push has the priority it needs.
    let said = asked.head.headers.contains_key("apns-priority");
    if said && !kind.allows(headers.priority) {
        return Err(Reason::BadPriority);
    }
    let topic = asked.header("apns-topic").or(sender.default_topic.as_deref());
    let topic = topic.ok_or(Reason::MissingTopic)?;
    judge_topic(topic, kind, sender, bundle, rules)?;
    let most = if kind == PushType::Voip { rules.most_voip_payload } else { rules.most_payload };
    payload(&asked.body, most)?;
    let Headers { expiration, collapse, .. } = headers;
    Ok(Push { kind, has_type: headers.kind.is_some(), expiration, collapse, body: asked.body.clone() })
}

pub(super) fn payload(body: &[u8], most: usize) -> Result<(), Reason> {
    match body.len() {
        0 => Err(Reason::PayloadEmpty),
        length if length > most => Err(Reason::PayloadTooLarge),
        _ => Ok(()),
    }
}

/// Whether a key or certificate is good for the environment it is used in.
pub(super) fn judge_environment(sender: &Sender, here: Environment) -> Result<(), Reason> {
    match sender.scope.environment {
        Some(environment) if environment != here && sender.certificate => {
            Err(Reason::BadCertificateEnvironment)
        }
        Some(environment) if environment != here => Err(Reason::BadEnvironmentKeyIdInToken),
        _ => Ok(()),
    }
}

fn judge_topic(
    topic: &str,
    kind: PushType,
    sender: &Sender,
    bundle: &str,
    rules: &Rules,
) -> Result<(), Reason> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if topic.is_empty() || !topic.chars().all(plain) {
        return Err(Reason::BadTopic);
    }
    let listed = sender.scope.topics.as_ref().is_none_or(|topics| topics.iter().any(|one| one == topic));
    if !listed || (sender.certificate && !kind.by_certificate()) {
        return Err(Reason::TopicDisallowed);
    }
    // Another app's topic: the team may send to it, but no device has this app's token for it.
    if topic.strip_prefix(bundle).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('.')) {
        return Err(Reason::DeviceTokenNotForTopic);
    }
    if topic.strip_prefix(bundle) != Some(kind.suffix()) {
        return Err(match rules.wrong_suffix {
            WrongSuffix::BadTopic => Reason::BadTopic,
            WrongSuffix::TopicDisallowed => Reason::TopicDisallowed,
            WrongSuffix::InvalidPushType => Reason::InvalidPushType,
            WrongSuffix::DeviceTokenNotForTopic => Reason::DeviceTokenNotForTopic,
        });
    }
    Ok(())
}

/// 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}
