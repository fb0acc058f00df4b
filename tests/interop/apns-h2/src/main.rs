//! The unmodified crate `apns-h2`, the living descendant of `a2`, sends to a living iPhone and to a dead one.

mod push;

use std::fs::File;

use apns_h2::{Client, ClientConfig, Endpoint, Error, ErrorReason, Response};
use push::{send, set};

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
