//! The virtual devices of the demonstration: how each is registered, when a push arrived there, and what it shows.

use pushgate_emulator::{
    Emulator, Environment, EventKind, Platform, ShownNotification, Subscription, WebPushService,
};
use serde_json::{Value, json};

use super::PATIENCE;

/// One of bob's devices.
pub(super) struct Device {
    /// Its name at the gateway and on the screen.
    pub(super) id: &'static str,
    /// Where the push goes on its way there.
    pub(super) by: &'static str,
    platform: &'static str,
    address: Value,
    inside: Inside,
}

enum Inside {
    Page,
    Firefox(Subscription),
    Phone,
}

/// What a device shows.
pub(super) struct Card {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) payload: Option<String>,
}

/// What stops a demonstration.
type Error = Box<dyn std::error::Error + Send + Sync>;

impl Device {
    /// A web page behind FCM.
    pub(super) fn page(emulator: &Emulator) -> Result<Self, Error> {
        let device = emulator.fcm().add_device("bob-web", Platform::Web);
        let token = device.ok_or("no keys for the virtual device")?.token;
        let address = json!({"channel": "fcm", "token": token});
        Ok(Self { id: "bob-web", by: "a web page by FCM", platform: "web", address, inside: Inside::Page })
    }

    /// A Firefox, by Web Push.
    pub(super) fn firefox(emulator: &Emulator) -> Result<Self, Error> {
        let subscription = emulator
            .webpush()
            .subscribe(WebPushService::Mozilla, emulator.vapid_public_key())
            .map_err(Box::new)?;
        let address = json!({"channel": "webpush", "subscription": subscription});
        let inside = Inside::Firefox(subscription);
        Ok(Self { id: "bob-firefox", by: "a Firefox by Web Push", platform: "web", address, inside })
    }

    /// An iPhone, by APNs.
    pub(super) fn phone(emulator: &Emulator) -> Self {
        let token = emulator.apns().add_device("bob-phone", Environment::Production).token;
        let address = json!({"channel": "apns", "token": token});
        Self { id: "bob-phone", by: "an iPhone by APNs", platform: "ios", address, inside: Inside::Phone }
    }

    /// What the gateway is told of it.
    pub(super) fn registration(&self) -> Value {
        json!({"user": "bob", "platform": self.platform, "locale": "en", "addresses": [self.address]})
    }

    /// When a push arrived there, in milliseconds since 1970; none when none does.
    pub(super) async fn arrived_ms(&self, emulator: &Emulator) -> Option<u64> {
        let name = match &self.inside {
            Inside::Firefox(subscription) => subscription.id.as_str(),
            Inside::Page | Inside::Phone => self.id,
        };
        let here = |what: &EventKind| matches!(what, EventKind::Arrived { device, .. } if device == name);
        let arrived = match self.inside {
            Inside::Page => emulator.fcm().wait_for(here, PATIENCE).await,
            Inside::Firefox(_) => emulator.webpush().wait_for(here, PATIENCE).await,
            Inside::Phone => emulator.apns().wait_for(here, PATIENCE).await,
        };
        arrived.map(|event| event.at_ms)
    }

    /// What it shows last.
    pub(super) fn card(&self, emulator: &Emulator) -> Option<Card> {
        let newest = |inbox: Option<Vec<ShownNotification>>| inbox?.into_iter().next().map(Card::from);
        match &self.inside {
            Inside::Page => newest(emulator.fcm().inbox(self.id)),
            Inside::Phone => newest(emulator.apns().inbox(self.id)),
            Inside::Firefox(subscription) => {
                let push = emulator.webpush().inbox(subscription).into_iter().next()?;
                let text: Value = serde_json::from_str(&push.text?).ok()?;
                let field = |value: &Value| value.as_str().map(str::to_owned);
                let shown = &text["notification"];
                Some(Card {
                    title: field(&shown["title"])?,
                    body: field(&shown["body"])?,
                    payload: field(&text["data"]["payload"]),
                })
            }
        }
    }
}

impl From<ShownNotification> for Card {
    fn from(shown: ShownNotification) -> Self {
        let payload = shown.data.get("payload").and_then(Value::as_str).map(str::to_owned);
        Self { title: shown.title, body: shown.body, payload }
    }
}

impl Card {
    pub(super) fn json(&self) -> Value {
        json!({"title": self.title, "body": self.body, "payload": self.payload})
    }

    /// A frame with the texts in it.
    pub(super) fn drawn(&self) -> String {
        let payload = format!("payload: {}", self.payload.as_deref().unwrap_or("(none)"));
        let lines = [&self.title, &self.body, &payload];
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        let mut drawn = format!("┌─{}─┐\n", "─".repeat(width));
        for line in lines {
            drawn.push_str(&format!("│ {line}{} │\n", " ".repeat(width - line.chars().count())));
        }
        drawn.push_str(&format!("└─{}─┘", "─".repeat(width)));
        drawn
    }
}
