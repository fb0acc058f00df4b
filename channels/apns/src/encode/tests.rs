//! Tests of the encoding. Complete requests are in `golden/`.

use std::time::Duration;

use proptest::prelude::*;
use pushgate_kit::sample::message as sample;
use serde_json::json;

use super::*;

fn encoded(m: &Message) -> (HeaderMap, Value) {
    let style = Style { topic: "com.example.MyApp".to_owned(), sound: Some("default".to_owned()) };
    let encoded = encode(m, &Overrides::from_message(m, TokenKind::Token).unwrap(), &style);
    (encoded.headers, serde_json::from_str(&encoded.payload).unwrap())
}

fn header(m: &Message, name: &str) -> Option<String> {
    encoded(m).0.get(name).map(|value| value.to_str().unwrap().to_owned())
}

fn with(overrides: Value) -> Message {
    Message { overrides: Some(overrides), ..sample() }
}

fn refusal(overrides: Value) -> String {
    let fault = Overrides::from_message(&with(overrides), TokenKind::Token).err().expect("refused");
    assert_eq!(fault.kind, Kind::BadMessage);
    fault.detail
}

#[test]
fn every_push_type_has_its_topic_and_an_allowed_priority() {
    let rows = [
        ("alert", "com.example.MyApp", ["10", "5", "1"]),
        ("background", "com.example.MyApp", ["5", "5", "5"]),
        ("voip", "com.example.MyApp.voip", ["10", "5", "1"]),
        ("complication", "com.example.MyApp.complication", ["10", "5", "1"]),
        ("fileprovider", "com.example.MyApp.pushkit.fileprovider", ["10", "5", "1"]),
        ("mdm", "com.example.MyApp", ["10", "5", "1"]),
        ("location", "com.example.MyApp.location-query", ["10", "5", "1"]),
        ("liveactivity", "com.example.MyApp.push-type.liveactivity", ["10", "5", "5"]),
        ("pushtotalk", "com.example.MyApp.voip-ptt", ["10", "10", "10"]),
        ("widgets", "com.example.MyApp.push-type.widgets", ["10", "5", "1"]),
        ("controls", "com.example.MyApp.push-type.controls", ["10", "5", "1"]),
    ];
    for (kind, topic, priorities) in rows {
        for (priority, expected) in
            [Priority::High, Priority::Normal, Priority::Low].into_iter().zip(priorities)
        {
            let message = Message { priority, ..with(json!({"headers": {"apns-push-type": kind}})) };
            assert_eq!(header(&message, "apns-push-type").as_deref(), Some(kind));
            assert_eq!(header(&message, "apns-topic").as_deref(), Some(topic));
            assert_eq!(header(&message, "apns-priority").as_deref(), Some(expected), "{kind} {priority:?}");
        }
    }
}

#[test]
fn the_expiration_is_the_same_at_every_attempt_and_zero_for_now_or_never() {
    assert_eq!(header(&sample(), "apns-expiration").unwrap(), "1700003600");
    let half = Message { ttl: Duration::from_millis(1500), ..sample() };
    assert_eq!(header(&half, "apns-expiration").unwrap(), "1700000002");
    let long = Message { ttl: Duration::from_secs(40 * 86_400), ..sample() };
    assert_eq!(header(&long, "apns-expiration").unwrap(), "1702592000");
    assert_eq!(header(&Message { ttl: Duration::ZERO, ..sample() }, "apns-expiration").unwrap(), "0");
}

#[test]
fn a_silent_message_shows_nothing() {
    let silent = Message { silent: true, badge: None, image: Some("https://a/b".into()), ..sample() };
    let (headers, payload) = encoded(&silent);
    assert_eq!(
        (&headers["apns-push-type"], &headers["apns-priority"]),
        (&"background".parse().unwrap(), &"5".parse().unwrap())
    );
    assert_eq!(payload["aps"], json!({"content-available": 1}));
    assert!(payload.get("image").is_none() && headers.get("apns-collapse-id").is_none());
}

#[test]
fn a_silent_message_with_a_badge_still_sets_the_number() {
    let silent = Message { silent: true, badge: Some(0), ..sample() };
    assert_eq!(header(&silent, "apns-push-type").unwrap(), "alert");
    assert_eq!(encoded(&silent).1["aps"], json!({"badge": 0, "content-available": 1, "thread-id": "ann"}));
}

#[test]
fn a_duplicate_has_the_same_id_and_collapse_id() {
    let id = sample().id.to_string();
    assert_eq!(header(&sample(), "apns-id").unwrap(), id);
    assert_eq!(header(&sample(), "apns-collapse-id").unwrap(), id);
    assert_eq!(encoded(&sample()).1["zego"], json!({"version": 1, "zpns_request_id": id}));
}

#[test]
fn a_collapse_key_that_apple_does_not_allow_is_replaced_by_its_digest() {
    let id = |key: &str| {
        header(&Message { collapse_key: Some(key.to_owned()), ..sample() }, "apns-collapse-id").unwrap()
    };
    assert_eq!(id("conv:42"), "conv:42");
    assert_eq!(id(&"k".repeat(64)), "k".repeat(64));
    for key in ["k".repeat(65), "Gespräch".to_owned(), "two words".to_owned(), "a\nb".to_owned()] {
        assert_eq!(id(&key).len(), 32, "{key}");
    }
    assert_ne!(id("two words"), id("two  words"));
    assert_eq!(id(""), sample().id.to_string());
}

#[test]
fn a_voip_push_may_be_a_kibibyte_longer() {
    let style = Style { topic: "com.example.MyApp".to_owned(), sound: None };
    let counted = |m: &Message| {
        let encoded = encode(m, &Overrides::from_message(m, TokenKind::Token).unwrap(), &style);
        (encoded.counted(), encoded.payload.len())
    };
    let payload = Some("x".repeat(2000).into());
    let (alert, length) = counted(&Message { payload: payload.clone(), ..sample() });
    assert_eq!(alert, length);
    let (voip, length) =
        counted(&Message { payload, ..with(json!({"headers": {"apns-push-type": "voip"}})) });
    assert_eq!(voip, length - 1024);
    assert_eq!(counted(&with(json!({"headers": {"apns-push-type": "voip"}}))).0, 0);
}

#[test]
fn a_live_activity_has_the_timestamp_of_its_message() {
    let update = with(json!({
        "headers": {"apns-push-type": "liveactivity"},
        "aps": {"content-state": {"score": "2:1"}, "event": "end", "alert": null}
    }));
    let expected = json!({"timestamp": 1_700_000_000, "event": "end", "content-state": {"score": "2:1"}});
    assert_eq!(encoded(&update).1["aps"], expected);
}

#[test]
fn a_message_of_low_priority_does_not_light_the_screen() {
    let low = Message { priority: Priority::Low, ..sample() };
    assert_eq!(encoded(&low).1["aps"]["interruption-level"], "passive");
    assert!(encoded(&sample()).1["aps"].get("interruption-level").is_none());
}

#[test]
fn an_image_starts_the_apps_service_extension() {
    let (_, payload) = encoded(&Message { image: Some("https://app.example/a.png".into()), ..sample() });
    assert_eq!(
        (&payload["aps"]["mutable-content"], &payload["image"]),
        (&json!(1), &json!("https://app.example/a.png"))
    );
}

#[test]
fn overrides_are_merged_last_and_their_headers_are_not_part_of_the_payload() {
    let message = with(json!({
        "headers": {"apns-topic": "com.example.Other", "apns-priority": "5", "apns-collapse-id": "news"},
        "aps": {"sound": null, "alert": {"subtitle": "from Rome"}, "interruption-level": "time-sensitive"},
        "conversation": {"id": 7}, "payload": null
    }));
    let (headers, payload) = encoded(&message);
    for (name, value) in
        [("apns-topic", "com.example.Other"), ("apns-priority", "5"), ("apns-collapse-id", "news")]
    {
        assert_eq!(headers[name], value);
    }
    let alert = json!({"title": "Ann", "body": "hello", "subtitle": "from Rome"});
    assert_eq!((&payload["aps"]["alert"], &payload["conversation"]), (&alert, &json!({"id": 7})));
    for removed in [payload.get("headers"), payload.get("payload"), payload["aps"].get("sound")] {
        assert_eq!(removed, None);
    }
}

#[test]
fn overrides_that_apple_would_refuse_are_refused_and_not_quoted() {
    let cases = [
        (json!("s3cret"), "must be a JSON object"),
        (json!({"headers": "s3cret"}), "headers may hold"),
        (json!({"headers": {"authorization": "s3cret"}}), "headers may hold"),
        (json!({"headers": {"apns-id": "s3cret"}}), "headers may hold"),
        (json!({"headers": {"apns-push-type": "s3cret"}}), "headers may hold"),
        (json!({"headers": {"apns-priority": {"s3cret": 1}}}), "apns-priority"),
        (json!({"headers": {"apns-topic": "s3cret\r\nx: y"}}), "not a topic"),
        (json!({"headers": {"apns-topic": ""}}), "not a topic"),
        (json!({"headers": {"apns-priority": 7}}), "apns-priority"),
        (json!({"headers": {"apns-priority": "s3cret"}}), "apns-priority"),
        (json!({"headers": {"apns-push-type": "background", "apns-priority": 10}}), "apns-priority"),
    ];
    for (overrides, why) in cases {
        let detail = refusal(overrides);
        assert!(detail.contains(why) && !detail.contains("s3cret"), "{detail}");
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
    fn any_message_is_encoded_with_its_texts_unchanged(m in any_message()) {
        let (headers, payload) = encoded(&m);
        prop_assert_eq!(payload["payload"].as_str(), m.payload.as_ref().map(Secret::expose));
        if !m.silent && !m.title.expose().is_empty() {
            prop_assert_eq!(payload["aps"]["alert"]["title"].as_str(), Some(m.title.expose()));
        }
        prop_assert!(headers.get("apns-collapse-id").is_none_or(|id| id.len() <= 64));
    }
}

#[test]
fn a_ring_names_its_call_and_a_removal_the_tag_to_remove() {
    let key = Some("call-1".to_owned());
    let call = pushgate::CallId::new("call-1").unwrap();
    let ring = Message { act: Act::Ring { call, voip: false }, collapse_key: key.clone(), ..sample() };
    assert_eq!(encoded(&ring).1["zego"]["call_id"], "call-1");
    let removal = Message { act: Act::Remove, collapse_key: key, silent: true, ..sample() };
    assert_eq!(encoded(&removal).1["zego"]["revoke"], "call-1");
    // The same content as the text of `Message::note`.
    for m in [sample(), ring, removal] {
        assert_eq!(serde_json::from_str::<Value>(&m.note()).unwrap(), encoded(&m).1["zego"]);
    }
}
