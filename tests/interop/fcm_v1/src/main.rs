//! The unmodified crate `fcm_v1` sends to a living device and to a dead one.

use std::collections::HashMap;
use std::env::var;
use std::time::Duration;

use fcm_v1::auth::Authenticator;
use fcm_v1::message::{Message, Notification};
use fcm_v1::{Client, Error};

fn message(token: &str) -> Message {
    Message {
        token: Some(var(token).expect("tests/interop/run sets it")),
        notification: Some(Notification {
            title: var("TITLE").ok(),
            body: var("CONTENT").ok(),
            ..Notification::default()
        }),
        data: Some(HashMap::from([("payload".to_owned(), var("PAYLOAD").expect("set").into())])),
        ..Message::default()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let account = var("ACCOUNT").expect("tests/interop/run sets it");
    let authenticator = Authenticator::service_account_from_file(account).await.expect("an account");
    let client = Client::new(authenticator, "demo", false, Duration::from_secs(10));
    let sent = client.send(&message("TOKEN")).await.expect("the living device is taken");
    println!("accepted as {}", sent.name.expect("a name"));
    match client.send(&message("DEAD_TOKEN")).await {
        Err(Error::FCM(text)) if text.contains("UNREGISTERED") && text.contains("404") => {
            println!("dead token: 404 UNREGISTERED");
        }
        other => panic!("a dead token is UNREGISTERED, not {other:?}"),
    }
}
