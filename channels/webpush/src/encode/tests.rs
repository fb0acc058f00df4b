//! What every message becomes. The requests as push services see them, and the texts as a service worker reads them, are in
//! `golden/`.

use std::time::Duration;

use proptest::prelude::*;
use pushgate_kit::sample::message as sample;
use serde_json::json;

use super::*;
use crate::vapid::{Vapid, private_key, tests::PRIVATE};

fn read(message: &Message) -> Value {
    let style = Style { icon: Some("/icon.png".into()), badge_icon: None };
    serde_json::from_slice(&text(message, &style, 0)).unwrap()
}

fn all_headers(message: &Message, service: Service) -> HeaderMap {
    let vapid = Vapid::new(private_key(PRIVATE).unwrap(), "mailto:push@example.com");
    let now = message.created_at;
    let mut headers = headers(message);
    add_for(&mut headers, service, message.seconds_left(now), &vapid.token("https://a.test", now).unwrap());
    headers
}

const ALL: [Service; 5] =
    [Service::Mozilla, Service::Google, Service::Apple, Service::Windows, Service::Other];

#[test]
fn the_topic_is_a_digest_every_push_service_takes() {
    assert_eq!(digest_of("conv:42"), "vQgyPC3A4_7oVyWQ1Gs0u8SgO7WE6CAU");
    let with = Message { collapse_key: Some("conv:42".into()), ..sample() };
    assert_eq!(headers(&with)["topic"], "vQgyPC3A4_7oVyWQ1Gs0u8SgO7WE6CAU");
}

#[test]
fn without_a_collapse_key_there_is_no_topic_and_the_tag_is_the_id() {
    for key in [None, Some(String::new())] {
        let message = Message { collapse_key: key, ..sample() };
        assert!(headers(&message).get("topic").is_none());
        let text = read(&message);
        assert_eq!(text["notification"]["tag"], sample().id.to_string());
        assert!(text["notification"].get("renotify").is_none());
    }
}

#[test]
fn now_or_never_is_zero_except_where_zero_is_refused() {
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
fn windows_alone_is_told_how_to_keep_it() {
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
        assert_eq!(headers(&Message { priority, ..sample() })["urgency"], urgency);
    }
}

#[test]
fn a_silent_message_has_nothing_to_show_and_keeps_its_data() {
    let text = read(&Message { silent: true, image: Some("https://a/b".into()), ..sample() });
    assert!(text.get("notification").is_none() && !text.to_string().contains("https://a/b"));
    assert_eq!(text["data"]["payload"], r#"{"conversation":"ann"}"#);
    assert_eq!(text["app_badge"], 3);
}

#[test]
fn a_link_no_browser_may_open_is_left_out() {
    for link in ["myapp://ann", "http://app.example/ann", "javascript:alert(1)"] {
        let text = read(&Message { link: Some(link.into()), ..sample() });
        assert!(text["notification"].get("navigate").is_none(), "{link}");
    }
}

#[test]
fn an_override_is_merged_last_and_null_removes() {
    let patch = json!({"web_push": 8030, "notification": {"requireInteraction": true, "icon": null}, "app_badge": null});
    let text = read(&Message { overrides: Some(patch), ..sample() });
    assert_eq!(text["web_push"], 8030);
    assert_eq!(text["notification"]["requireInteraction"], true);
    assert_eq!(text["notification"]["title"], "Ann");
    assert!(text["notification"].get("icon").is_none() && text.get("app_badge").is_none());
}

#[test]
fn texts_are_filled_up_to_whole_blocks_and_never_beyond_what_fits() {
    for (length, block, filled) in [
        (1, 0, 1),
        (1, 128, 128),
        (128, 128, 128),
        (129, 128, 256),
        (3900, 128, 3968),
        (3969, 128, 3993),
        (3993, 128, 3993),
        (5, 3993, 3993),
    ] {
        assert_eq!(filled_up(length, block), filled, "{length} in blocks of {block}");
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
    fn any_message_makes_json_a_worker_can_read_and_headers_a_service_can(m in any_message()) {
        let text = read(&m);
        prop_assert_eq!(text["data"]["payload"].as_str(), exposed(&m.payload));
        prop_assert_eq!(&text["id"], &Value::from(m.id.to_string()));
        if !m.silent {
            prop_assert_eq!(text["notification"]["title"].as_str(), Some(m.title.expose()));
        }
        for service in ALL {
            let headers = all_headers(&m, service);
            prop_assert!(headers["ttl"].to_str().unwrap().parse::<u64>().unwrap() <= 2_419_200);
            prop_assert!(headers.get("topic").is_none_or(|topic| topic.len() == 32));
        }
    }

    #[test]
    fn filling_up_hides_the_length_within_a_block(length in 0usize..3993, block in 1usize..3993) {
        let filled = filled_up(length, block);
        prop_assert!(filled >= length && filled <= MAX_PLAIN && filled < length + block);
        prop_assert!(filled.is_multiple_of(block) || filled == MAX_PLAIN);
    }
}

#[test]
fn a_removal_tells_the_worker_which_tag_is_to_go() {
    let removal = Message {
        act: pushgate::Act::Remove,
        collapse_key: Some("call-1".to_owned()),
        silent: true,
        ..sample()
    };
    let read = read(&removal);
    let zego: Value = serde_json::from_str(read["data"]["zego"].as_str().unwrap()).unwrap();
    assert_eq!((&zego["revoke"], read.get("notification")), (&"call-1".into(), None));
}
