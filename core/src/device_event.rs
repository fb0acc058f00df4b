//! Device events: an SDK reports that a push arrived, or that its user clicked or dismissed the notification.
//!
//! An event token in the push authenticates the report. Each recipient of each notification has its own token. The token
//! proves that the push was read on that device, and permits nothing else.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::ids::NotificationId;
use crate::secret::Secret;
use crate::timestamp::Timestamp;

/// Kind of a device event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceEvent {
    /// The push arrived on the device.
    Arrived,
    /// The user clicked the notification.
    Clicked,
    /// The user dismissed the notification.
    Dismissed,
}

impl DeviceEvent {
    /// Every kind, in the order in which events happen.
    pub const ALL: [Self; 3] = [Self::Arrived, Self::Clicked, Self::Dismissed];

    /// Returns the name used in the API, in stores and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Clicked => "clicked",
            Self::Dismissed => "dismissed",
        }
    }
}

/// Device events of one recipient, each with the time of its first report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceEvents {
    /// Time of arrival. The other events imply an arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_at: Option<Timestamp>,
    /// Time of the click.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clicked_at: Option<Timestamp>,
    /// Time of the dismissal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dismissed_at: Option<Timestamp>,
}

impl DeviceEvents {
    /// Returns the time of an event. `None` means that the event was not reported.
    #[must_use]
    pub const fn at(&self, event: DeviceEvent) -> Option<Timestamp> {
        match event {
            DeviceEvent::Arrived => self.arrived_at,
            DeviceEvent::Clicked => self.clicked_at,
            DeviceEvent::Dismissed => self.dismissed_at,
        }
    }

    /// Records an event. Its first time counts. Returns `true` if the event was recorded for the first time.
    pub fn record(&mut self, event: DeviceEvent, at: Timestamp) -> bool {
        let is_first = self.at(event).is_none();
        // The report of the arrival may be lost, and every other event implies it.
        self.arrived_at.get_or_insert(at);
        match event {
            DeviceEvent::Arrived => {}
            DeviceEvent::Clicked => _ = self.clicked_at.get_or_insert(at),
            DeviceEvent::Dismissed => _ = self.dismissed_at.get_or_insert(at),
        }
        is_first
    }

    /// Returns `true` if no event was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Endpoint for the device events of one notification, and the key that signs its event tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEndpoint {
    /// HTTPS URL, or a path on the site of the web page.
    pub url: String,
    /// Key of this notification alone, never the gateway's: a reader of the queue cannot forge events of other notifications.
    key: Secret,
}

impl EventEndpoint {
    /// Creates an endpoint with the key of one notification. For tests of channels. A gateway derives the key itself.
    #[must_use]
    pub const fn new(url: String, key: Secret) -> Self {
        Self { url, key }
    }

    /// Returns the URL with the event token of one target after a `#`, because HTTP requests do not carry fragments. The
    /// length is the same for every target.
    #[must_use]
    pub fn url_for(&self, id: NotificationId, index: u32) -> String {
        let signature = signature(self.key.expose().as_bytes(), index);
        let mut token = [0; TOKEN_BYTES];
        token[..ID_BYTES].copy_from_slice(id.0.as_bytes());
        token[ID_BYTES..ID_BYTES + INDEX_BYTES].copy_from_slice(&index.to_be_bytes());
        token[ID_BYTES + INDEX_BYTES..].copy_from_slice(&signature.as_ref()[..SIGNATURE_BYTES]);
        format!("{}#{}", self.url, URL_SAFE_NO_PAD.encode(token))
    }
}

/// Recipient that an event token identifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventClaims {
    /// Notification of the recipient.
    pub notification: NotificationId,
    /// Index of the target within the notification.
    pub index: u32,
}

const ID_BYTES: usize = 16;
const INDEX_BYTES: usize = 4;
/// 128 bits cannot be guessed, and take 22 characters in a push.
const SIGNATURE_BYTES: usize = 16;
const TOKEN_BYTES: usize = ID_BYTES + INDEX_BYTES + SIGNATURE_BYTES;

/// Creates the event endpoint of each notification, and verifies event tokens.
pub(crate) struct EventTokenSigner {
    url: String,
    key: hmac::Key,
}

impl fmt::Debug for EventTokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventTokenSigner").field("url", &self.url).finish_non_exhaustive()
    }
}

impl EventTokenSigner {
    pub(crate) fn new(url: &str, key: &Secret) -> Self {
        Self { url: url.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()) }
    }

    pub(crate) fn event_endpoint(&self, id: NotificationId) -> EventEndpoint {
        EventEndpoint { url: self.url.clone(), key: self.key_of(id) }
    }

    /// Verifies an event token. `None` means that no gateway with this key has signed it.
    pub(crate) fn verify(&self, token: &str) -> Option<EventClaims> {
        let token: [u8; TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (id, rest) = token.split_first_chunk::<ID_BYTES>()?;
        let (index, given) = rest.split_first_chunk::<INDEX_BYTES>()?;
        let notification = NotificationId(uuid::Uuid::from_bytes(*id));
        let index = u32::from_be_bytes(*index);
        let signature = signature(self.key_of(notification).expose().as_bytes(), index);
        verify_slices_are_equal(&signature.as_ref()[..SIGNATURE_BYTES], given).ok()?;
        Some(EventClaims { notification, index })
    }

    fn key_of(&self, id: NotificationId) -> Secret {
        // The prefix separates these keys from any other use of the gateway's key.
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"receipts of ");
        context.update(id.0.as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign()).into()
    }
}

fn signature(key: &[u8], index: u32) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &index.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_signer(key: &str) -> EventTokenSigner {
        EventTokenSigner::new("https://push.example/v1/receipts", &key.into())
    }

    fn token(address: &str) -> &str {
        address.split_once('#').unwrap().1
    }

    #[test]
    fn an_event_token_identifies_its_recipient_and_needs_the_key() {
        let (signer, id) = (token_signer("key"), NotificationId::new());
        let address = signer.event_endpoint(id).url_for(id, 7);
        assert!(address.starts_with("https://push.example/v1/receipts#"), "{address}");
        assert_eq!(signer.verify(token(&address)), Some(EventClaims { notification: id, index: 7 }));
        assert_eq!(token_signer("another key").verify(token(&address)), None);
        for index in [0, u32::MAX] {
            assert_eq!(
                signer.event_endpoint(id).url_for(id, index).len(),
                address.len(),
                "as long for every target"
            );
        }
    }

    #[test]
    fn a_changed_event_token_is_rejected() {
        let (signer, id) = (token_signer("key"), NotificationId::new());
        let address = signer.event_endpoint(id).url_for(id, 7);
        for at in 0..token(&address).len() {
            let mut forged = token(&address).as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(signer.verify(std::str::from_utf8(&forged).unwrap()), None, "letter {at}");
        }
        for invalid in ["", "=", "AAAA", &"A".repeat(48), &"A".repeat(10_000), "ü"] {
            assert_eq!(signer.verify(invalid), None, "{invalid:.9}");
        }
    }

    #[test]
    fn the_key_of_one_notification_signs_no_token_of_another() {
        let (signer, id, other) = (token_signer("key"), NotificationId::new(), NotificationId::new());
        let forged = signer.event_endpoint(id).url_for(other, 7);
        assert_eq!(signer.verify(token(&forged)), None);
    }

    #[test]
    fn the_first_time_of_an_event_counts_and_a_click_implies_an_arrival() {
        let at = Timestamp::from_millis;
        let mut events = DeviceEvents::default();
        assert!(events.record(DeviceEvent::Clicked, at(2)));
        assert!(!events.record(DeviceEvent::Clicked, at(3)));
        assert!(!events.record(DeviceEvent::Arrived, at(4)), "it was implied");
        assert!(events.record(DeviceEvent::Dismissed, at(5)));
        assert_eq!(DeviceEvent::ALL.map(|event| events.at(event)), [Some(at(2)), Some(at(2)), Some(at(5))]);
    }

    #[test]
    fn debug_of_an_event_endpoint_shows_no_key() {
        let address = token_signer("key").event_endpoint(NotificationId::new());
        assert!(!format!("{address:?}").contains(address.key.expose()));
    }
}
