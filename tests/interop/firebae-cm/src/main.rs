//! The unmodified crate `firebae-cm` sends to a living device and to a dead one, with a bearer that `gcp_auth` fetches.

use std::env::var;

use firebae_cm::{AsFirebaseMap, Client, Error, ErrorCode, Message, MessageBody, Notification, Receiver};
use gcp_auth::{CustomServiceAccount, TokenProvider};

fn set(name: &str) -> String {
    var(name).expect("tests/interop/run sets it")
}

#[derive(AsFirebaseMap)]
struct Data {
    payload: String,
}

fn message(token: &str, bearer: &str) -> Message {
    let shown = Notification::new().title(set("TITLE")).body(set("CONTENT"));
    let data = Data { payload: set("PAYLOAD") };
    let body = MessageBody::new(Receiver::token(set(token))).notification(shown).data(data).expect("data");
    Message::new("demo", bearer, body)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let account = CustomServiceAccount::from_file(set("ACCOUNT")).expect("an account");
    let scopes = ["https://www.googleapis.com/auth/firebase.messaging"];
    let bearer = account.token(&scopes).await.expect("a bearer");
    let client = Client::new().expect("TLS");
    let name = client.send(message("TOKEN", bearer.as_str())).await.expect("the living device is taken");
    println!("accepted as {name}");
    match client.send(message("DEAD_TOKEN", bearer.as_str())).await {
        Err(Error::FcmError(error)) if matches!(error.error_code(), Some(ErrorCode::Unregistered)) => {
            println!("dead token: {error:?}");
        }
        other => panic!("a dead token is Unregistered, not {other:?}"),
    }
}
