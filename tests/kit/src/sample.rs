//! Sample messages and deliveries, the same for all tests, so that a test states only what it is about.

use std::sync::Arc;
use std::time::Duration;

use pushgate::{
    Address, AppId, ChannelName, Delivery, DeliveryId, Message, NotificationId, Target, Timestamp, TokenKind,
};

/// Creation time of the sample message: 2023-11-14T22:13:20Z.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Returns a message between two people, created at [`NOW`] with a time to live of one hour.
///
/// # Panics
/// Never, because its names are valid.
#[must_use]
pub fn message() -> Message {
    let id = NotificationId("018bd000-0000-7000-8000-000000000001".parse().expect("a uuid"));
    Message {
        title: "Ann".into(),
        content: "hello".into(),
        payload: Some(r#"{"conversation":"ann"}"#.into()),
        link: Some("https://app.example/ann".into()),
        thread: Some("ann".into()),
        badge: Some(3),
        ttl: Duration::from_secs(3600),
        ..Message::new(id, AppId::new("demo").expect("a name"), NOW)
    }
}

/// Returns an address on the channel of this name.
///
/// # Panics
/// Panics if `channel` is not a valid name.
#[must_use]
pub fn address(channel: &str, kind: TokenKind, token: &str) -> Address {
    Address { channel: ChannelName::new(channel).expect("a test writes a name"), kind, token: token.into() }
}

/// Returns a delivery of `message` for its first attempt to these addresses, which must be of one channel.
///
/// # Panics
/// Panics if there is no address.
#[must_use]
pub fn delivery(message: Message, addresses: impl IntoIterator<Item = Address>) -> Delivery {
    let targets: Vec<_> = (0..).zip(addresses).map(|(index, address)| Target::bare(index, address)).collect();
    let channel = targets.first().expect("a delivery goes somewhere").address.channel.clone();
    Delivery { id: DeliveryId::new(), channel, message: Arc::new(message), targets, attempt: 1 }
}
