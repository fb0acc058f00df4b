//! Sessions: the live WebSockets of each user, and the life of one of them. They are the presence that the gateway
//! queries.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::ws::{Message, WebSocket};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use pushgate::{AppId, Platform, Presence, UserId};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::hub::Hub;
use crate::wire::{Asked, Refusal, What, answer, event};

/// Maximum number of queued frames per connection. Beyond it the connection is closed, and the mailbox keeps the
/// messages.
const WAITING: usize = 256;
/// Timeout for the first frame, which must be a login.
const LOGIN: Duration = Duration::from_secs(10);

/// Frame for a connection, with its number in the mailbox if it is stored there.
type Frame = (Option<i64>, String);
/// Live connections of a user by number.
type Connections = HashMap<u64, mpsc::Sender<Frame>>;

/// Live connections of all users.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<HashMap<String, Connections>>>);

impl Sessions {
    /// Sends a frame on every connection of a user. Returns the number of connections.
    pub(crate) fn tell(&self, user: &str, name: &str, data: &Value, seq: Option<i64>) -> usize {
        let mut all = self.0.lock();
        let Some(connections) = all.get_mut(user) else { return 0 };
        let frame = event(name, data, seq);
        connections.retain(|_, connection| connection.try_send((seq, frame.clone())).is_ok());
        connections.len()
    }

    fn open(&self, user: &str) -> (u64, mpsc::Receiver<Frame>) {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(WAITING);
        self.0.lock().entry(user.to_owned()).or_default().insert(number, sender);
        (number, receiver)
    }

    fn close(&self, user: &str, number: u64) {
        let mut all = self.0.lock();
        if let Some(connections) = all.get_mut(user) {
            connections.remove(&number);
            if connections.is_empty() {
                all.remove(user);
            }
        }
    }
}

#[async_trait]
impl Presence for Sessions {
    async fn online_on(&self, _app: &AppId, user: &UserId) -> Vec<Platform> {
        let all = self.0.lock();
        all.get(user.as_str()).map_or_else(Vec::new, |connections| vec![Platform::Web; connections.len()])
    }
}

/// Identity of a connection: its user and device.
pub(crate) struct Who {
    pub(crate) user: String,
    /// Device id chosen by the browser.
    pub(crate) device: String,
}

/// Serves one connection from login to its end.
pub(crate) async fn serve(hub: Arc<Hub>, mut socket: WebSocket) {
    let Ok(Some((n, who))) = tokio::time::timeout(LOGIN, login(&hub, &mut socket)).await else { return };
    let (number, frames) = hub.sessions.open(&who.user);
    // Looked up after the connection is open and before its user knows: nothing falls between what is replayed and what
    // comes live, and what is in both is told apart by its number.
    let (missed, replayed) = hub.missed(&who.user).await;
    let welcome = answer(n, Ok(json!({"userID": who.user})));
    let mut greeting =
        futures_util::stream::iter(std::iter::once(welcome).chain(missed).map(Message::text).map(Ok));
    if socket.send_all(&mut greeting).await.is_ok() {
        talk(&hub, &who, socket, (frames, replayed)).await;
    }
    hub.sessions.close(&who.user, number);
}

/// Reads the first request, which must be a login with a valid token.
async fn login(hub: &Hub, socket: &mut WebSocket) -> Option<(u64, Who)> {
    let Message::Text(text) = socket.recv().await?.ok()? else { return None };
    let Asked { n, what } = serde_json::from_str(&text).ok()?;
    let What::Login { token, device, push_token } = what else { return None };
    let admitted = hub.admit(&token, &device, push_token.as_deref()).await;
    match admitted {
        Ok(who) => Some((n, who)),
        Err(refusal) => {
            // He is told, and may try again on another connection.
            let _ = socket.send(Message::text(answer(n, Err(refusal)))).await;
            None
        }
    }
}

/// Exchanges requests, answers and events until either side closes the connection or it is silent for too long.
async fn talk(
    hub: &Arc<Hub>,
    who: &Who,
    socket: WebSocket,
    (mut frames, replayed): (mpsc::Receiver<Frame>, i64),
) {
    let (mut write, mut read) = socket.split();
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some((seq, frame)) = frame else { return };
                if seq.is_some_and(|seq| seq <= replayed) {
                    continue;
                }
                if write.send(Message::text(frame)).await.is_err() {
                    return;
                }
            }
            heard = tokio::time::timeout(hub.silence, read.next()) => {
                // A connection that has died without a word is found by its silence: from then on its user is away.
                let Ok(Some(Ok(message))) = heard else { return };
                let Message::Text(text) = message else { continue };
                let (answer, goes_on) = asked(hub, who, &text).await;
                if write.send(Message::text(answer)).await.is_err() || !goes_on {
                    return;
                }
            }
        }
    }
}

async fn asked(hub: &Arc<Hub>, who: &Who, text: &str) -> (String, bool) {
    match serde_json::from_str::<Asked>(text) {
        Ok(Asked { n, what: What::Logout }) => (answer(n, hub.logout(who).await), false),
        Ok(Asked { n, what }) => (answer(n, hub.asked(who, what).await), true),
        Err(error) => (answer(0, Err(Refusal::parameter(error.to_string()))), true),
    }
}
