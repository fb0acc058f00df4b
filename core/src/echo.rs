//! What a device itself tells of a notification: that it has come, that it was clicked or waved away. By what right it tells:
//! a token of its own for each address of each notification, which proves that the push was read there and is good for
//! nothing else.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::words::{NotificationId, Secret, Timestamp};

/// Something a device tells of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Echo {
    /// The push has come to the device.
    Arrived,
    /// Its user clicked the notification.
    Clicked,
    /// Its user waved the notification away.
    Dismissed,
}

impl Echo {
    /// Every one, in the order in which they happen.
    pub const ALL: [Self; 3] = [Self::Arrived, Self::Clicked, Self::Dismissed];

    /// The name used in the API, in stores and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Clicked => "clicked",
            Self::Dismissed => "dismissed",
        }
    }
}

/// When a device first told what, of one notification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echoes {
    /// When it said that the push has come; what else it says implies that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_at: Option<Timestamp>,
    /// When it said that the notification was clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clicked_at: Option<Timestamp>,
    /// When it said that the notification was waved away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dismissed_at: Option<Timestamp>,
}

impl Echoes {
    /// When it told this.
    #[must_use]
    pub const fn at(&self, echo: Echo) -> Option<Timestamp> {
        match echo {
            Echo::Arrived => self.arrived_at,
            Echo::Clicked => self.clicked_at,
            Echo::Dismissed => self.dismissed_at,
        }
    }

    /// Keeps that it told this; the first time counts. Whether it is news.
    pub fn hear(&mut self, echo: Echo, at: Timestamp) -> bool {
        let is_news = self.at(echo).is_none();
        // The report of its arrival may have been lost on the way.
        self.arrived_at.get_or_insert(at);
        match echo {
            Echo::Arrived => {}
            Echo::Clicked => _ = self.clicked_at.get_or_insert(at),
            Echo::Dismissed => _ = self.dismissed_at.get_or_insert(at),
        }
        is_news
    }

    /// Whether it told nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the devices of one notification tell what became of it, and what their tokens are made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnAddress {
    /// An HTTPS address, or a path on the site of the page.
    pub url: String,
    /// This notification's own key, never the gateway's: whoever reads the queue can forge no receipt of another one.
    key: Secret,
}

impl ReturnAddress {
    /// With a key that is this notification's own. A gateway makes them by itself; this is for tests of channels.
    #[must_use]
    pub const fn new(url: String, key: Secret) -> Self {
        Self { url, key }
    }

    /// The address with the token of one target behind a `#`, which no request carries by itself. It is as long for every
    /// target.
    #[must_use]
    pub fn of(&self, id: NotificationId, index: u32) -> String {
        let proof = proof(self.key.expose().as_bytes(), index);
        let mut token = [0; TOKEN];
        token[..ID].copy_from_slice(id.0.as_bytes());
        token[ID..ID + INDEX].copy_from_slice(&index.to_be_bytes());
        token[ID + INDEX..].copy_from_slice(&proof.as_ref()[..PROOF]);
        format!("{}#{}", self.url, URL_SAFE_NO_PAD.encode(token))
    }
}

/// Whose word a token is: which target of which notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    /// Of which notification.
    pub notification: NotificationId,
    /// The target's number within it.
    pub index: u32,
}

const ID: usize = 16;
const INDEX: usize = 4;
/// 128 bits: nobody guesses them, and they cost a push 22 letters.
const PROOF: usize = 16;
const TOKEN: usize = ID + INDEX + PROOF;

/// Makes return addresses, and reads the tokens that come back.
pub(crate) struct Mailroom {
    url: String,
    key: hmac::Key,
}

impl fmt::Debug for Mailroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailroom").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Mailroom {
    pub(crate) fn new(url: &str, key: &Secret) -> Self {
        Self { url: url.to_owned(), key: hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()) }
    }

    pub(crate) fn return_address(&self, id: NotificationId) -> ReturnAddress {
        ReturnAddress { url: self.url.clone(), key: self.key_of(id) }
    }

    /// Whose word this is; none when no gateway with this key has made the token.
    pub(crate) fn speaker(&self, token: &str) -> Option<Speaker> {
        let token: [u8; TOKEN] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (id, rest) = token.split_first_chunk::<ID>()?;
        let (index, given) = rest.split_first_chunk::<INDEX>()?;
        let notification = NotificationId(uuid::Uuid::from_bytes(*id));
        let index = u32::from_be_bytes(*index);
        let proof = proof(self.key_of(notification).expose().as_bytes(), index);
        verify_slices_are_equal(&proof.as_ref()[..PROOF], given).ok()?;
        Some(Speaker { notification, index })
    }

    fn key_of(&self, id: NotificationId) -> Secret {
        // For nothing but receipts, whatever else the gateway's key may come to be used for.
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"receipts of ");
        context.update(id.0.as_bytes());
        URL_SAFE_NO_PAD.encode(context.sign()).into()
    }
}

fn proof(key: &[u8], index: u32) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &index.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailroom(key: &str) -> Mailroom {
        Mailroom::new("https://push.example/v1/receipts", &key.into())
    }

    fn token(address: &str) -> &str {
        address.split_once('#').unwrap().1
    }

    #[test]
    fn a_token_names_its_target_and_nobody_makes_one_without_the_key() {
        let (ours, id) = (mailroom("key"), NotificationId::new());
        let address = ours.return_address(id).of(id, 7);
        assert!(address.starts_with("https://push.example/v1/receipts#"), "{address}");
        assert_eq!(ours.speaker(token(&address)), Some(Speaker { notification: id, index: 7 }));
        assert_eq!(mailroom("another key").speaker(token(&address)), None);
        for index in [0, u32::MAX] {
            assert_eq!(
                ours.return_address(id).of(id, index).len(),
                address.len(),
                "as long for every target"
            );
        }
    }

    #[test]
    fn no_letter_of_a_token_can_be_changed() {
        let (ours, id) = (mailroom("key"), NotificationId::new());
        let address = ours.return_address(id).of(id, 7);
        for at in 0..token(&address).len() {
            let mut forged = token(&address).as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.speaker(std::str::from_utf8(&forged).unwrap()), None, "letter {at}");
        }
        for none in ["", "=", "AAAA", &"A".repeat(48), &"A".repeat(10_000), "ü"] {
            assert_eq!(ours.speaker(none), None, "{none:.9}");
        }
    }

    #[test]
    fn the_key_of_one_notification_makes_no_token_of_another() {
        let (ours, id, other) = (mailroom("key"), NotificationId::new(), NotificationId::new());
        let forged = ours.return_address(id).of(other, 7);
        assert_eq!(ours.speaker(token(&forged)), None);
    }

    #[test]
    fn the_first_time_counts_and_a_click_implies_an_arrival() {
        let at = Timestamp::from_millis;
        let mut echoes = Echoes::default();
        assert!(echoes.hear(Echo::Clicked, at(2)));
        assert!(!echoes.hear(Echo::Clicked, at(3)));
        assert!(!echoes.hear(Echo::Arrived, at(4)), "it was implied");
        assert!(echoes.hear(Echo::Dismissed, at(5)));
        assert_eq!(Echo::ALL.map(|echo| echoes.at(echo)), [Some(at(2)), Some(at(2)), Some(at(5))]);
    }

    #[test]
    fn a_return_address_does_not_print_its_key() {
        let address = mailroom("key").return_address(NotificationId::new());
        assert!(!format!("{address:?}").contains(address.key.expose()));
    }
}
