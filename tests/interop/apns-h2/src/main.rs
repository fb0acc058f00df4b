//! The unmodified crate `apns-h2`, the living descendant of `a2`, sends to a living iPhone and to a dead one.

use std::env::var;
use std::fs::File;

use apns_h2::{
    Client, ClientConfig, CollapseId, DefaultNotificationBuilder, Endpoint, Error, ErrorReason,
    NotificationBuilder, NotificationOptions, PushType, Response,
};

fn set(name: &str) -> String {
    var(name).expect("tests/interop/run sets it")
}

async fn send(client: &Client, token: &str) -> Result<Response, Error> {
    let (title, content, topic) = (set("TITLE"), set("CONTENT"), set("APNS_TOPIC"));
    let builder = DefaultNotificationBuilder::new().title(&title).body(&content);
    let options = NotificationOptions {
        apns_topic: Some(&topic),
        apns_push_type: Some(PushType::Alert),
        apns_collapse_id: Some(CollapseId::new("interop").expect("short enough")),
        ..NotificationOptions::default()
    };
    let mut payload = builder.build(token, options);
    payload.add_custom_data("payload", &set("PAYLOAD")).expect("a text is JSON");
    client.send(payload).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut key = File::open(set("APNS_KEY")).expect("a key");
    let config = ClientConfig::new(Endpoint::Production);
    let client = Client::token(&mut key, set("APNS_KEY_ID"), set("APNS_TEAM_ID"), config).expect("a client");
    for _ in 0..20 {
        let sent = send(&client, &set("TOKEN")).await.expect("the living iPhone is taken");
        assert_eq!(sent.code, 200);
    }
    match send(&client, &set("DEAD_TOKEN")).await {
        Err(Error::ResponseError(Response { code: 410, error: Some(body), .. }))
            if body.reason == ErrorReason::Unregistered =>
        {
            println!("dead since {:?}", body.timestamp);
        }
        other => panic!("a dead token is 410 Unregistered, not {other:?}"),
    }
}
