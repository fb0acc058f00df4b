//! Tests of the encoding. Complete requests are in `golden/`.

use std::time::Duration;

use proptest::prelude::*;
use pushgate::EventEndpoint;
use pushgate_kit::sample::message as sample;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(crate) fn address(kind: TokenKind) -> Address {
    pushgate_kit::sample::address("fcm", kind, "tok\"en")
}

fn body(m: &Message) -> Value {
    let json = request(&message(m, &Style::default(), NOW, 0), &address(TokenKind::Token));
    serde_json::from_str(&json).unwrap()
}

#[test]
fn the_topic_is_a_digest_every_push_service_takes() {
    assert_eq!(collapse_key_digest("conv:42"), "vQgyPC3A4_7oVyWQ1Gs0u8SgO7WE6CAU");
}

#[test]
fn a_silent_message_shows_nothing_anywhere() {
    let body = body(&Message { silent: true, badge: None, image: Some("https://a/b".into()), ..sample() });
    let text = body.to_string();
    assert!(!text.contains("notification\"") && !text.contains("sound") && !text.contains("https://a/b"));
    assert_eq!(body["message"]["apns"]["headers"]["apns-push-type"], "background");
    assert_eq!(body["message"]["apns"]["headers"]["apns-priority"], "5");
    assert_eq!(body["message"]["apns"]["payload"]["aps"]["content-available"], 1);
}

#[test]
fn a_silent_message_with_a_badge_still_sets_the_number() {
    let body = body(&Message { silent: true, badge: Some(0), ..sample() });
    assert_eq!(body["message"]["apns"]["headers"]["apns-push-type"], "alert");
    assert_eq!(body["message"]["apns"]["payload"]["aps"]["badge"], 0);
}

#[test]
fn an_empty_collapse_key_is_none() {
    let body = body(&Message { collapse_key: Some(String::new()), ..sample() });
    assert_eq!(body["message"]["webpush"]["notification"]["tag"], sample().id.to_string());
    assert!(body["message"]["webpush"]["notification"].get("renotify").is_none());
    assert!(body["message"]["android"].get("collapse_key").is_none());
}

#[test]
fn a_link_that_fcm_refuses_is_left_out() {
    let body = body(&Message { link: Some("myapp://ann".into()), ..sample() });
    assert!(body["message"]["webpush"].get("fcm_options").is_none());
}

#[test]
fn an_override_is_merged_last_and_cannot_choose_the_target() {
    let patch = serde_json::json!({"token": "evil", "topic": "all", "condition": "x", "fid": "evil",
        "android": {"priority": null, "ttl": "1s", "notification": {"color": "#ff0000"}}, "data": "gone"});
    let body = body(&Message { overrides: Some(patch), ..sample() });
    let message = &body["message"];
    assert_eq!(message["token"], "tok\"en");
    assert!(["topic", "condition", "fid"].iter().all(|target| message.get(target).is_none()));
    assert_eq!((&message["android"]["ttl"], &message["data"]), (&"1s".into(), &"gone".into()));
    assert_eq!(message["android"]["notification"]["color"], "#ff0000");
    assert_eq!(message["android"]["notification"]["notification_count"], 3);
    assert!(message["android"].get("priority").is_none());
}

#[test]
fn an_override_that_empties_the_message_leaves_a_request_with_a_target() {
    let nothing = serde_json::json!({"notification": null, "data": null, "webpush": null, "android": null, "apns": null});
    let body = body(&Message { overrides: Some(nothing), ..sample() });
    assert_eq!(body, serde_json::json!({"message": {"token": "tok\"en"}}));
}

#[test]
fn each_target_gets_a_receipt_token_of_its_own_in_as_many_bytes() {
    let url = "https://push.example/v1/receipts".to_owned();
    let m = Message { event_endpoint: Some(EventEndpoint::new(url, "key".into())), ..sample() };
    let texts = [0, 1, u32::MAX].map(|target| message(&m, &Style::default(), NOW, target));
    let receipt = |text: &String| {
        let zego = serde_json::from_str::<Value>(text).unwrap()["data"]["zego"].as_str().unwrap().to_owned();
        serde_json::from_str::<Value>(&zego).unwrap()["receipt"].as_str().unwrap().to_owned()
    };
    let receipts: Vec<_> = texts.iter().map(receipt).collect();
    assert!(receipts.iter().all(|receipt| receipt.starts_with("https://push.example/v1/receipts#")));
    assert!(receipts[0] != receipts[1] && texts.iter().all(|text| text.len() == texts[0].len()));
    assert!(!body(&sample()).to_string().contains("receipt"), "nobody wants to know");
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
            thread: some[1].then(|| key.clone()),
            category: some[2].then(|| key.clone()),
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
    fn any_message_makes_valid_json_with_data_and_headers_of_texts_only(m in any_message()) {
        let body = body(&m);
        let message = &body["message"];
        for texts in [&message["data"], &message["webpush"]["headers"], &message["apns"]["headers"]] {
            prop_assert!(texts.as_object().unwrap().values().all(Value::is_string));
        }
        prop_assert_eq!(message["data"]["payload"].as_str(), exposed(&m.payload));
        if !m.silent {
            prop_assert_eq!(message["notification"]["title"].as_str(), Some(m.title.expose()));
        }
        prop_assert!(message["apns"]["headers"]["apns-collapse-id"].as_str().unwrap().len() <= 64);
    }

    #[test]
    fn any_token_is_sent_as_it_is(token in ".{0,200}") {
        let to = Address { token: token.as_str().into(), ..address(TokenKind::Fid) };
        let json = request(&message(&sample(), &Style::default(), NOW, 0), &to);
        let body: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(body["message"]["fid"].as_str(), Some(token.as_str()));
    }
}
