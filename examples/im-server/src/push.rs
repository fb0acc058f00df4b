//! Where the IM server and the gateway meet: tokens become devices, what a sender wants shown becomes a notification.

use std::sync::Arc;
use std::time::Duration;

use pushgate::gateway::ReceiptError;
use pushgate::observe::Event;
use pushgate::{
    Address, AppId, Audience, ChannelName, Device, DeviceId, Echo, Gateway, Notification, Platform, Selector,
    SystemClock, TokenKind, Traits, UserId, When,
};
use pushgate_fcm::Fcm;
use pushgate_sqlite::SqliteStore;
use pushgate_transport::{HttpTransport, Roots};
use pushgate_webpush::{KeyPair, WebPush};

use crate::options::Options;
use crate::session::Sessions;
use crate::wire::{PushConfig, Refusal};

/// The one app of this server.
const APP: &str = "im";
/// Where service workers tell what became of a push.
pub(crate) const RECEIPTS: &str = "/receipts";
/// As many users as one notification names.
const AT_ONCE: usize = Audience::MAX;

/// The gateway, and what pages have to know of it.
pub(crate) struct Push {
    gateway: Gateway,
    app: AppId,
    /// The key that pages subscribe with.
    pub(crate) vapid_key: String,
}

/// What goes with a notification beside its text.
pub(crate) struct About {
    /// A later push under the same name takes this one's place.
    pub(crate) collapse_key: Option<String>,
    pub(crate) ttl: Duration,
    pub(crate) when: When,
    /// Where a click leads.
    pub(crate) link: String,
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
        let mut gateway = Gateway::builder()
            .store(SqliteStore::open(options.data.join("push.db"))?)
            .presence(presence)
            // The worker is of this very site.
            .receipts(RECEIPTS)
            .observer(heard)
            .channel(web_push);
        if let Some(account) = &options.service_account {
            gateway =
                gateway.channel(Fcm::from_service_account(&std::fs::read_to_string(account)?, transport)?);
        }
        let gateway = gateway.route(Selector::platform(Platform::Web), [channel("webpush"), channel("fcm")]);
        let app = AppId::new(APP)?;
        Ok(Self { gateway: gateway.start().await?, app, vapid_key: keys.public })
    }

    /// From now on this browser's pushes are this user's, and nobody else's.
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

    /// This browser is nobody's any more.
    pub(crate) async fn unbind(&self, device: &str) -> Result<(), Refusal> {
        let id = device_id(device)?;
        self.gateway.store().forget(&self.app, &id).await.map_err(|error| Refusal::storage(&error))?;
        Ok(())
    }

    /// Whether the user could be pushed to.
    pub(crate) async fn knows(&self, user: &str) -> Result<bool, Refusal> {
        let user = user_id(user)?;
        let devices = self.gateway.store().devices_of(&self.app, &[user]).await;
        Ok(devices.map_err(|error| Refusal::storage(&error))?.iter().any(|d| !d.addresses.is_empty()))
    }

    /// Asks for a push to these users. When this returns it is on disk, and comes even if the server dies now.
    pub(crate) async fn notify(&self, users: &[String], shown: &PushConfig, about: &About) {
        // Nothing to show is no push: the message waits for its reader all the same.
        if shown.title.is_empty() || shown.content.is_empty() {
            return;
        }
        let users: Vec<_> = users.iter().filter_map(|user| UserId::new(user).ok()).collect();
        for some in users.chunks(AT_ONCE) {
            let mut asked = Notification::new(self.app.clone(), Audience::Users(some.to_vec()))
                .title(shown.title.as_str())
                .content(shown.content.as_str())
                .ttl(about.ttl);
            asked.payload =
                shown.payload.as_ref().or(shown.extended_data.as_ref()).map(|p| p.as_str().into());
            asked.collapse_key.clone_from(&about.collapse_key);
            asked.thread.clone_from(&shown.thread_id);
            asked.link = Some(about.link.as_str().into());
            asked.when = about.when;
            if let Err(error) = self.gateway.submit(asked).await {
                tracing::error!(%error, "no push was accepted");
            }
        }
    }

    /// A browser has got a new token while no page was open; the old one proves which browser it is.
    pub(crate) async fn rotate(&self, old: &str, new: &str) -> Result<(), Refusal> {
        let (old, new) = (self.address(old)?, self.address(new)?);
        let rotated = self.gateway.rotate(&self.app, &old, &new).await;
        rotated.map(drop).map_err(|error| Refusal::push_token(&error))
    }

    /// A service worker tells what became of a push, by the token in it.
    pub(crate) async fn receipt(&self, token: &str, echo: Echo) -> Result<(), ReceiptError> {
        self.gateway.receipt(token, echo).await.map(drop)
    }

    pub(crate) async fn close(&self) {
        self.gateway.shutdown(Duration::from_secs(5)).await;
    }

    /// A Web Push subscription is JSON; anything else is a token of FCM.
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

/// What a server would show its operator, or the sender.
fn heard(event: &Event) {
    if let Event::Echo { id, echo, .. } = event {
        tracing::info!(notification = %id, told = echo.as_str(), "a browser tells what became of a push");
    }
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

/// The key pair that subscriptions belong to: made at the first start, the same ever after.
fn vapid_keys(options: &Options) -> Result<KeyPair, Box<dyn std::error::Error>> {
    let path = options.data.join("vapid.json");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let kept: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| kept[name].as_str().unwrap_or_default().to_owned();
        return Ok(KeyPair { private: field("private").into(), public: field("public") });
    }
    let keys = KeyPair::generate().ok_or("no key can be made")?;
    let kept = serde_json::json!({"private": keys.private.expose(), "public": keys.public});
    std::fs::write(&path, kept.to_string())?;
    Ok(keys)
}
