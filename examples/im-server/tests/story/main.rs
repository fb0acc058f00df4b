//! The story of offline push, told with clients of the IM server and virtual browsers of the emulator.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod calls;
mod client;
mod messages;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::Stage;
use pushgate_emulator::Subscription;
use serde_json::{Value, json};

fn shown(title: &str) -> Value {
    json!({"title": title, "content": "hello", "payload": "{\"conversation\":\"ann\"}"})
}

fn text_of(data: &Value) -> &str {
    data["messageList"][0]["message"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_18_who_is_away_is_pushed_to_and_finds_the_message_itself_when_he_comes() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    let sent = ann.send("bob", "peer", "are you there?", shown("Ann")).await.unwrap();
    assert_eq!(sent["message"]["message"], "are you there?");

    let pushed = stage.pushed(&browser).await;
    assert_eq!(pushed[0]["notification"]["title"], "Ann");
    assert_eq!(pushed[0]["notification"]["body"], "hello");
    assert_eq!(pushed[0]["data"]["payload"], "{\"conversation\":\"ann\"}");

    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    let missed = bob.event("peerMessageReceived").await;
    assert_eq!((text_of(&missed), &missed["info"]["isOfflineMessage"]), ("are you there?", &json!(true)));
    bob.close().await;
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    assert!(bob.heard().await.is_empty(), "what has arrived does not come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_14_who_is_online_and_says_so_gets_the_message_and_no_push() {
    let stage = Stage::open_with(&["--ack-seconds=1"]).await;
    let browser = stage.browser();
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    let eves = stage.browser();
    let _asleep = stage.login("eve", "eve-web", Some(&eves)).await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("bob", "peer", "hi", shown("for nobody")).await.unwrap();
    let heard = bob.event("peerMessageReceived").await;
    assert_eq!((text_of(&heard), &heard["info"]["isOfflineMessage"]), ("hi", &json!(false)));
    // Eve does not say that she has hers: when she is pushed to, the time to say so is over for Bob as well.
    ann.send("eve", "peer", "hi", shown("for Eve")).await.unwrap();
    stage.pushed(&eves).await;
    // The push of a later message is the first that comes.
    bob.close().await;
    ann.send("bob", "peer", "and now?", shown("for Bob")).await.unwrap();
    assert_eq!(stage.pushed(&browser).await[0]["notification"]["title"], "for Bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_does_not_acknowledge_in_time_is_pushed_to_as_well() {
    let stage = Stage::open_with(&["--ack-seconds=1"]).await;
    let browser = stage.browser();
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("bob", "peer", "asleep?", shown("Ann")).await.unwrap();
    bob.unacknowledged("peerMessageReceived").await;
    assert_eq!(stage.pushed(&browser).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_title_or_content_nothing_is_pushed_and_the_message_waits_all_the_same() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    for push in [Value::Null, json!({"title": "", "content": "x"}), json!({"title": "x", "content": ""})] {
        ann.send("bob", "peer", "quiet", push).await.unwrap();
    }
    ann.send("bob", "peer", "loud", shown("Ann")).await.unwrap();
    assert_eq!(stage.pushed(&browser).await.len(), 1);
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    for expected in ["quiet", "quiet", "quiet", "loud"] {
        assert_eq!(text_of(&bob.event("peerMessageReceived").await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_name_of_the_payload_is_still_taken() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    let push = json!({"title": "Ann", "content": "hi", "extendedData": "ünï \"code\""});
    ann.send("bob", "peer", "hi", push).await.unwrap();
    assert_eq!(stage.pushed(&browser).await[0]["data"]["payload"], "ünï \"code\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_logout_the_browser_is_the_next_users_and_the_first_ones_pushes_do_not_come() {
    let stage = Stage::open().await;
    let browser = stage.browser();
    let mut ann = stage.login("ann", "one-web", Some(&browser)).await;
    ann.ask("logout", json!({})).await.unwrap();
    stage.login("bob", "one-web", Some(&browser)).await.close().await;
    let mut eve = stage.login("eve", "eve-web", None).await;
    eve.send("ann", "peer", "for ann", shown("for Ann")).await.unwrap();
    eve.send("bob", "peer", "for bob", shown("for Bob")).await.unwrap();
    assert_eq!(stage.pushed(&browser).await[0]["notification"]["title"], "for Bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_logout_the_next_login_moves_the_browser() {
    let stage = Stage::open().await;
    let browser = stage.browser();
    stage.login("ann", "one-web", Some(&browser)).await.close().await;
    stage.login("bob", "other-name-web", Some(&browser)).await.close().await;
    let mut eve = stage.login("eve", "eve-web", None).await;
    eve.send("ann", "peer", "for ann", shown("for Ann")).await.unwrap();
    eve.send("bob", "peer", "for bob", shown("for Bob")).await.unwrap();
    assert_eq!(stage.pushed(&browser).await[0]["notification"]["title"], "for Bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_push_token_ends_the_pushes_of_this_browser_alone() {
    let stage = Stage::open().await;
    let (one, other) = (stage.browser(), stage.browser());
    let mut first = stage.login("bob", "one-web", Some(&one)).await;
    first.ask("report", json!({"push_token": ""})).await.unwrap();
    first.close().await;
    stage.login("bob", "other-web", Some(&other)).await.close().await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("bob", "peer", "hi", shown("Ann")).await.unwrap();
    assert_eq!(stage.pushed(&other).await.len(), 1);
    assert!(stage.inbox(&one).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_none_lets_nobody_in_and_a_push_token_that_is_none_is_told() {
    let stage = Stage::open().await;
    let refused = stage.try_login("forged.token", "web", "").await;
    assert_eq!(refused["code"], 6_000_121);
    let mut ann = stage.login("ann", "ann-web", None).await;
    let inside = json!({"endpoint": "https://127.0.0.1/x", "keys": {"p256dh": "x", "auth": "x"}});
    let refused = ann.ask("report", json!({"push_token": inside.to_string()})).await.unwrap_err();
    assert_eq!(refused["code"], 6_000_401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_on_disk_before_anybody_is_told() {
    let stage = Stage::open().await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("bob", "peer", "kept", Value::Null).await.unwrap();
    let kept: i64 =
        stage.table("messages").query_row("SELECT count(*) FROM waiting", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_by_the_token_in_the_push_what_became_of_it() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("bob", "peer", "hi", shown("Ann")).await.unwrap();
    let pushed = stage.pushed(&browser).await;
    let zego: Value = serde_json::from_str(pushed[0]["data"]["zego"].as_str().unwrap()).unwrap();
    let (path, token) = zego["receipt"].as_str().unwrap().split_once('#').unwrap();
    for event in ["arrived", "clicked", "clicked"] {
        assert_eq!(stage.post(path, &json!({"token": token, "event": event})).await, 204);
    }
    assert_eq!(stage.post(path, &json!({"token": "forged", "event": "arrived"})).await, 404);
    assert_eq!(stage.post(path, &json!({"event": "arrived"})).await, 400);
    let told = "SELECT count(*) FROM echoes WHERE arrived_at IS NOT NULL AND clicked_at IS NOT NULL";
    let kept: i64 = stage.table("push").query_row(told, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}

/// A push id as the service worker writes it.
fn push_id(browser: &Subscription) -> Value {
    let token = serde_json::to_string(browser).unwrap();
    let [high, low] = u16::try_from(token.len()).unwrap().to_be_bytes();
    let head = [0xaf, 0, 1, 1, 7, 0, 5, high, low];
    json!({"push_id": STANDARD.encode([&head[..], b"2.5.0", token.as_bytes()].concat())})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reports_a_changed_subscription_by_the_old_one_with_no_page_open() {
    let stage = Stage::open().await;
    let (old, new, other) = (stage.away("bob").await, stage.browser(), stage.away("eve").await);
    let rotate =
        async |old: &Value, new: &Value| stage.post("/rotate", &json!({"old": old, "new": new})).await;
    assert_eq!(rotate(&push_id(&old), &push_id(&new)).await, 204);
    assert_eq!(rotate(&push_id(&other), &push_id(&new)).await, 204, "and it stays bob's");
    for wrong in
        [json!({"push_id": "nonsense"}), json!({"push_id": STANDARD.encode([0xaf, 0, 1, 1])}), json!(7)]
    {
        assert_eq!(rotate(&push_id(&new), &wrong).await, 400);
    }
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("eve", "peer", "hi", shown("for eve")).await.unwrap();
    ann.send("bob", "peer", "hi", shown("for bob")).await.unwrap();
    assert_eq!(stage.pushed(&new).await[0]["notification"]["title"], "for bob");
    assert!(stage.inbox(&old).is_empty());
}

fn zego(push: &Value) -> Value {
    serde_json::from_str(push["data"]["zego"].as_str().unwrap()).unwrap()
}

async fn calls(ann: &mut client::Client, push: Value) -> Value {
    let asked = json!({"invitees": ["bob"], "timeout": 60, "push": push});
    ann.ask("call_invite", asked).await.unwrap()["callID"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_calls_ring_is_taken_back_or_makes_room_for_what_the_caller_says() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    let mut ring = shown("Ann calls");
    ring["resourcesID"] = "call".into();
    let call = calls(&mut ann, ring).await;
    // It has rung: what has not yet never does.
    stage.pushes(&browser, 1).await;
    ann.ask("call_cancel", json!({"call": call})).await.unwrap();
    let pushes = stage.pushes(&browser, 2).await;
    let shown_until = &pushes[0]["notification"];
    assert_eq!((&shown_until["tag"], &shown_until["requireInteraction"]), (&call, &json!(true)));
    assert_eq!(
        (zego(&pushes[0])["call_id"].clone(), &pushes[1]["notification"]),
        (call.clone(), &Value::Null)
    );
    assert_eq!(zego(&pushes[1])["revoke"], call);

    let call = calls(&mut ann, shown("Ann calls")).await;
    stage.pushes(&browser, 3).await;
    let missed = json!({"title": "Ann called", "content": "call her back"});
    ann.ask("call_cancel", json!({"call": call, "push": missed})).await.unwrap();
    let last = stage.pushes(&browser, 4).await.remove(3);
    assert_eq!((&last["notification"]["title"], &last["notification"]["tag"]), (&"Ann called".into(), &call));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_answered_or_over_rings_no_more_where_the_page_is_closed() {
    let stage = Stage::open().await;
    let (browser, mut ann) = (stage.away("bob").await, stage.login("ann", "ann-web", None).await);
    let answered = calls(&mut ann, shown("Ann calls")).await;
    stage.pushes(&browser, 1).await;
    let mut bob = stage.login("bob", "another-web", None).await;
    bob.ask("call_accept", json!({"call": answered})).await.unwrap();
    assert_eq!(zego(&stage.pushes(&browser, 2).await[1])["revoke"], answered);
    bob.close().await;
    let asked = json!({"invitees": ["bob"], "timeout": 1, "push": shown("Ann calls")});
    let over = ann.ask("call_invite", asked).await.unwrap()["callID"].clone();
    let pushes = stage.pushes(&browser, 4).await;
    assert_eq!((&pushes[2]["notification"]["tag"], &zego(&pushes[3])["revoke"]), (&over, &over));
}
