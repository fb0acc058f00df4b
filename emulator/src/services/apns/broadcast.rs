//! Broadcast channels for Live Activities (iOS 18). The application server creates and deletes them, and sends one push
//! for all followers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::reason::Reason;
use super::validation::{Headers, PushRequest, verify_payload};
use super::{Apns, Environment, PushType};
use crate::wire::{HttpRequest, HttpResponse};

/// Broadcast channel.
struct Channel {
    id: String,
    environment: Environment,
    /// `true` if the newest message is stored for devices that are offline.
    stores_messages: bool,
}

/// All broadcast channels of the app.
#[derive(Default)]
pub(super) struct Channels(Mutex<Vec<Channel>>);

/// Path of the management API.
pub(super) enum ChannelsPath {
    /// `/channels`: one channel.
    Single,
    /// `/all-channels`: the list of channels.
    List,
}

impl Apns {
    /// Creates, reads, deletes or lists channels.
    pub(super) fn manage_channels(
        &self,
        request: &HttpRequest,
        here: Environment,
        path: &ChannelsPath,
    ) -> Result<HttpResponse, Reason> {
        let request_id = uuid::Uuid::now_v7().to_string();
        let request_id = request.header("apns-request-id").map_or(request_id, str::to_owned);
        let response = match (request.head.method.as_str(), path) {
            ("GET", ChannelsPath::List) => {
                let channels = self.channels.0.lock();
                let in_environment = channels.iter().filter(|channel| channel.environment == here);
                let ids: Vec<_> = in_environment.map(|channel| channel.id.clone()).collect();
                HttpResponse::with_body(200, "application/json", json!({"channels": ids}).to_string())
            }
            ("POST", ChannelsPath::Single) => {
                let id = self.create_channel(request, here)?;
                HttpResponse { status: 201, ..HttpResponse::default() }.with_header("apns-channel-id", id)
            }
            ("GET", ChannelsPath::Single) => {
                let stores_messages = self.stores_messages(request, here)?;
                let body =
                    json!({"message-storage-policy": u8::from(stores_messages), "push-type": "LiveActivity"});
                HttpResponse::with_body(200, "application/json", body.to_string())
            }
            ("DELETE", ChannelsPath::Single) => {
                self.stores_messages(request, here)?;
                let id = request.header("apns-channel-id");
                self.channels.0.lock().retain(|channel| Some(channel.id.as_str()) != id);
                HttpResponse { status: 204, ..HttpResponse::default() }
            }
            _ => return Err(Reason::MethodNotAllowed),
        };
        Ok(response.with_header("apns-request-id", request_id))
    }

    /// Creates a channel and returns its id.
    fn create_channel(&self, request: &HttpRequest, here: Environment) -> Result<String, Reason> {
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| Reason::BadRequestPayload)?;
        let stores_messages = match body["message-storage-policy"].as_u64() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(Reason::BadRequestPayload),
        };
        if body["push-type"] != "LiveActivity" {
            return Err(Reason::BadRequestPayload);
        }
        let max_channels = self.rules.lock().max_channels;
        let mut channels = self.channels.0.lock();
        if channels.iter().filter(|channel| channel.environment == here).count() >= max_channels {
            return Err(Reason::CannotCreateChannelConfig);
        }
        let id = STANDARD.encode(rand::random::<[u8; 16]>());
        channels.push(Channel { id: id.clone(), environment: here, stores_messages });
        Ok(id)
    }

    /// Returns `true` if the named channel stores messages.
    ///
    /// # Errors
    /// The reason to refuse the request if it names no channel or an unknown one.
    fn stores_messages(&self, request: &HttpRequest, here: Environment) -> Result<bool, Reason> {
        let id = request.header("apns-channel-id").ok_or(Reason::MissingChannelId)?;
        STANDARD.decode(id).map_err(|_| Reason::BadChannelId)?;
        let channels = self.channels.0.lock();
        let channel = channels.iter().find(|channel| channel.id == id && channel.environment == here);
        channel.map(|channel| channel.stores_messages).ok_or(Reason::ChannelNotRegistered)
    }

    /// Delivers a push to all devices whose Live Activities follow the channel.
    pub(super) fn broadcast(&self, request: &HttpRequest, here: Environment) -> Result<HttpResponse, Reason> {
        let headers = Headers::parse(request)?;
        match headers.push_type {
            None => return Err(Reason::MissingPushType),
            Some(PushType::Liveactivity) => {}
            Some(_) => return Err(Reason::InvalidPushType),
        }
        let stores_messages = self.stores_messages(request, here)?;
        if !stores_messages && headers.expiration.is_some_and(|at| at != 0) {
            return Err(Reason::BadExpirationDate);
        }
        verify_payload(&request.body, self.rules.lock().max_broadcast_payload)?;
        let expiration = if stores_messages { headers.expiration } else { Some(0) };
        let body = request.body.clone();
        let push = PushRequest {
            push_type: PushType::Liveactivity,
            has_push_type: true,
            expiration,
            collapse_id: None,
            body,
        };
        let id = request.header("apns-channel-id").unwrap_or_default();
        for device in self.devices.all() {
            let follows = device.followed_channels.lock().iter().any(|followed| followed == id);
            if device.environment == here && follows {
                let events = device.deliver(&push, self.context.clock.now_ms());
                events.into_iter().for_each(|event| self.context.record(event));
            }
        }
        let request_id = uuid::Uuid::now_v7().to_string();
        let request_id = request.header("apns-request-id").map_or(request_id, str::to_owned);
        Ok(HttpResponse { status: 200, ..HttpResponse::default() }.with_header("apns-request-id", request_id))
    }
}
