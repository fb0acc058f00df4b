//! What tests send: one message, one delivery, the same everywhere, so that a test names only what it is about.

use std::sync::Arc;
use std::time::Duration;

use pushgate::{
    Address, AppId, ChannelName, Delivery, DeliveryId, Message, NotificationId, Target, Timestamp, TokenKind,
};

/// When the sample message was asked for: 2023-11-14T22:13:20Z.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A message of a person to a person, asked for at [`NOW`], worth sending for an hour.
///
/// # Panics
/// Never: its names are valid.
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

/// An address on the channel of that name.
///
/// # Panics
/// When `channel` is no name: tests write it down.
#[must_use]
pub fn address(channel: &str, kind: TokenKind, token: &str) -> Address {
    Address { channel: ChannelName::new(channel).expect("a test writes a name"), kind, token: token.into() }
}

/// A first attempt of `message` for these addresses, which are of one channel.
///
/// # Panics
/// When there is no address.
#[must_use]
pub fn delivery(message: Message, addresses: impl IntoIterator<Item = Address>) -> Delivery {
    let targets: Vec<_> = (0..).zip(addresses).map(|(index, address)| Target::bare(index, address)).collect();
    let channel = targets.first().expect("a delivery goes somewhere").address.channel.clone();
    Delivery { id: DeliveryId::new(), channel, message: Arc::new(message), targets, attempt: 1 }
}
