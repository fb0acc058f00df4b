//! Virtual devices of the demonstration: their registration, the arrival of a push, and the notification that they show.

use pushgate_emulator::{
    Emulator, Environment, EventKind, Platform, ShownNotification, Subscription, WebPushService,
};
use serde_json::{Value, json};

use super::ARRIVAL_TIMEOUT;

/// Virtual device of the user bob.
pub(super) struct Device {
    /// Id of the device at the gateway.
    pub(super) id: &'static str,
    /// Description of the device and its push service.
    pub(super) label: &'static str,
    platform: &'static str,
    address: Value,
    kind: Kind,
}

enum Kind {
    Page,
    Firefox(Subscription),
    Phone,
}

/// Notification that a device shows.
pub(super) struct Shown {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) payload: Option<String>,
}

/// Error that ends a demonstration.
type Error = Box<dyn std::error::Error + Send + Sync>;

impl Device {
    /// Creates a web page that is reached by FCM.
    pub(super) fn page(emulator: &Emulator) -> Result<Self, Error> {
        let device = emulator.fcm().add_device("bob-web", Platform::Web);
        let token = device.ok_or("no keys for the virtual device")?.token;
        let address = json!({"channel": "fcm", "token": token});
        Ok(Self { id: "bob-web", label: "a web page by FCM", platform: "web", address, kind: Kind::Page })
    }

    /// Creates a Firefox that is reached by Web Push.
    pub(super) fn firefox(emulator: &Emulator) -> Result<Self, Error> {
        let subscription = emulator
            .webpush()
            .subscribe(WebPushService::Mozilla, emulator.vapid_public_key())
            .map_err(Box::new)?;
        let address = json!({"channel": "webpush", "subscription": subscription});
        let kind = Kind::Firefox(subscription);
        Ok(Self { id: "bob-firefox", label: "a Firefox by Web Push", platform: "web", address, kind })
    }

    /// Creates an iPhone that is reached by APNs.
    pub(super) fn phone(emulator: &Emulator) -> Self {
        let token = emulator.apns().add_device("bob-phone", Environment::Production).token;
        let address = json!({"channel": "apns", "token": token});
        Self { id: "bob-phone", label: "an iPhone by APNs", platform: "ios", address, kind: Kind::Phone }
    }

    /// Returns the body of the registration.
    pub(super) fn registration(&self) -> Value {
        json!({"user": "bob", "platform": self.platform, "locale": "en", "addresses": [self.address]})
    }

    /// Waits for a push and returns its arrival in milliseconds since 1970. `None` means that none arrived in time.
    pub(super) async fn arrived_ms(&self, emulator: &Emulator) -> Option<u64> {
        let name = match &self.kind {
            Kind::Firefox(subscription) => subscription.id.as_str(),
            Kind::Page | Kind::Phone => self.id,
        };
        let is_arrival =
            |event: &EventKind| matches!(event, EventKind::Arrived { device, .. } if device == name);
        let arrived = match self.kind {
            Kind::Page => emulator.fcm().wait_for(is_arrival, ARRIVAL_TIMEOUT).await,
            Kind::Firefox(_) => emulator.webpush().wait_for(is_arrival, ARRIVAL_TIMEOUT).await,
            Kind::Phone => emulator.apns().wait_for(is_arrival, ARRIVAL_TIMEOUT).await,
        };
        arrived.map(|event| event.at_ms)
    }

    /// Returns the latest notification that the device shows.
    pub(super) fn shown(&self, emulator: &Emulator) -> Option<Shown> {
        let newest = |inbox: Option<Vec<ShownNotification>>| inbox?.into_iter().next().map(Shown::from);
        match &self.kind {
            Kind::Page => newest(emulator.fcm().inbox(self.id)),
            Kind::Phone => newest(emulator.apns().inbox(self.id)),
            Kind::Firefox(subscription) => {
                let push = emulator.webpush().inbox(subscription).into_iter().next()?;
                let text: Value = serde_json::from_str(&push.text?).ok()?;
                let field = |value: &Value| value.as_str().map(str::to_owned);
                let shown = &text["notification"];
                Some(Shown {
                    title: field(&shown["title"])?,
                    body: field(&shown["body"])?,
                    payload: field(&text["data"]["payload"]),
                })
            }
        }
    }
}

impl From<ShownNotification> for Shown {
    fn from(shown: ShownNotification) -> Self {
        let payload = shown.data.get("payload").and_then(Value::as_str).map(str::to_owned);
        Self { title: shown.title, body: shown.body, payload }
    }
}

impl Shown {
    pub(super) fn to_json(&self) -> Value {
        json!({"title": self.title, "body": self.body, "payload": self.payload})
    }

    /// Formats the texts inside a frame.
    pub(super) fn to_frame(&self) -> String {
        let payload = format!("payload: {}", self.payload.as_deref().unwrap_or("(none)"));
        let lines = [&self.title, &self.body, &payload];
        let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        let mut frame = format!("┌─{}─┐\n", "─".repeat(width));
        for line in lines {
            frame.push_str(&format!("│ {line}{} │\n", " ".repeat(width - line.chars().count())));
        }
        frame.push_str(&format!("└─{}─┘", "─".repeat(width)));
        frame
    }
}
