//! APNs: the notifications that iOS shows, and broadcasts to the followers of a channel.

use pushgate_emulator::{DropReason, EventKind};
use serde_json::{Value, json};

use crate::apns_client::{AppServer, Push, TOPIC, now, status_and_reason};
use crate::fcm_client::Response;

#[tokio::test]
async fn an_alert_shows_its_text_badge_sound_and_thread() {
    let app = AppServer::new().await;
    let aps = json!({"alert": {"title": "Ann", "subtitle": "in Team", "body": "hello"}, "badge": 3,
        "sound": {"name": "ping", "critical": 1}, "thread-id": "team"});
    app.send(&app.valid_push().with_body(json!({"aps": aps, "conversation": "ann"}))).await;
    let shown = app.emulator.apns().inbox("bob").unwrap().remove(0);
    assert_eq!((shown.title.as_str(), shown.body.as_str()), ("Ann\nin Team", "hello"));
    assert_eq!(
        (shown.badge, shown.sound.as_deref(), shown.thread.as_deref()),
        (Some(3), Some("ping"), Some("team"))
    );
    assert_eq!((&shown.data["conversation"], shown.data.len(), shown.rings), (&json!("ann"), 1, false));
}

#[tokio::test]
async fn an_alert_replaces_the_shown_one_with_the_same_collapse_id() {
    let app = AppServer::new().await;
    for _ in 0..3 {
        app.send(&app.valid_push().with_header("apns-collapse-id", "ann")).await;
    }
    let inbox = app.emulator.apns().inbox("bob").unwrap();
    assert_eq!((inbox.len(), inbox[0].times_replaced), (1, 2));
}

#[tokio::test]
async fn a_call_rings() {
    let app = AppServer::new().await;
    let push = app.valid_push().with_push_type("voip", ".voip").to(&app.device.voip_token);
    app.send(&push.with_body(json!({"caller": "Ann"}))).await;
    let shown = app.emulator.apns().inbox("bob").unwrap().remove(0);
    assert_eq!((shown.rings, &shown.data["caller"]), (true, &json!("Ann")));
}

#[tokio::test]
async fn a_background_push_shows_nothing_and_needs_content_available() {
    let app = AppServer::new().await;
    let push = app.valid_push().with_header("apns-push-type", "background").with_header("apns-priority", "5");
    app.send(&push.clone().with_body(json!({"aps": {"content-available": 1}, "sync": true}))).await;
    let shown = app.emulator.apns().inbox("bob").unwrap().remove(0);
    assert_eq!((shown.silent, &shown.data["sync"]), (true, &json!(true)));
    for ignored_body in [json!({"aps": {}}).to_string(), "not json".to_owned()] {
        assert_eq!(
            app.send(&push.clone().with_body(ignored_body)).await.status,
            200,
            "APNs does not look inside"
        );
    }
    let dropped = EventKind::Dropped { device: "bob".to_owned(), why: DropReason::Meaningless };
    let recorded = app.emulator.apns().events(0).into_iter().filter(|event| event.kind == dropped).count();
    assert_eq!((recorded, app.shown_count()), (2, 1));
}

/// Returns a request for another path, without topic and push type.
fn channel_request(app: &AppServer, path: &str) -> Push {
    Push { path: path.to_owned(), ..app.valid_push() }.without("apns-topic").without("apns-push-type")
}

async fn manage_channel(app: &AppServer, method: http::Method, push: &Push) -> Response {
    let headers: Vec<_> = push.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if method == http::Method::POST {
        return app.send(push).await;
    }
    app.client.request_without_body(method, &push.path, &headers).await.unwrap()
}

#[tokio::test]
async fn a_channel_is_created_read_listed_used_and_deleted() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let channels = channel_request(&app, &format!("/1/apps/{TOPIC}/channels"));
    let new_channel = json!({"message-storage-policy": 1, "push-type": "LiveActivity"});
    let created = manage_channel(&app, http::Method::POST, &channels.clone().with_body(&new_channel)).await;
    let id = created.header("apns-channel-id").unwrap().to_owned();
    assert_eq!(
        (created.status, created.body.len(), created.header("apns-request-id").is_some()),
        (201, 0, true)
    );
    let named = channels.with_header("apns-channel-id", &id);
    let read = manage_channel(&app, http::Method::GET, &named).await;
    assert_eq!((read.status, read.json()), (200, new_channel));
    let all = manage_channel(
        &app,
        http::Method::GET,
        &channel_request(&app, &format!("/1/apps/{TOPIC}/all-channels")),
    )
    .await;
    assert_eq!((all.status, all.json()), (200, json!({"channels": [id]})));

    apns.follow("bob", &id);
    let update =
        json!({"aps": {"timestamp": now(), "event": "update", "content-state": {"home": 1, "away": 0}}});
    let send =
        channel_request(&app, &format!("/4/broadcasts/apps/{TOPIC}")).with_header("apns-channel-id", &id);
    let send = send
        .with_header("apns-push-type", "liveactivity")
        .with_header("apns-priority", "5")
        .with_body(update);
    assert_eq!(app.send(&send).await.status, 200);
    let shown = apns.inbox("bob").unwrap().remove(0);
    assert_eq!(shown.data["content-state"]["home"], 1);

    assert_eq!(manage_channel(&app, http::Method::DELETE, &named).await.status, 204);
    assert_eq!(
        status_and_reason(&manage_channel(&app, http::Method::GET, &named).await),
        (410, "ChannelNotRegistered".to_owned())
    );
    assert_eq!(status_and_reason(&app.send(&send).await), (410, "ChannelNotRegistered".to_owned()));
}

#[tokio::test]
async fn invalid_channels_and_broadcasts_have_their_own_reasons() {
    let app = AppServer::new().await;
    let channels = channel_request(&app, &format!("/1/apps/{TOPIC}/channels"));
    let reason = async |method, push: &Push| status_and_reason(&manage_channel(&app, method, push).await).1;
    for new_channel in
        [json!({}), json!({"message-storage-policy": 2, "push-type": "LiveActivity"}), Value::Null]
    {
        assert_eq!(
            reason(http::Method::POST, &channels.clone().with_body(new_channel)).await,
            "BadRequestPayload"
        );
    }
    assert_eq!(reason(http::Method::GET, &channels).await, "MissingChannelId");
    let malformed_id = channels.clone().with_header("apns-channel-id", "!");
    assert_eq!(reason(http::Method::GET, &malformed_id).await, "BadChannelId");
    let foreign = channel_request(&app, "/1/apps/com.example.other/channels");
    assert_eq!(reason(http::Method::GET, &foreign).await, "TopicDisallowed");

    let new_channel = json!({"message-storage-policy": 0, "push-type": "LiveActivity"});
    let created = manage_channel(&app, http::Method::POST, &channels.with_body(new_channel)).await;
    let send = channel_request(&app, &format!("/4/broadcasts/apps/{TOPIC}"));
    assert_eq!(reason(http::Method::POST, &send).await, "MissingPushType");
    let send = send.with_header("apns-push-type", "liveactivity");
    assert_eq!(reason(http::Method::POST, &send).await, "MissingChannelId");
    let send = send.with_header("apns-channel-id", created.header("apns-channel-id").unwrap());
    let stored = send.clone().with_header("apns-expiration", &(now() + 60).to_string());
    assert_eq!(
        reason(http::Method::POST, &stored).await,
        "BadExpirationDate",
        "the channel stores no messages"
    );
    assert_eq!(
        reason(http::Method::POST, &send.clone().with_header("apns-push-type", "alert")).await,
        "InvalidPushType"
    );
    assert_eq!(reason(http::Method::POST, &send.with_body("x".repeat(5121))).await, "PayloadTooLarge");
}
