//! Broadcast channels for Live Activities (iOS 18): made and ended by the app's server, and sent to once for all who follow.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::check::{Headers, Push, payload};
use super::reason::Reason;
use super::{Apns, Environment, PushType};
use crate::wire::{Asked, Reply};

/// A channel.
struct Channel {
    id: String,
    environment: Environment,
    /// Whether the newest message is kept for those who come late.
    storage: bool,
}

#[derive(Default)]
pub(super) struct Channels(Mutex<Vec<Channel>>);

/// What the management API is asked for.
pub(super) enum Ask {
    One,
    All,
}

impl Apns {
    /// Makes, reads, ends or lists channels.
    pub(super) fn manage(&self, asked: &Asked, here: Environment, ask: &Ask) -> Result<Reply, Reason> {
        let id = uuid::Uuid::now_v7().to_string();
        let id = asked.header("apns-request-id").map_or(id, str::to_owned);
        let reply = match (asked.head.method.as_str(), ask) {
            ("GET", Ask::All) => {
                let channels = self.channels.0.lock();
                let ids: Vec<_> =
                    channels.iter().filter(|one| one.environment == here).map(|one| one.id.clone()).collect();
                Reply::of(200, "application/json", json!({"channels": ids}).to_string())
            }
            ("POST", Ask::One) => {
                let id = self.make_channel(asked, here)?;
                Reply { status: 201, ..Reply::default() }.with("apns-channel-id", id)
            }
            ("GET", Ask::One) => {
                let storage = self.channel(asked, here)?;
                let body = json!({"message-storage-policy": u8::from(storage), "push-type": "LiveActivity"});
                Reply::of(200, "application/json", body.to_string())
            }
            ("DELETE", Ask::One) => {
                self.channel(asked, here)?;
                let id = asked.header("apns-channel-id");
                self.channels.0.lock().retain(|one| Some(one.id.as_str()) != id);
                Reply { status: 204, ..Reply::default() }
            }
            _ => return Err(Reason::MethodNotAllowed),
        };
        Ok(reply.with("apns-request-id", id))
    }

    fn make_channel(&self, asked: &Asked, here: Environment) -> Result<String, Reason> {
        let wish: Value = serde_json::from_slice(&asked.body).map_err(|_| Reason::BadRequestPayload)?;
        let storage = match wish["message-storage-policy"].as_u64() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(Reason::BadRequestPayload),
        };
        if wish["push-type"] != "LiveActivity" {
            return Err(Reason::BadRequestPayload);
        }
        let most = self.rules.lock().most_channels;
        let mut channels = self.channels.0.lock();
        if channels.iter().filter(|one| one.environment == here).count() >= most {
            return Err(Reason::CannotCreateChannelConfig);
        }
        let id = STANDARD.encode(rand::random::<[u8; 16]>());
        channels.push(Channel { id: id.clone(), environment: here, storage });
        Ok(id)
    }

    /// Whether the channel that is named keeps messages.
    fn channel(&self, asked: &Asked, here: Environment) -> Result<bool, Reason> {
        let id = asked.header("apns-channel-id").ok_or(Reason::MissingChannelId)?;
        STANDARD.decode(id).map_err(|_| Reason::BadChannelId)?;
        let channels = self.channels.0.lock();
        let found = channels.iter().find(|one| one.id == id && one.environment == here);
        found.map(|one| one.storage).ok_or(Reason::ChannelNotRegistered)
    }

    /// Sends to all iPhones whose activities follow the channel.
    pub(super) fn broadcast(&self, asked: &Asked, here: Environment) -> Result<Reply, Reason> {
        let headers = Headers::read(asked)?;
        match headers.kind {
            None => return Err(Reason::MissingPushType),
            Some(PushType::Liveactivity) => {}
            Some(_) => return Err(Reason::InvalidPushType),
        }
        let storage = self.channel(asked, here)?;
        if !storage && headers.expiration.is_some_and(|at| at != 0) {
            return Err(Reason::BadExpirationDate);
        }
        payload(&asked.body, self.rules.lock().most_broadcast_payload)?;
        let expiration = if storage { headers.expiration } else { Some(0) };
        let body = asked.body.clone();
        let push = Push { kind: PushType::Liveactivity, has_type: true, expiration, collapse: None, body };
        let id = asked.header("apns-channel-id").unwrap_or_default();
        for phone in self.phones.all() {
            if phone.environment == here && phone.follows.lock().iter().any(|followed| followed == id) {
                let told = phone.arrive(&push, self.rig.clock.now_ms());
                told.into_iter().for_each(|what| self.rig.tell(what));
            }
        }
        let request = uuid::Uuid::now_v7().to_string();
        let request = asked.header("apns-request-id").map_or(request, str::to_owned);
        Ok(Reply { status: 200, ..Reply::default() }.with("apns-request-id", request))
    }
}
