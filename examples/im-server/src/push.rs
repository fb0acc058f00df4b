//! Connection between the IM server and the gateway: converts tokens to devices, and messages to notifications.

use std::sync::Arc;
use std::time::Duration;

use pushgate::gateway::DeviceEventError;
use pushgate::observe::Event;
use pushgate::{
    Address, App, AppId, Audience, Call, CallId, ChannelName, Device, DeviceEvent, DeviceId, Gateway,
    Notification, NotificationId, Platform, Profile, Purpose, Selector, SystemClock, TokenKind, Traits,
    UserId, When,
};
use pushgate_fcm::Fcm;
use pushgate_sqlite::SqliteStore;
use pushgate_transport::{HttpTransport, Roots};
use pushgate_webpush::{KeyPair, WebPush};
use serde_json::json;

use crate::options::Options;
use crate::session::Sessions;
use crate::wire::{PushConfig, Refusal};

/// Only app of this server.
const APP: &str = "im";
/// Path for the device events of service workers.
pub(crate) const RECEIPTS: &str = "/receipts";

/// Gateway, with the key for pages.
pub(crate) struct Push {
    gateway: Gateway,
    app: AppId,
    /// Public VAPID key that pages subscribe with.
    pub(crate) vapid_key: String,
}

/// Subject of a push.
pub(crate) enum Matter<'a> {
    /// Message. Connected users have this long to acknowledge it before it is pushed.
    Message { conversation: &'a str, ack_within: Duration },
    /// Call, with its ringing time.
    Call { id: &'a str, timeout: Duration },
    /// End of a call. Its notification is removed, or replaced by another one.
    CallOver { id: &'a str },
}

impl Push {
    pub(crate) async fn open(
        options: &Options,
        presence: Sessions,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let keys = vapid_keys(options)?;
        let mut transport = HttpTransport::builder();
        if let Some(roots) = &options.roots {
            transport = transport.roots(Roots::Pem(std::fs::read_to_string(roots)?));
        }
        for (host, address) in &options.connect_to {
            transport = transport.connect_to(host, *address);
        }
        // Endpoints come from browsers, so whoever has one could have written it: no address inside this network.
        let transport = Arc::new(transport.destinations(pushgate_transport::Destinations::Public).build()?);
        let config = pushgate_webpush::Config::new(keys.private, &options.contact);
        let web_push = WebPush::new(channel("webpush"), &config, transport.clone(), Arc::new(SystemClock))?;
        let mut ours = App::default().channel(web_push).profile("call", call_profile());
        if let Some(account) = &options.service_account {
            ours = ours.channel(Fcm::from_service_account(&std::fs::read_to_string(account)?, transport)?);
        }
        let app = AppId::new(APP)?;
        let gateway = Gateway::builder()
            .store(SqliteStore::open(options.data.join("push.db"))?)
            .presence(presence)
            // The worker is of this very site.
            .device_events(RECEIPTS)
            .observer(heard)
            .app(
                app.clone(),
                ours.route(Selector::platform(Platform::Web), [channel("webpush"), channel("fcm")]),
            );
        Ok(Self { gateway: gateway.start().await?, app, vapid_key: keys.public })
    }

    /// Binds a browser to a user, and unbinds it from any other.
    pub(crate) async fn bind(&self, user: &str, device: &str, token: &str) -> Result<(), Refusal> {
        // An empty token is how a page says that it wants no more pushes.
        let addresses = if token.is_empty() { Vec::new() } else { vec![self.address(token)?] };
        let user = Some(user_id(user)?);
        let id = device_id(device)?;
        let traits = Traits::of(Platform::Web);
        let registered_at = self.gateway.now();
        let device = Device { app: self.app.clone(), id, user, traits, addresses, registered_at };
        self.gateway.register(device).await.map_err(|error| Refusal::storage(&error))?;
        Ok(())
    }

    /// Unbinds a browser from a user. A late call does not unbind it from a later user.
    pub(crate) async fn unbind(&self, user: &str, device: &str) -> Result<(), Refusal> {
        let (user, device) = (user_id(user)?, device_id(device)?);
        let unbound = self.gateway.logout(&self.app, &device, Some(&user)).await;
        unbound.map(drop).map_err(|error| Refusal::storage(&error))
    }

    /// Returns `true` if the user has a device to push to.
    pub(crate) async fn knows(&self, user: &str) -> Result<bool, Refusal> {
        let user = user_id(user)?;
        let devices = self.gateway.store().devices_of(&self.app, &[user]).await;
        Ok(devices.map_err(|error| Refusal::storage(&error))?.iter().any(|d| !d.addresses.is_empty()))
    }

    /// Submits a push to these users; the gateway finds out who of them is absent. When this returns, the
    /// notification is on disk and survives a crash. Returns `None` if there is nothing to push.
    pub(crate) async fn notify(
        &self,
        users: &[String],
        shown: &PushConfig,
        matter: Matter<'_>,
    ) -> Option<NotificationId> {
        let users: Vec<_> = users.iter().filter_map(|user| UserId::new(user).ok()).collect();
        // Nothing to show is no push: the message waits for its reader all the same. What is to go needs no words.
        let is_blank = shown.is_blank();
        if users.is_empty() || (is_blank && !matches!(matter, Matter::CallOver { .. })) {
            return None;
        }
        let mut asked = Notification::new(self.app.clone(), Audience::Users(users));
        if !is_blank {
            asked = asked.title(shown.title.as_str()).content(shown.content.as_str());
        }
        asked.payload = shown.payload.as_ref().or(shown.extended_data.as_ref()).map(|p| p.as_str().into());
        asked.profile.clone_from(&shown.resources_id);
        asked.thread.clone_from(&shown.thread_id);
        match self.gateway.submit(matter.put(asked)?).await {
            Ok(ticket) => Some(ticket.id),
            Err(error) => {
                tracing::error!(%error, "no push was accepted");
                None
            }
        }
    }

    /// Tells the gateway that a user got the message on a connection and needs no push.
    pub(crate) async fn acknowledge(&self, id: NotificationId, user: &str) {
        let Ok(user) = UserId::new(user) else { return };
        if let Err(error) = self.gateway.acknowledge(&self.app, id, &user).await {
            tracing::error!(%error, "an acknowledgement is lost; he is pushed to");
        }
    }

    /// Replaces a subscription that changed while no page was open. The secret in the old one proves which browser it
    /// is. An FCM token has no secret, so it is replaced at the next visit.
    pub(crate) async fn rotate(&self, old: &str, new: &str) -> Result<(), Refusal> {
        let (old, new) = (self.address(old)?, self.address(new)?);
        if old.kind != TokenKind::Subscription {
            return Ok(());
        }
        let rotated = self.gateway.rotate(&self.app, None, &old, &new).await;
        rotated.map(drop).map_err(|error| Refusal::push_token(&error))
    }

    /// Records a device event, authenticated by the event token in the push.
    pub(crate) async fn receipt(&self, token: &str, event: DeviceEvent) -> Result<(), DeviceEventError> {
        self.gateway.record_event(token, event).await.map(drop)
    }

    pub(crate) async fn close(&self) {
        self.gateway.shutdown(Duration::from_secs(5)).await;
    }

    /// Parses a token: JSON is a Web Push subscription, anything else an FCM token.
    fn address(&self, token: &str) -> Result<Address, Refusal> {
        let (name, kind) = match token.starts_with('{') {
            true => ("webpush", TokenKind::Subscription),
            false => ("fcm", TokenKind::Token),
        };
        let address = Address { channel: channel(name), kind, token: token.into() };
        if let Some(app) = self.gateway.app(&self.app) {
            app.admits(&address).map_err(|error| Refusal::push_token(&error))?;
        }
        Ok(address)
    }
}

/// Returns the profile for `resourcesID: "call"`, whose notification stays on the screen until the user decides.
fn call_profile() -> Profile {
    let stays = json!({"notification": {"requireInteraction": true}});
    Profile { options: [(channel("webpush"), stays)].into(), ..Profile::default() }
}

/// Prints an event. A real server would show it to its operator or the sender.
fn heard(event: &Event) {
    if let Event::DeviceEvent { id, event, .. } = event {
        tracing::info!(notification = %id, told = event.as_str(), "a browser tells what became of a push");
    }
}

impl Matter<'_> {
    fn put(&self, mut asked: Notification) -> Option<Notification> {
        match self {
            Self::Message { conversation, ack_within } => {
                asked.ack_within = Some(*ack_within);
                asked.link = Some(format!("/#{conversation}").into());
            }
            Self::Call { id, timeout } => {
                asked.purpose = Purpose::Call(Call::new(call_id(id)?, *timeout).ok()?);
                asked.link = Some(format!("/#call-{id}").into());
            }
            Self::CallOver { id } => {
                asked.purpose = Purpose::CallOver(call_id(id)?);
                // Who has come meanwhile may still have it on his screen.
                asked.when = When::Always;
            }
        }
        Some(asked)
    }
}

fn call_id(id: &str) -> Option<CallId> {
    CallId::new(id).ok()
}

fn user_id(user: &str) -> Result<UserId, Refusal> {
    UserId::new(user).map_err(|error| Refusal::parameter(error.to_string()))
}

fn device_id(device: &str) -> Result<DeviceId, Refusal> {
    DeviceId::new(device).map_err(|error| Refusal::parameter(error.to_string()))
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).expect("a lower-case word is a name")
}

/// Returns the VAPID key pair. It is created at the first start and kept, because subscriptions are bound to it.
fn vapid_keys(options: &Options) -> Result<KeyPair, Box<dyn std::error::Error>> {
    let path = options.data.join("vapid.json");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let kept: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| kept[name].as_str().unwrap_or_default().to_owned();
        return Ok(KeyPair { private: field("private").into(), public: field("public") });
    }
    let keys = KeyPair::generate().ok_or("no key can be made")?;
    let kept = json!({"private": keys.private.expose(), "public": keys.public});
    std::fs::write(&path, kept.to_string())?;
    Ok(keys)
}
