//! Tests of messages: stored, sent to connected users, pushed to absent ones, replayed at login. Names begin with the
//! line of the acceptance list that they cover.

use pushgate_emulator::Subscription;
use serde_json::{Value, json};

use crate::client::{Client, Stage};
use crate::{shown, text_of};

/// A user in the group, with a browser.
async fn member(stage: &Stage, user: &str, browser: &Subscription) -> Client {
    let mut client = stage.login(user, &format!("{user}-web"), Some(browser)).await;
    client.ask("join", json!({"group": "friends"})).await.unwrap();
    client
}

/// A member of the group who has closed his page.
async fn away(stage: &Stage, user: &str) -> Subscription {
    let browser = stage.browser();
    member(stage, user, &browser).await.close().await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_01_who_closed_his_page_and_whose_connection_timed_out_is_pushed_to() {
    let stage = Stage::open_with(&["--silence-seconds=1"]).await;
    let browser = stage.browser();
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    // He says nothing; the server hangs up.
    bob.closed().await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    ann.send("bob", "peer", "gone?", shown("Ann")).await.unwrap();
    assert_eq!(stage.pushed(&browser).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_02_each_member_of_a_group_whose_connection_timed_out_is_pushed_to() {
    let stage = Stage::open_with(&["--silence-seconds=1"]).await;
    let browsers = [stage.browser(), stage.browser()];
    let mut bob = member(&stage, "bob", &browsers[0]).await;
    let mut eve = member(&stage, "eve", &browsers[1]).await;
    bob.closed().await;
    eve.closed().await;
    let mut ann = member(&stage, "ann", &stage.browser()).await;
    ann.send("friends", "group", "all of you", shown("Ann in friends")).await.unwrap();
    for browser in &browsers {
        let pushed = stage.pushed(browser).await;
        assert_eq!((pushed.len(), &pushed[0]["notification"]["title"]), (1, &json!("Ann in friends")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_07_a_push_token_is_bound_by_the_login_and_by_a_report_after_it() {
    let stage = Stage::open().await;
    let (before, after) = (stage.away("bob").await, stage.browser());
    let mut eve = stage.login("eve", "eve-web", None).await;
    let token = serde_json::to_string(&after).unwrap();
    eve.ask("report", json!({"push_token": token})).await.unwrap();
    eve.close().await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    for (user, browser) in [("bob", &before), ("eve", &after)] {
        ann.send(user, "peer", "hi", shown(user)).await.unwrap();
        assert_eq!(stage.pushed(browser).await[0]["notification"]["title"], user);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_12_what_cannot_be_stored_is_not_pushed() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    let messages = stage.table("messages");
    messages.execute_batch("ALTER TABLE waiting RENAME TO elsewhere").unwrap();
    let refused = ann.send("bob", "peer", "lost", shown("not stored")).await.unwrap_err();
    assert_eq!(refused["code"], 6_000_000);
    messages.execute_batch("ALTER TABLE elsewhere RENAME TO waiting").unwrap();
    ann.send("bob", "peer", "kept", shown("stored")).await.unwrap();
    assert_eq!(stage.pushed(&browser).await[0]["notification"]["title"], "stored");
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    assert_eq!(text_of(&bob.event("peerMessageReceived").await), "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_34_what_was_sent_meanwhile_comes_in_order_and_once_each_and_says_that_it_is_old() {
    let stage = Stage::open().await;
    let browser = stage.away("bob").await;
    let mut ann = stage.login("ann", "ann-web", None).await;
    let texts: Vec<_> = (0..20).map(|n| format!("message {n}")).collect();
    for text in &texts {
        ann.send("bob", "peer", text, Value::Null).await.unwrap();
    }
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    for text in &texts {
        let old = bob.event("peerMessageReceived").await;
        assert_eq!((text_of(&old), &old["info"]["isOfflineMessage"]), (text.as_str(), &json!(true)));
    }
    assert!(bob.heard().await.is_empty(), "each once");
    bob.close().await;
    let mut bob = stage.login("bob", "bob-web", Some(&browser)).await;
    assert!(bob.heard().await.is_empty(), "and what was acknowledged never again");
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_36_members_who_are_online_get_it_on_the_connection_and_neither_they_nor_the_sender_a_push() {
    let stage = Stage::open_with(&["--ack-seconds=1"]).await;
    let (eves, anns, fays) = (stage.browser(), stage.browser(), stage.browser());
    let bobs = away(&stage, "bob").await;
    let mut eve = member(&stage, "eve", &eves).await;
    let mut ann = member(&stage, "ann", &anns).await;
    let _asleep = member(&stage, "fay", &fays).await;
    ann.send("friends", "group", "all of you", shown("first")).await.unwrap();
    let heard = eve.event("groupMessageReceived").await;
    assert_eq!((text_of(&heard), &heard["info"]["isOfflineMessage"]), ("all of you", &json!(false)));
    // Fay does not say that she has it: when her push has come, the time to say so is over for all.
    for browser in [&bobs, &fays] {
        assert_eq!(stage.pushed(browser).await[0]["notification"]["title"], "first");
    }
    // When the others are away, too, the second is the first push that comes to them.
    eve.close().await;
    ann.close().await;
    let mut bob = member(&stage, "bob", &bobs).await;
    bob.send("friends", "group", "and now?", shown("second")).await.unwrap();
    for browser in [&eves, &anns] {
        assert_eq!(stage.pushed(browser).await[0]["notification"]["title"], "second");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_37_members_who_were_away_get_the_group_message_when_they_come() {
    let stage = Stage::open().await;
    for user in ["bob", "eve"] {
        away(&stage, user).await;
    }
    let mut ann = member(&stage, "ann", &stage.browser()).await;
    ann.send("friends", "group", "all of you", shown("Ann in friends")).await.unwrap();
    for user in ["bob", "eve"] {
        let mut client = stage.login(user, &format!("{user}-web"), None).await;
        let missed = client.event("groupMessageReceived").await;
        assert_eq!((text_of(&missed), &missed["fromConversationID"]), ("all of you", &json!("friends")));
        assert_eq!(missed["info"]["isOfflineMessage"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_sends_nothing_to_a_group() {
    let stage = Stage::open().await;
    let mut eve = stage.login("eve", "eve-web", None).await;
    let refused = eve.send("strangers", "group", "hello?", Value::Null).await.unwrap_err();
    assert_eq!(refused["code"], 6_000_001);
}
