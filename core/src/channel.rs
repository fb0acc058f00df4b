//! The trait that every channel implements, and the capabilities that a channel declares.
//! `docs/channel-spec.md` is the full contract. Read `channels/dummy` first as an example.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::delivery::{Delivery, Message};
use crate::device::{Address, TokenKind};
use crate::fault::{Fault, Kind};
use crate::ids::ChannelName;
use crate::report::Report;
use crate::timestamp::Timestamp;

/// One configured way to a push service.
///
/// A channel never sleeps, never retries, never opens a socket of its own and never reads the system clock. Its
/// constructor takes transport, clock and randomness. A channel must be cancel-safe: a dropped `send` leaves no state.
#[async_trait]
pub trait PushChannel: Send + Sync + 'static {
    /// Returns name, timeout and capabilities of the channel. Constant for its whole life.
    fn info(&self) -> &ChannelInfo;

    /// Checks the form of an address: whether this channel could send to it. Called when a device is registered and when a
    /// notification names the address, so that the caller gets the error. Pure: no network, no clock.
    ///
    /// # Errors
    /// Returns a fault whose detail describes a valid address, without repeating the token.
    fn admits(&self, address: &Address) -> Result<(), Fault> {
        let tokens = self.info().capability.tokens;
        if tokens.contains(&address.kind) {
            return Ok(());
        }
        let supported = tokens.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" or ");
        let detail = format!("{} takes a {supported}, not a {}", self.info().kind, address.kind.as_str());
        Err(Fault::new(Kind::Unsupported, detail))
    }

    /// Renders the request for `message`, without any address. Pure. Planning uses the size, the preview API the body.
    fn render(&self, message: &Message) -> Rendered;

    /// Sends one delivery. Returns one outcome for each target, in their order. Infallible: every failure is an outcome.
    async fn send(&self, delivery: &Delivery) -> Report;

    /// Checks the credentials with the push service. Must not send anything to a user.
    ///
    /// # Errors
    /// Returns a fault whose kind and detail say what is wrong and who has to correct it.
    async fn probe(&self) -> Result<Probe, Fault>;
}

/// Identity and limits of a channel.
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    /// Name of the implementation (`kind = "…"` in the configuration).
    pub kind: &'static str,
    /// Name of the instance, unique within its app.
    pub name: ChannelName,
    /// Maximum duration of one `send`. The channel sets it on its requests. The timeout layer enforces it.
    pub timeout: Duration,
    /// Declared capabilities.
    pub capability: Capability,
}

/// Capabilities of a channel. The conformance suite tests each declared capability.
#[derive(Debug, Clone, Serialize)]
pub struct Capability {
    /// Maximum number of addresses in one delivery.
    pub max_batch: usize,
    /// Maximum of [`Rendered::counted`], in bytes.
    pub max_bytes: usize,
    /// Maximum time to live that the push service honours. The channel shortens longer ones to it.
    pub max_ttl: Duration,
    /// Supported kinds of tokens.
    pub tokens: &'static [TokenKind],
    /// `true` if a later message replaces an earlier one with the same collapse key.
    pub collapse: bool,
    /// `true` if priorities make a difference.
    pub priority: bool,
    /// `true` if the channel can set the number on the app's icon.
    pub badge: bool,
    /// `true` if the channel can send data without showing anything.
    pub silent: bool,
    /// `true` if the channel can show a picture.
    pub image: bool,
    /// `true` if the push service reports arrival by itself.
    pub receipts: bool,
    /// Minimum delay before a retry that the push service tolerates.
    pub retry_floor: Duration,
    /// Pause after a throttle for which the push service requests no delay.
    pub throttle_pause: Duration,
}

impl Capability {
    /// Minimal capabilities: one address at a time, 4,096 bytes, tokens only, 28 days of time to live. A channel adds
    /// what it supports.
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

/// Request of a channel for one message, without an address.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Request body in the push service's documented form, without an address and without credentials.
    pub body: Value,
    /// Number of bytes that count against [`Capability::max_bytes`].
    pub counted: usize,
}

/// Result of a successful check of the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Identity that the credentials belong to: a project, a team, a bundle. No secret.
    pub identity: String,
    /// Expiry of the credentials. `None` means that it is unknown.
    pub expires_at: Option<Timestamp>,
}
