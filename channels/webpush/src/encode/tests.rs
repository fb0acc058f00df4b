//! Tests of the encoding. Complete requests, and the JSON that a service worker reads, are in `golden/`.

use std::time::Duration;

use proptest::prelude::*;
use pushgate_kit::sample::message as sample;
use serde_json::json;

use super::*;
use crate::auth::{VapidSigner, parse_private_key, tests::PRIVATE};

fn encoded(message: &Message) -> Value {
    let style = Style { icon: Some("/icon.png".into()), badge_icon: None };
    serde_json::from_slice(&super::message(message, &style, 0)).unwrap()
}

fn all_headers(message: &Message, service: Service) -> HeaderMap {
    let vapid = VapidSigner::new(parse_private_key(PRIVATE).unwrap(), "mailto:push@example.com");
    let now = message.created_at;
    let mut headers = common_headers(message);
    add_service_headers(
        &mut headers,
        service,
        message.seconds_left(now),
        &vapid.token("https://a.test", now).unwrap(),
    );
    headers
}

const ALL: [Service; 5] =
    [Service::Mozilla, Service::Google, Service::Apple, Service::Windows, Service::Other];

#[test]
fn the_topic_is_a_digest_that_every_push_service_accepts() {
    assert_eq!(collapse_key_digest("conv:42"), "vQgyPC3A4_7oVyWQ1Gs0u8SgO7WE6CAU");
    let with = Message { collapse_key: Some("conv:42".into()), ..sample() };
    assert_eq!(common_headers(&with)["topic"], "vQgyPC3A4_7oVyWQ1Gs0u8SgO7WE6CAU");
}

#[test]
fn without_a_collapse_key_there_is_no_topic_and_the_tag_is_the_id() {
    for key in [None, Some(String::new())] {
        let message = Message { collapse_key: key, ..sample() };
        assert!(common_headers(&message).get("topic").is_none());
        let json = encoded(&message);
        assert_eq!(json["notification"]["tag"], sample().id.to_string());
        assert!(json["notification"].get("renotify").is_none());
    }
}

#[test]
fn a_ttl_of_zero_is_sent_as_zero_except_to_apple() {
    let message = Message { ttl: Duration::ZERO, ..sample() };
    for service in ALL {
        let expected = if service == Service::Apple { "1" } else { "0" };
        assert_eq!(all_headers(&message, service)["ttl"], expected, "{service:?}");
    }
}

#[test]
fn a_time_to_live_above_four_weeks_is_clamped() {
    let message = Message { ttl: Duration::from_secs(40 * 86_400), ..sample() };
    for service in ALL {
        assert_eq!(all_headers(&message, service)["ttl"], "2419200");
    }
}

#[test]
fn only_windows_gets_a_cache_policy() {
    let never = Message { ttl: Duration::ZERO, ..sample() };
    assert_eq!(all_headers(&never, Service::Windows)["x-wns-cache-policy"], "no-cache");
    for service in ALL {
        let headers = all_headers(&sample(), service);
        let policy = headers.get("x-wns-cache-policy").map(|value| value.to_str().unwrap());
        assert_eq!(policy, (service == Service::Windows).then_some("cache"));
    }
}

#[test]
fn urgency_follows_the_priority() {
    for (priority, urgency) in
        [(Priority::High, "high"), (Priority::Normal, "normal"), (Priority::Low, "low")]
    {
        assert_eq!(common_headers(&Message { priority, ..sample() })["urgency"], urgency);
    }
}

#[test]
fn a_silent_message_has_no_notification_and_keeps_its_data() {
    let json = encoded(&Message { silent: true, image: Some("https://a/b".into()), ..sample() });
    assert!(json.get("notification").is_none() && !json.to_string().contains("https://a/b"));
    assert_eq!(json["data"]["payload"], r#"{"conversation":"ann"}"#);
    assert_eq!(json["app_badge"], 3);
}

#[test]
fn a_link_that_is_not_https_is_omitted() {
    for link in ["myapp://ann", "http://app.example/ann", "javascript:alert(1)"] {
        let json = encoded(&Message { link: Some(link.into()), ..sample() });
        assert!(json["notification"].get("navigate").is_none(), "{link}");
    }
}

#[test]
fn an_override_is_merged_last_and_null_removes() {
    let patch = json!({"web_push": 8030, "notification": {"requireInteraction": true, "icon": null}, "app_badge": null});
    let json = encoded(&Message { overrides: Some(patch), ..sample() });
    assert_eq!(json["web_push"], 8030);
    assert_eq!(json["notification"]["requireInteraction"], true);
    assert_eq!(json["notification"]["title"], "Ann");
    assert!(json["notification"].get("icon").is_none() && json.get("app_badge").is_none());
}

#[test]
fn padding_fills_whole_blocks_within_the_size_limit() {
    for (length, block, padded) in [
        (1, 0, 1),
        (1, 128, 128),
        (128, 128, 128),
        (129, 128, 256),
        (3900, 128, 3968),
        (3969, 128, 3993),
        (3993, 128, 3993),
        (5, 3993, 3993),
    ] {
        assert_eq!(padded_len(length, block), padded, "{length} in blocks of {block}");
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let text = proptest::collection::vec(any::<char>(), 0..80).prop_map(|c| c.into_iter().collect());
    let texts = proptest::array::uniform5(text);
    let options = (any::<bool>(), any::<Option<u32>>(), 0u64..10_000_000, any::<[bool; 3]>());
    (texts, options).prop_map(|(texts, (silent, badge, ttl, some))| {
        let [title, content, payload, key, image]: [String; 5] = texts;
        Message {
            title: title.into(),
            content: content.into(),
            payload: some[0].then(|| payload.into()),
            collapse_key: some[1].then_some(key),
            image: some[2].then(|| image.into()),
            silent,
            badge,
            ttl: Duration::from_secs(ttl),
            ..sample()
        }
    })
}

proptest! {
    #[test]
    fn any_message_makes_valid_json_and_headers(m in any_message()) {
        let json = encoded(&m);
        prop_assert_eq!(json["data"]["payload"].as_str(), exposed(&m.payload));
        prop_assert_eq!(&json["id"], &Value::from(m.id.to_string()));
        if !m.silent {
            prop_assert_eq!(json["notification"]["title"].as_str(), Some(m.title.expose()));
        }
        for service in ALL {
            let headers = all_headers(&m, service);
            prop_assert!(headers["ttl"].to_str().unwrap().parse::<u64>().unwrap() <= 2_419_200);
            prop_assert!(headers.get("topic").is_none_or(|topic| topic.len() == 32));
        }
    }

    #[test]
    fn padding_hides_the_length_within_a_block(length in 0usize..3993, block in 1usize..3993) {
        let padded = padded_len(length, block);
        prop_assert!(padded >= length && padded <= MAX_PLAINTEXT && padded < length + block);
        prop_assert!(padded.is_multiple_of(block) || padded == MAX_PLAINTEXT);
    }
}

#[test]
fn a_removal_names_the_tag_to_remove() {
    let removal = Message {
        act: pushgate::Act::Remove,
        collapse_key: Some("call-1".to_owned()),
        silent: true,
        ..sample()
    };
    let json = encoded(&removal);
    let zego: Value = serde_json::from_str(json["data"]["zego"].as_str().unwrap()).unwrap();
    assert_eq!((&zego["revoke"], json.get("notification")), (&"call-1".into(), None));
}
