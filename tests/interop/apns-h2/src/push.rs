//! One notification, as the crate builds it.

use std::env::var;

use apns_h2::{
    Client, CollapseId, DefaultNotificationBuilder, Error, NotificationBuilder, NotificationOptions,
    PushType, Response,
};

pub(crate) fn set(name: &str) -> String {
    var(name).expect("tests/interop/run sets it")
}

pub(crate) async fn send(client: &Client, token: &str) -> Result<Response, Error> {
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
