//! Mozilla's push connection: autopush over WebSocket, as Firefox speaks it. Identity, subscriptions and queue are those of the
//! post office; only the words differ.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::letters::{Address, Letter};
use super::post::{Identity, Line, Order};
use super::{Browsers, random};
use crate::webpush::{Service, public_key};

/// No message of a browser is longer.
const LONGEST: usize = 64 * 1024;
/// A client that does not say hello within this has no business here.
const HELLO_PATIENCE: Duration = Duration::from_secs(30);
/// What stands where a registration with Google has its app.
const APP: &str = "autopush";

/// The route, ready to be merged.
pub(crate) fn routes(browsers: Arc<Browsers>) -> Router {
    Router::new().route("/autopush", any(open)).with_state(browsers)
}

async fn open(State(browsers): State<Arc<Browsers>>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols(["push-notification"]).max_message_size(LONGEST);
    upgrade.on_upgrade(async move |socket| {
        if let Err(error) = talk(socket, &browsers).await {
            tracing::debug!(%error, "autopush connection ended");
        }
    })
}

/// Why a connection ends before its time.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the connection broke")]
    Broke(#[from] axum::Error),
    #[error("the client sent what is not autopush")]
    Malformed,
    #[error("no hello came")]
    Silent,
}

async fn talk(mut socket: WebSocket, browsers: &Browsers) -> Result<(), Ended> {
    let hello =
        tokio::time::timeout(HELLO_PATIENCE, read(&mut socket)).await.map_err(|_| Ended::Silent)??;
    let Some(hello) = hello else { return Ok(()) };
    if hello["messageType"] != "hello" {
        return Err(Ended::Malformed);
    }
    let known = hello["uaid"].as_str().and_then(identity).unwrap_or(Identity { id: 0, secret: 0 });
    // A browser whose identity is refused gets another, and subscribes anew.
    let stranger = |_| browsers.post.check_in(Identity { id: 0, secret: 0 });
    let who = browsers.post.check_in(known).or_else(stranger).map_err(|_| Ended::Malformed)?;
    let line = browsers.post.log_in(who, &[]).map_err(|_| Ended::Malformed)?;
    let session = Session { browsers, who, line: line.number };
    let welcome = json!({"messageType": "hello", "uaid": uaid(who), "status": 200, "use_webpush": true, "broadcasts": {}});
    say(&mut socket, &welcome).await?;
    session.run(socket, line).await
}

/// 32 hexadecimal digits.
fn uaid(who: Identity) -> String {
    format!("{:016x}{:016x}", who.id, who.secret)
}

fn identity(uaid: &str) -> Option<Identity> {
    let uaid = uaid.replace('-', "");
    if uaid.len() != 32 || !uaid.is_ascii() {
        return None;
    }
    let part = |range| u64::from_str_radix(&uaid[range], 16).ok();
    Some(Identity { id: part(0..16)?, secret: part(16..32)? })
}

/// The next message; none at the end.
async fn read(socket: &mut WebSocket) -> Result<Option<Value>, Ended> {
    while let Some(message) = socket.recv().await {
        match message? {
            Message::Text(text) => {
                return serde_json::from_str(&text).map(Some).map_err(|_| Ended::Malformed);
            }
            Message::Close(_) => return Ok(None),
            // The library answers pings by itself.
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) => return Err(Ended::Malformed),
        }
    }
    Ok(None)
}

async fn say(socket: &mut WebSocket, message: &Value) -> Result<(), Ended> {
    Ok(socket.send(Message::Text(message.to_string().into())).await?)
}

/// A browser that has said hello; it is offline again when this is dropped.
struct Session<'a> {
    browsers: &'a Browsers,
    who: Identity,
    line: u64,
}

impl Session<'_> {
    async fn run(self, mut socket: WebSocket, mut line: Line) -> Result<(), Ended> {
        loop {
            // Frames are not counted here: browsers acknowledge each push by its version.
            while let Some(letter) = self.browsers.post.next(self.who, self.line, 0) {
                say(&mut socket, &notification(&letter)).await?;
            }
            tokio::select! {
                message = read(&mut socket) => {
                    let Some(message) = message? else { return Ok(()) };
                    if let Some(answer) = self.answer(&message) {
                        say(&mut socket, &answer).await?;
                    }
                }
                order = line.orders.recv() => match order {
                    Some(Order::Wake) => {}
                    Some(Order::Close) => return Ok(socket.send(Message::Close(None)).await?),
                    // Nobody gives orders any more: a later connection has taken over.
                    Some(Order::Cut) | None => return Ok(()),
                },
            }
        }
    }

    fn answer(&self, message: &Value) -> Option<Value> {
        match message["messageType"].as_str() {
            Some("register") => Some(self.register(message)),
            Some("unregister") => {
                let channel = &message["channelID"];
                let dead = self.browsers.post.withdraw(self.who, APP, channel.as_str().unwrap_or_default());
                dead.unwrap_or_default().iter().for_each(|token| self.browsers.webpush.detach(token));
                Some(json!({"messageType": "unregister", "channelID": channel, "status": 200}))
            }
            Some("ack") => {
                let updates = message["updates"].as_array().map(Vec::as_slice).unwrap_or_default();
                let version = |update: &Value| update["version"].as_str().map(str::to_owned);
                let ids: Vec<_> = updates.iter().filter_map(version).collect();
                self.browsers.post.received(self.who, self.line, &ids);
                None
            }
            // A ping is an object with nothing in it.
            None => message.as_object().is_some_and(serde_json::Map::is_empty).then(|| json!({})),
            // Broadcasts are settings of the browser; nobody has any for it here.
            Some(_) => None,
        }
    }

    fn register(&self, message: &Value) -> Value {
        let channel = message["channelID"].as_str().unwrap_or_default();
        let sender = message["key"].as_str().unwrap_or_default().trim_end_matches('=');
        let answer = |status: u16| json!({"messageType": "register", "channelID": channel, "status": status});
        // Without a key anybody could push: what every sender here has is asked of every page.
        let (Some(key), false) = (public_key(sender), channel.is_empty()) else { return answer(400) };
        let to = Address { sender: sender.to_owned(), app: APP.to_owned(), subtype: channel.to_owned() };
        let token = format!("gAAAA{}", random::<135>());
        let Ok(registered) = self.browsers.post.register(self.who, &to, token) else { return answer(401) };
        let mut answer = answer(200);
        answer["pushEndpoint"] = if registered.known {
            Service::Mozilla.endpoint(&registered.token).into()
        } else {
            self.browsers.attach(Service::Mozilla, &registered, key).into()
        };
        answer
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.browsers.post.log_out(self.who, self.line);
    }
}

fn notification(letter: &Letter) -> Value {
    let mut said = json!({"messageType": "notification", "channelID": letter.to.subtype, "version": letter.persistent_id});
    let Some(body) = &letter.body else { return said };
    said["data"] = URL_SAFE_NO_PAD.encode(body).into();
    let header =
        |wanted: &str| letter.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    said["headers"] = match header("content-encoding") {
        Some(encoding) => json!({"encoding": encoding}),
        None => {
            json!({"encoding": "aesgcm", "encryption": header("encryption"), "crypto_key": header("crypto-key")})
        }
    };
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_way_as_a_uaid() {
        let who = Identity { id: 1, secret: u64::MAX >> 1 };
        assert_eq!(uaid(who), "00000000000000017fffffffffffffff");
        assert_eq!(identity(&uaid(who)), Some(who));
        for bad in ["", "00", "zz", &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(identity(bad), None, "{bad}");
        }
    }
}
