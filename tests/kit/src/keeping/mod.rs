//! Suites for stores and queues. An implementation calls `pushgate_kit::keeping::store(&store).await` and
//! `pushgate_kit::keeping::queue(&queue).await`. Each check uses an app of its own, so that one instance serves all.

mod dead;
mod expiry;
mod later;
mod moves;
mod queue;
mod store;
mod takeover;

use pushgate::{
    Address, AppId, ChannelName, Device, DeviceId, Platform, Timestamp, TokenKind, Traits, UserId,
};

pub use moves::no_sequence_leaves_an_address_with_two_users;
pub use queue::queue;
pub use store::store;

const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn app(name: &str) -> AppId {
    AppId::new(name).expect("a valid name")
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a valid name")
}

fn device_id(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a valid name")
}

fn channel() -> ChannelName {
    ChannelName::new("way").expect("a valid name")
}

fn address(token: &str) -> Address {
    Address { channel: channel(), kind: TokenKind::Token, token: token.into() }
}

fn device(app: &AppId, id: &str, user: &str, tokens: &[&str]) -> Device {
    Device {
        app: app.clone(),
        id: device_id(id),
        user: UserId::new(user).ok(),
        traits: Traits::of(Platform::Web),
        addresses: tokens.iter().map(|token| address(token)).collect(),
        registered_at: T0,
    }
}
