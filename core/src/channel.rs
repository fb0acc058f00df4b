//! The trait every way to a vendor implements, and what it declares about itself.
//! `docs/channel-spec.md` is the contract in full; `channels/dummy` is the example to read first.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::delivery::{Delivery, Message};
use crate::device::{Address, TokenKind};
use crate::fault::{Fault, Kind};
use crate::report::Report;
use crate::words::{ChannelName, Timestamp};

/// One configured way to a vendor.
///
/// A channel never sleeps, never retries, never opens a socket of its own and never reads a clock: transport, clock and
/// randomness are handed to its constructor. It must be cancel-safe: a dropped `send` leaves nothing behind.
#[async_trait]
pub trait PushChannel: Send + Sync + 'static {
    /// What it is and what it can do. Constant for the life of the channel.
    fn info(&self) -> &ChannelInfo;

    /// Whether this address could ever be sent to, as far as its own text tells. Asked when a device is registered and when
    /// a notification names it, so that a mistake is told to whoever made it. Pure: no network, no clock.
    ///
    /// # Errors
    /// A fault whose detail says what would be right, without repeating the token.
    fn admits(&self, address: &Address) -> Result<(), Fault> {
        let tokens = self.info().capability.tokens;
        if tokens.contains(&address.kind) {
            return Ok(());
        }
        let taken = tokens.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ");
        let detail = format!("{} takes a {taken}, not a {}", self.info().kind, address.kind.as_str());
        Err(Fault::new(Kind::Unsupported, detail))
    }

    /// What it would send for `message`, without any address. Pure. Planning asks it for the size, preview for the body.
    fn render(&self, message: &Message) -> Rendered;

    /// Sends one delivery: one outcome for each target, in their order. Infallible; every failure is an outcome.
    async fn send(&self, delivery: &Delivery) -> Report;

    /// Are the credentials good, and until when? Must not reach any user.
    ///
    /// # Errors
    /// A fault whose kind and detail say what is wrong and whose it is.
    async fn probe(&self) -> Result<Probe, Fault>;
}

/// What a channel is.
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    /// Which implementation (`kind = "…"` in the configuration).
    pub kind: &'static str,
    /// Which instance, unique within its app.
    pub name: ChannelName,
    /// How long one `send` may take. The channel puts it on its requests; the timeout layer is the backstop.
    pub timeout: Duration,
    /// What it can do.
    pub capability: Capability,
}

/// What a channel can do. The conformance suite tests what is declared, so declare what is true.
#[derive(Debug, Clone, Serialize)]
pub struct Capability {
    /// The most addresses in one delivery.
    pub max_batch: usize,
    /// The most bytes [`Rendered::counted`] may reach.
    pub max_bytes: usize,
    /// The longest time to live the vendor honours; longer ones are clamped by the channel.
    pub max_ttl: Duration,
    /// What tokens it understands.
    pub tokens: &'static [TokenKind],
    /// A later message replaces an earlier one with the same collapse key.
    pub collapse: bool,
    /// It tells priorities apart.
    pub priority: bool,
    /// It can set the number on the icon.
    pub badge: bool,
    /// It can send data without showing anything.
    pub silent: bool,
    /// It can show a picture.
    pub image: bool,
    /// The vendor reports arrival by itself.
    pub receipts: bool,
    /// The shortest wait before any retry that the vendor tolerates.
    pub retry_floor: Duration,
    /// How long to pause when the vendor throttles without saying how long.
    pub throttle_pause: Duration,
}

impl Capability {
    /// A capability that promises little: one address at a time, 4,096 bytes, tokens, nothing else. Add what is true.
    pub const BASIC: Self = Self {
        max_batch: 1,
        max_bytes: 4096,
        max_ttl: Duration::from_secs(28 * 24 * 3600),
        tokens: &[TokenKind::Token],
        collapse: false,
        priority: false,
        badge: false,
        silent: false,
        image: false,
        receipts: false,
        retry_floor: Duration::from_millis(500),
        throttle_pause: Duration::from_secs(60),
    };
}

/// What a channel would send.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The vendor's request, as its documentation shows it, without an address and without credentials.
    pub body: Value,
    /// How many bytes of it count against [`Capability::max_bytes`].
    pub counted: usize,
}

/// What a probe learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whom the vendor takes us for: a project, a team, a bundle. No secret.
    pub identity: String,
    /// When the credentials end, where that is known.
    pub expires_at: Option<Timestamp>,
}
