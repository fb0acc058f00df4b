//! APNs: what iOS shows of a push, and broadcasts to all who follow a channel.

use pushgate_emulator::{DropReason, EventKind};
use serde_json::{Value, json};

use crate::apple::{App, Push, TOPIC, now, verdict};
use crate::client::Answer;

#[tokio::test]
async fn an_alert_shows_its_text_badge_sound_and_thread() {
    let app = App::new().await;
    let aps = json!({"alert": {"title": "Ann", "subtitle": "in Team", "body": "hello"}, "badge": 3,
        "sound": {"name": "ping", "critical": 1}, "thread-id": "team"});
    app.send(&app.hello().body(json!({"aps": aps, "conversation": "ann"}))).await;
    let shown = app.emulator.apns().inbox("bob").unwrap().remove(0);
    assert_eq!((shown.title.as_str(), shown.body.as_str()), ("Ann\nin Team", "hello"));
    assert_eq!(
        (shown.badge, shown.sound.as_deref(), shown.thread.as_deref()),
        (Some(3), Some("ping"), Some("team"))
    );
    assert_eq!((&shown.data["conversation"], shown.data.len(), shown.rings), (&json!("ann"), 1, false));
}

#[tokio::test]
async fn an_alert_under_the_same_collapse_id_takes_the_place_of_the_one_before() {
    let app = App::new().await;
    for _ in 0..3 {
        app.send(&app.hello().header("apns-collapse-id", "ann")).await;
    }
    let inbox = app.emulator.apns().inbox("bob").unwrap();
    assert_eq!((inbox.len(), inbox[0].times_replaced), (1, 2));
}

#[tokio::test]
async fn a_call_rings() {
    let app = App::new().await;
    let push = app.hello().kind("voip", ".voip").to(&app.phone.voip_token);
    app.send(&push.body(json!({"caller": "Ann"}))).await;
    let shown = app.emulator.apns().inbox("bob").unwrap().remove(0);
    assert_eq!((shown.rings, &shown.data["caller"]), (true, &json!("Ann")));
}

#[tokio::test]
async fn a_background_push_shows_nothing_and_needs_content_available() {
    let app = App::new().await;
    let push = app.hello().header("apns-push-type", "background").header("apns-priority", "5");
    app.send(&push.clone().body(json!({"aps": {"content-available": 1}, "sync": true}))).await;
    let shown = app.emulator.apns().inbox("bob").unwrap().remove(0);
    assert_eq!((shown.silent, &shown.data["sync"]), (true, &json!(true)));
    for meaningless in [json!({"aps": {}}).to_string(), "not json".to_owned()] {
        assert_eq!(app.send(&push.clone().body(meaningless)).await.status, 200, "APNs does not look inside");
    }
    let dropped = EventKind::Dropped { device: "bob".to_owned(), why: DropReason::Meaningless };
    let told = app.emulator.apns().events(0).into_iter().filter(|event| event.kind == dropped).count();
    assert_eq!((told, app.seen()), (2, 1));
}

/// A request to one of the app's own things.
fn own(app: &App, path: &str) -> Push {
    Push { path: path.to_owned(), ..app.hello() }.without("apns-topic").without("apns-push-type")
}

async fn manage(app: &App, method: http::Method, push: &Push) -> Answer {
    let headers: Vec<_> = push.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if method == http::Method::POST {
        return app.send(push).await;
    }
    app.client.method(method, &push.path, &headers).await.unwrap()
}

#[tokio::test]
async fn a_channel_is_made_read_listed_used_and_ended() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let channels = own(&app, &format!("/1/apps/{TOPIC}/channels"));
    let wish = json!({"message-storage-policy": 1, "push-type": "LiveActivity"});
    let made = manage(&app, http::Method::POST, &channels.clone().body(&wish)).await;
    let id = made.header("apns-channel-id").unwrap().to_owned();
    assert_eq!((made.status, made.body.len(), made.header("apns-request-id").is_some()), (201, 0, true));
    let named = channels.header("apns-channel-id", &id);
    let read = manage(&app, http::Method::GET, &named).await;
    assert_eq!((read.status, read.json()), (200, wish));
    let all = manage(&app, http::Method::GET, &own(&app, &format!("/1/apps/{TOPIC}/all-channels"))).await;
    assert_eq!((all.status, all.json()), (200, json!({"channels": [id]})));

    apns.follow("bob", &id);
    let update =
        json!({"aps": {"timestamp": now(), "event": "update", "content-state": {"home": 1, "away": 0}}});
    let send = own(&app, &format!("/4/broadcasts/apps/{TOPIC}")).header("apns-channel-id", &id);
    let send = send.header("apns-push-type", "liveactivity").header("apns-priority", "5").body(update);
    assert_eq!(app.send(&send).await.status, 200);
    let shown = apns.inbox("bob").unwrap().remove(0);
    assert_eq!(shown.data["content-state"]["home"], 1);

    assert_eq!(manage(&app, http::Method::DELETE, &named).await.status, 204);
    assert_eq!(
        verdict(&manage(&app, http::Method::GET, &named).await),
        (410, "ChannelNotRegistered".to_owned())
    );
    assert_eq!(verdict(&app.send(&send).await), (410, "ChannelNotRegistered".to_owned()));
}

#[tokio::test]
async fn what_is_wrong_with_a_channel_or_a_broadcast_has_its_reason() {
    let app = App::new().await;
    let channels = own(&app, &format!("/1/apps/{TOPIC}/channels"));
    let reason = async |method, push: &Push| verdict(&manage(&app, method, push).await).1;
    for wish in [json!({}), json!({"message-storage-policy": 2, "push-type": "LiveActivity"}), Value::Null] {
        assert_eq!(reason(http::Method::POST, &channels.clone().body(wish)).await, "BadRequestPayload");
    }
    assert_eq!(reason(http::Method::GET, &channels).await, "MissingChannelId");
    let bad = channels.clone().header("apns-channel-id", "!");
    assert_eq!(reason(http::Method::GET, &bad).await, "BadChannelId");
    let foreign = own(&app, "/1/apps/com.example.other/channels");
    assert_eq!(reason(http::Method::GET, &foreign).await, "TopicDisallowed");

    let wish = json!({"message-storage-policy": 0, "push-type": "LiveActivity"});
    let made = manage(&app, http::Method::POST, &channels.body(wish)).await;
    let send = own(&app, &format!("/4/broadcasts/apps/{TOPIC}"));
    assert_eq!(reason(http::Method::POST, &send).await, "MissingPushType");
    let send = send.header("apns-push-type", "liveactivity");
    assert_eq!(reason(http::Method::POST, &send).await, "MissingChannelId");
    let send = send.header("apns-channel-id", made.header("apns-channel-id").unwrap());
    let kept = send.clone().header("apns-expiration", &(now() + 60).to_string());
    assert_eq!(reason(http::Method::POST, &kept).await, "BadExpirationDate", "it has no storage");
    assert_eq!(
        reason(http::Method::POST, &send.clone().header("apns-push-type", "alert")).await,
        "InvalidPushType"
    );
    assert_eq!(reason(http::Method::POST, &send.body("x".repeat(5121))).await, "PayloadTooLarge");
}
