//! From a message to FCM's request. Pure, and written once per message: only the target differs between addresses.
//! Source: <https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages>.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgate::{Address, Message, Priority, Timestamp, TokenKind};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<Shown<'a>>,
    data: Data<'a>,
    webpush: WebPush<'a>,
    android: Android<'a>,
    apns: Apns<'a>,
}

#[derive(Serialize)]
struct Shown<'a> {
    title: &'a str,
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
}

/// Strings only. `zego` is what ZPNs clients look for; its id tells a duplicate.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    zego: String,
}

#[derive(Serialize)]
struct WebPush<'a> {
    headers: WebPushHeaders,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<WebShown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fcm_options: Option<Link<'a>>,
}

#[derive(Serialize)]
struct WebPushHeaders {
    #[serde(rename = "TTL")]
    ttl: String,
    #[serde(rename = "Urgency")]
    urgency: &'static str,
    #[serde(rename = "Topic", skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
}

#[derive(Serialize)]
struct WebShown<'a> {
    tag: &'a str,
    /// A later message under one key is news and alerts again; a duplicate of one message is not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    renotify: bool,
}

#[derive(Serialize)]
struct Link<'a> {
    link: &'a str,
}

#[derive(Serialize)]
struct Android<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<&'a str>,
    priority: &'static str,
    ttl: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<AndroidShown<'a>>,
}

#[derive(Serialize)]
struct AndroidShown<'a> {
    tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification_count: Option<u32>,
}

#[derive(Serialize)]
struct Apns<'a> {
    headers: ApnsHeaders,
    payload: ApnsPayload<'a>,
}

#[derive(Serialize)]
struct ApnsHeaders {
    #[serde(rename = "apns-push-type")]
    push_type: &'static str,
    #[serde(rename = "apns-priority")]
    priority: &'static str,
    #[serde(rename = "apns-expiration")]
    expiration: String,
    #[serde(rename = "apns-collapse-id")]
    collapse_id: String,
}

#[derive(Serialize)]
struct ApnsPayload<'a> {
    aps: Aps<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    badge: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutable_content: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_available: Option<u8>,
}

/// The message object, as JSON text, without a target.
pub(crate) fn message(message: &Message, now: Timestamp) -> String {
    let tag = message.tag();
    let shown = !message.silent;
    let left = message.seconds_left(now);
    let text = |secret: &'_ Option<pushgate::Secret>| secret.as_ref().map(|s| s.expose().to_owned());
    let (image, link) = (text(&message.image), text(&message.link));
    let body = Body {
        notification: shown.then(|| Shown {
            title: message.title.expose(),
            body: message.content.expose(),
            image: image.as_deref(),
        }),
        data: Data {
            payload: message.payload.as_ref().map(pushgate::Secret::expose),
            zego: format!(r#"{{"version":1,"zpns_request_id":"{}"}}"#, message.id),
        },
        webpush: WebPush {
            headers: WebPushHeaders {
                ttl: left.to_string(),
                urgency: urgency(message.priority),
                topic: message.collapse_key.as_deref().map(topic),
            },
            notification: shown.then_some(WebShown { tag: &tag, renotify: message.collapse_key.is_some() }),
            fcm_options: link.as_deref().filter(|l| l.starts_with("https://")).map(|link| Link { link }),
        },
        android: Android {
            collapse_key: message.collapse_key.as_deref(),
            priority: if message.priority == Priority::High { "HIGH" } else { "NORMAL" },
            ttl: format!("{left}s"),
            notification: shown.then_some(AndroidShown {
                tag: &tag,
                channel_id: message.category.as_deref(),
                notification_count: message.badge,
            }),
        },
        apns: apns(message, &tag, now, left, image.is_some()),
    };
    let json = serde_json::to_string(&body).unwrap_or_default();
    match &message.overrides {
        Some(patch) => patched(&json, patch),
        None => json,
    }
}

fn apns<'a>(message: &'a Message, tag: &str, now: Timestamp, left: u64, image: bool) -> Apns<'a> {
    let expiration = if left == 0 { 0 } else { now.as_secs() + i64::try_from(left).unwrap_or(0) };
    Apns {
        headers: ApnsHeaders {
            push_type: if message.silent { "background" } else { "alert" },
            // A background push with priority 10 is refused by Apple.
            priority: if message.silent || message.priority != Priority::High { "5" } else { "10" },
            expiration: expiration.to_string(),
            // At most 64 bytes; a longer tag is known by its digest.
            collapse_id: if tag.len() <= 64 { tag.to_owned() } else { topic(tag) },
        },
        payload: ApnsPayload {
            aps: Aps {
                badge: message.badge,
                thread_id: message.thread.as_deref(),
                category: message.category.as_deref(),
                mutable_content: image.then_some(1),
                content_available: message.silent.then_some(1),
            },
        },
    }
}

/// The whole request: the message object with its target put in front, where no override can reach it.
pub(crate) fn request(message: &str, address: &Address, validate_only: bool) -> String {
    let kind = if address.kind == TokenKind::Fid { "fid" } else { "token" };
    let target = Value::from(address.token.expose());
    let rest = message.strip_prefix('{').unwrap_or(message);
    let comma = if rest == "}" { "" } else { "," };
    let check = if validate_only { r#""validate_only":true,"# } else { "" };
    format!(r#"{{{check}"message":{{"{kind}":{target}{comma}{rest}}}"#)
}

const fn urgency(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

/// 32 characters of base64url for any key: what every Web Push service takes as a Topic.
fn topic(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, key.as_bytes()).as_ref()[..24])
}

/// JSON merge patch (RFC 7396). Targets are not the override's to choose.
fn patched(json: &str, patch: &Value) -> String {
    let mut whole: Value = serde_json::from_str(json).unwrap_or_default();
    merge(&mut whole, patch, 0);
    if let Some(object) = whole.as_object_mut() {
        for target in ["token", "fid", "topic", "condition"] {
            object.remove(target);
        }
    }
    whole.to_string()
}

fn merge(into: &mut Value, patch: &Value, depth: u8) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if depth > 32 {
        return;
    }
    if !into.is_object() {
        *into = Value::Object(serde_json::Map::new());
    }
    let Some(object) = into.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(key);
        } else {
            merge(object.entry(key.clone()).or_insert(Value::Null), value, depth + 1);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use pushgate::{AppId, ChannelName, NotificationId, Secret};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    pub(crate) fn sample() -> Message {
        Message {
            id: NotificationId("018bd000-0000-7000-8000-000000000001".parse().unwrap()),
            app: AppId::new("demo").unwrap(),
            title: "Ann".into(),
            content: "hello".into(),
            payload: Some(r#"{"conversation":"ann"}"#.into()),
            image: None,
            link: Some("https://app.example/ann".into()),
            collapse_key: None,
            thread: Some("ann".into()),
            category: None,
            priority: Priority::High,
            badge: Some(3),
            silent: false,
            created_at: NOW,
            ttl: Duration::from_secs(3600),
            overrides: None,
        }
    }

    pub(crate) fn address(kind: TokenKind) -> Address {
        Address { channel: ChannelName::new("fcm").unwrap(), kind, token: "tok\"en".into() }
    }

    fn body(m: &Message) -> Value {
        serde_json::from_str(&request(&message(m, NOW), &address(TokenKind::Token), false)).unwrap()
    }

    #[test]
    fn a_message_becomes_the_request_of_the_reference() {
        assert_eq!(
            body(&sample()),
            serde_json::json!({"message": {
                "token": "tok\"en",
                "notification": {"title": "Ann", "body": "hello"},
                "data": {"payload": "{\"conversation\":\"ann\"}",
                    "zego": "{\"version\":1,\"zpns_request_id\":\"018bd000-0000-7000-8000-000000000001\"}"},
                "webpush": {"headers": {"TTL": "3600", "Urgency": "high"},
                    "notification": {"tag": "018bd000-0000-7000-8000-000000000001"},
                    "fcm_options": {"link": "https://app.example/ann"}},
                "android": {"priority": "HIGH", "ttl": "3600s",
                    "notification": {"tag": "018bd000-0000-7000-8000-000000000001", "notification_count": 3}},
                "apns": {"headers": {"apns-push-type": "alert", "apns-priority": "10", "apns-expiration": "1700003600",
                        "apns-collapse-id": "018bd000-0000-7000-8000-000000000001"},
                    "payload": {"aps": {"badge": 3, "thread-id": "ann"}}}}})
        );
    }

    #[test]
    fn the_topic_is_a_digest_every_push_service_takes() {
        assert_eq!(topic("conv:42"), "vQgyPC3A4_7oVyWQ1Gs0u8SgO7WE6CAU");
    }

    #[test]
    fn a_silent_message_shows_nothing_anywhere() {
        let body = body(&Message { silent: true, ..sample() });
        assert!(body["message"].get("notification").is_none());
        assert!(body["message"]["webpush"].get("notification").is_none());
        assert_eq!(body["message"]["apns"]["headers"]["apns-priority"], "5");
        assert_eq!(body["message"]["apns"]["payload"]["aps"]["content-available"], 1);
    }

    #[test]
    fn an_override_is_merged_last_and_cannot_choose_the_target() {
        let patch =
            serde_json::json!({"token": "evil", "topic": "all", "android": {"priority": null, "ttl": "1s"}});
        let body = body(&Message { overrides: Some(patch), ..sample() });
        assert_eq!(body["message"]["token"], "tok\"en");
        assert!(body["message"].get("topic").is_none());
        assert_eq!(body["message"]["android"]["ttl"], "1s");
        assert!(body["message"]["android"].get("priority").is_none());
    }

    #[test]
    fn an_installation_id_is_sent_as_fid() {
        let json = request(&message(&sample(), NOW), &address(TokenKind::Fid), true);
        let body: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&body["message"]["fid"], &body["validate_only"]), (&"tok\"en".into(), &true.into()));
    }

    proptest! {
        #[test]
        fn any_text_makes_valid_json_with_string_data(title in ".*", content in ".*", payload in ".*", key in ".{0,80}") {
            let m = Message {
                title: Secret::from(title.as_str()), content: Secret::from(content.as_str()),
                payload: Some(Secret::from(payload.as_str())), collapse_key: Some(key), ..sample()
            };
            let body = body(&m);
            prop_assert_eq!(body["message"]["notification"]["title"].as_str(), Some(title.as_str()));
            prop_assert_eq!(body["message"]["data"]["payload"].as_str(), Some(payload.as_str()));
            prop_assert!(body["message"]["data"].as_object().unwrap().values().all(Value::is_string));
            prop_assert!(body["message"]["apns"]["headers"]["apns-collapse-id"].as_str().unwrap().len() <= 64);
        }
    }
}
