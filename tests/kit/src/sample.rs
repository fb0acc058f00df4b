//! What tests send: one message, one delivery, the same everywhere, so that a test names only what it is about.

use std::sync::Arc;
use std::time::Duration;

use pushgate::{
    Act, Address, AppId, ChannelName, Delivery, DeliveryId, Message, NotificationId, Priority, Target,
    Timestamp, TokenKind, When,
};

/// When the sample message was asked for: 2023-11-14T22:13:20Z.
pub const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A message of a person to a person, asked for at [`NOW`], worth sending for an hour.
///
/// # Panics
/// Never: its names are valid.
#[must_use]
pub fn message() -> Message {
    Message {
        id: NotificationId("018bd000-0000-7000-8000-000000000001".parse().expect("a uuid")),
        app: AppId::new("demo").expect("a name"),
        title: "Ann".into(),
        content: "hello".into(),
        payload: Some(r#"{"conversation":"ann"}"#.into()),
        image: None,
        link: Some("https://app.example/ann".into()),
        collapse_key: None,
        thread: Some("ann".into()),
        category: None,
        priority: Priority::High,
        badge: Some(3),
        silent: false,
        act: Act::Show,
        when: When::Offline,
        created_at: NOW,
        ttl: Duration::from_secs(3600),
        overrides: None,
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
    let targets: Vec<_> = (0..)
        .zip(addresses)
        .map(|(index, address)| Target { index, device: None, user: None, address, registered_at: None })
        .collect();
    let channel = targets.first().expect("a delivery goes somewhere").address.channel.clone();
    Delivery { id: DeliveryId::new(), channel, message: Arc::new(message), targets, attempt: 1 }
}
