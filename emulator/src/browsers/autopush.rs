//! Mozilla's push connection: autopush over WebSocket, as Firefox uses it. Identity, registrations and queue are those
//! of the [`DeviceRegistry`](super::registry::DeviceRegistry).

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

use super::push_queue::{QueuedPush, RegistrationKey};
use super::registry::{ConnectionCommand, DeviceConnection, Identity};
use super::{Browsers, random_id};
use crate::services::web_push::{WebPushService, parse_public_key};

/// Maximum message of a browser, in bytes.
const MAX_MESSAGE_SIZE: usize = 64 * 1024;
/// Time within which a client must send its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// App of all registrations over autopush, which have none of their own.
const APP: &str = "autopush";

/// Returns the route, to be merged into the control API's router.
pub(crate) fn routes(browsers: Arc<Browsers>) -> Router {
    Router::new().route("/autopush", any(upgrade)).with_state(browsers)
}

async fn upgrade(State(browsers): State<Arc<Browsers>>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.protocols(["push-notification"]).max_message_size(MAX_MESSAGE_SIZE);
    upgrade.on_upgrade(async move |socket| {
        if let Err(error) = serve(socket, &browsers).await {
            tracing::debug!(%error, "autopush connection ended with an error");
        }
    })
}

/// Error that ends a connection.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the WebSocket failed: {0}")]
    Socket(#[from] axum::Error),
    #[error("the client sent a message that is not autopush")]
    Malformed,
    #[error("the client sent no hello in time")]
    HelloTimeout,
}

async fn serve(mut socket: WebSocket, browsers: &Browsers) -> Result<(), ConnectionError> {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, read_message(&mut socket))
        .await
        .map_err(|_| ConnectionError::HelloTimeout)??;
    let Some(hello) = hello else { return Ok(()) };
    if hello["messageType"] != "hello" {
        return Err(ConnectionError::Malformed);
    }
    let presented = hello["uaid"].as_str().and_then(parse_uaid).unwrap_or(Identity { id: 0, secret: 0 });
    // A browser whose identity is refused gets a new one, and subscribes again.
    let new_identity = |_| browsers.registry.check_in(Identity { id: 0, secret: 0 });
    let identity = browsers
        .registry
        .check_in(presented)
        .or_else(new_identity)
        .map_err(|_| ConnectionError::Malformed)?;
    let connection = browsers.registry.log_in(identity, &[]).map_err(|_| ConnectionError::Malformed)?;
    let session = Session { browsers, identity, connection: connection.number };
    let welcome = json!({"messageType": "hello", "uaid": format_uaid(identity), "status": 200, "use_webpush": true, "broadcasts": {}});
    send_message(&mut socket, &welcome).await?;
    session.run(socket, connection).await
}

/// Returns an identity as 32 hexadecimal digits.
fn format_uaid(identity: Identity) -> String {
    format!("{:016x}{:016x}", identity.id, identity.secret)
}

/// Parses an identity, with or without hyphens. `None` if it is malformed.
fn parse_uaid(uaid: &str) -> Option<Identity> {
    let uaid = uaid.replace('-', "");
    if uaid.len() != 32 || !uaid.is_ascii() {
        return None;
    }
    let part = |range| u64::from_str_radix(&uaid[range], 16).ok();
    Some(Identity { id: part(0..16)?, secret: part(16..32)? })
}

/// Returns the next message. `None` at the end of the connection.
async fn read_message(socket: &mut WebSocket) -> Result<Option<Value>, ConnectionError> {
    while let Some(message) = socket.recv().await {
        match message? {
            Message::Text(text) => {
                return serde_json::from_str(&text).map(Some).map_err(|_| ConnectionError::Malformed);
            }
            Message::Close(_) => return Ok(None),
            // The library responds to pings itself.
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) => return Err(ConnectionError::Malformed),
        }
    }
    Ok(None)
}

async fn send_message(socket: &mut WebSocket, message: &Value) -> Result<(), ConnectionError> {
    Ok(socket.send(Message::Text(message.to_string().into())).await?)
}

/// Session of a browser that has sent its hello. Dropping it logs the browser out.
struct Session<'a> {
    browsers: &'a Browsers,
    identity: Identity,
    connection: u64,
}

impl Session<'_> {
    async fn run(
        self,
        mut socket: WebSocket,
        mut connection: DeviceConnection,
    ) -> Result<(), ConnectionError> {
        loop {
            // The frame number is not used here, because browsers acknowledge each push by its version.
            while let Some(push) = self.browsers.registry.next_push(self.identity, self.connection, 0) {
                send_message(&mut socket, &notification(&push)).await?;
            }
            tokio::select! {
                message = read_message(&mut socket) => {
                    let Some(message) = message? else { return Ok(()) };
                    if let Some(response) = self.respond(&message) {
                        send_message(&mut socket, &response).await?;
                    }
                }
                command = connection.commands.recv() => match command {
                    Some(ConnectionCommand::Wake) => {}
                    Some(ConnectionCommand::Close) => return Ok(socket.send(Message::Close(None)).await?),
                    // The command channel is closed because a later connection has replaced this one.
                    Some(ConnectionCommand::Cut) | None => return Ok(()),
                },
            }
        }
    }

    /// Returns the response to a message. `None` if it needs none.
    fn respond(&self, message: &Value) -> Option<Value> {
        match message["messageType"].as_str() {
            Some("register") => Some(self.register(message)),
            Some("unregister") => {
                let channel = &message["channelID"];
                let tokens = self.browsers.registry.unregister(
                    self.identity,
                    APP,
                    channel.as_str().unwrap_or_default(),
                );
                tokens
                    .unwrap_or_default()
                    .iter()
                    .for_each(|token| self.browsers.web_push.end_subscription(token));
                Some(json!({"messageType": "unregister", "channelID": channel, "status": 200}))
            }
            Some("ack") => {
                let updates = message["updates"].as_array().map(Vec::as_slice).unwrap_or_default();
                let version = |update: &Value| update["version"].as_str().map(str::to_owned);
                let ids: Vec<_> = updates.iter().filter_map(version).collect();
                self.browsers.registry.acknowledge_ids(self.identity, self.connection, &ids);
                None
            }
            // A ping is an empty object.
            None => message.as_object().is_some_and(serde_json::Map::is_empty).then(|| json!({})),
            // Broadcast subscriptions concern settings of the browser, which the emulator does not have.
            Some(_) => None,
        }
    }

    fn register(&self, message: &Value) -> Value {
        let channel = message["channelID"].as_str().unwrap_or_default();
        let sender = message["key"].as_str().unwrap_or_default().trim_end_matches('=');
        let response =
            |status: u16| json!({"messageType": "register", "channelID": channel, "status": status});
        // A key is required, because without one anybody could push.
        let (Some(vapid_key), false) = (parse_public_key(sender), channel.is_empty()) else {
            return response(400);
        };
        let registration_key =
            RegistrationKey { sender: sender.to_owned(), app: APP.to_owned(), subtype: channel.to_owned() };
        let token = format!("gAAAA{}", random_id::<135>());
        let Ok(registration) = self.browsers.registry.register(self.identity, &registration_key, token)
        else {
            return response(401);
        };
        let mut response = response(200);
        response["pushEndpoint"] = if registration.existed {
            WebPushService::Mozilla.endpoint(&registration.token).into()
        } else {
            self.browsers.subscribe(WebPushService::Mozilla, &registration, vapid_key).into()
        };
        response
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.browsers.registry.log_out(self.identity, self.connection);
    }
}

/// Returns the message that delivers a push.
fn notification(push: &QueuedPush) -> Value {
    let mut message = json!({"messageType": "notification", "channelID": push.registration.subtype, "version": push.persistent_id});
    let Some(body) = &push.body else { return message };
    message["data"] = URL_SAFE_NO_PAD.encode(body).into();
    let header = |name: &str| push.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    message["headers"] = match header("content-encoding") {
        Some(encoding) => json!({"encoding": encoding}),
        None => {
            json!({"encoding": "aesgcm", "encryption": header("encryption"), "crypto_key": header("crypto-key")})
        }
    };
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_identity_is_parsed_back() {
        let identity = Identity { id: 1, secret: u64::MAX >> 1 };
        assert_eq!(format_uaid(identity), "00000000000000017fffffffffffffff");
        assert_eq!(parse_uaid(&format_uaid(identity)), Some(identity));
        for bad in ["", "00", "zz", &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(parse_uaid(bad), None, "{bad}");
        }
    }
}
