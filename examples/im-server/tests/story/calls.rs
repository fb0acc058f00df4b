//! Tests of calls: they ring for absent invitees, continue when invitees connect, and end. Names begin with the line
//! of the acceptance list that they cover.

use pushgate_emulator::ReceivedPush;
use serde_json::{Value, json};

use crate::client::{Client, Stage};
use crate::shown;

/// Ann, who calls Bob for so long.
async fn ann_calls_bob(stage: &Stage, seconds: u64) -> (Client, Value) {
    let mut ann = stage.login("ann", "ann-web", None).await;
    let asked = json!({"invitees": ["bob"], "timeout": seconds, "extended_data": "video", "push": shown("Ann calls")});
    let call = ann.ask("call_invite", asked).await.unwrap();
    (ann, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_45_who_comes_before_the_timeout_is_invited_to_the_same_call_with_the_time_that_is_left() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let (_ann, call) = ann_calls_bob(&stage, 60).await;
    let called_at = std::time::Instant::now();
    assert_eq!(stage.pushed(&browser).await[0]["notification"]["tag"], call["callID"]);
    // Time goes by until the seconds that are left are fewer than those that were asked for.
    let mut timeouts = Vec::new();
    while called_at.elapsed() < std::time::Duration::from_secs(20) {
        let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
        let invitation = bob.event("callInvitationReceived").await;
        let told = [&invitation["callID"], &invitation["caller"], &invitation["extendedData"]];
        assert_eq!(told, [&call["callID"], &json!("ann"), &json!("video")]);
        timeouts.push(invitation["timeout"].as_f64().unwrap());
        if timeouts.last() < timeouts.first() {
            break;
        }
        bob.close().await;
    }
    let (first, last) = (timeouts[0], timeouts[timeouts.len() - 1]);
    assert!(first <= 60.0 && last < first && last > 30.0, "{first} {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_46_a_call_that_was_given_up_or_is_over_does_not_ring_any_more() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let (mut ann, given_up) = ann_calls_bob(&stage, 60).await;
    ann.ask("call_cancel", json!({"call": given_up["callID"]})).await.unwrap();
    let (mut ann, over) = ann_calls_bob(&stage, 1).await;
    assert_eq!(ann.event("callInviteesAnsweredTimeout").await["callID"], over["callID"]);
    let (mut ann, answered) = ann_calls_bob(&stage, 60).await;
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    let ringing = bob.event("callInvitationReceived").await;
    assert_eq!(ringing["callID"], answered["callID"], "the last one alone");
    bob.ask("call_reject", json!({"call": answered["callID"]})).await.unwrap();
    ann.event("callInvitationRejected").await;
    bob.close().await;
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    assert!(bob.heard().await.is_empty());
    for call in [given_up, over, answered] {
        let refused = bob.ask("call_accept", json!({"call": call["callID"]})).await.unwrap_err();
        assert!(refused["message"].as_str().unwrap().contains("ended"), "{refused}");
    }
    // What takes a ring off the screen shows nothing, and may come late.
    let rings =
        |push: &&ReceivedPush| push.text.as_ref().is_some_and(|text| text.contains("\"notification\""));
    let inbox = stage.emulator.webpush().inbox(&browser);
    let lives = inbox.iter().filter(rings).map(|push| push.ttl).collect::<Vec<_>>();
    assert!(lives.iter().all(|ttl| *ttl <= 60) && lives.iter().any(|ttl| *ttl <= 1), "{lives:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_47_a_call_is_accepted_after_coming_online_this_way() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let (mut ann, call) = ann_calls_bob(&stage, 60).await;
    stage.pushed(&browser).await;
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    let invitation = bob.event("callInvitationReceived").await;
    bob.ask("call_accept", json!({"call": invitation["callID"]})).await.unwrap();
    let accepted = ann.event("callInvitationAccepted").await;
    assert_eq!((&accepted["callID"], &accepted["invitee"]), (&call["callID"], &json!("bob")));
    bob.close().await;
    let mut bob = stage.login("bob", "bob-web", None).await;
    assert!(bob.heard().await.is_empty(), "an answered call does not ring");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_at_all_is_told_to_the_caller_under_both_names() {
    let stage = Stage::open().await;
    stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    let call = ann.ask("call_invite", json!({"invitees": ["bob", "nobody"], "timeout": 60})).await.unwrap();
    assert_eq!(call["timeout"], 60);
    assert_eq!(call["errorInvitees"], json!([{"userID": "nobody", "reason": 1}]));
    assert_eq!(call["errorUserList"], call["errorInvitees"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_a_call_is_1_to_600_seconds_and_90_unless_said() {
    let stage = Stage::open().await;
    stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    for wrong in [0, 601] {
        let asked = json!({"invitees": ["bob"], "timeout": wrong});
        assert_eq!(ann.ask("call_invite", asked).await.unwrap_err()["code"], 6_000_001);
    }
    assert_eq!(ann.ask("call_invite", json!({"invitees": ["bob"]})).await.unwrap()["timeout"], 90);
}
