//! Trait of a plugin's channel, and the plugin's description and capability.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::delivery::{Delivery, Message};
use crate::host::Host;
use crate::outcome::{Fault, Outcome};

/// Channel of a push service.
///
/// A channel waits only in `.await` on its [`Host`] and never retries, because the gateway does. It synchronizes its own
/// state: the gateway's threads call its functions concurrently. A panic becomes faults and a log line.
pub trait Channel: Sized + Send + Sync + 'static {
    /// Configuration of the channel. It must refuse unknown keys with `#[serde(deny_unknown_fields)]`, because a mistyped key
    /// would go unnoticed. `pushgate plugin check` tests this. References (`env:`, `file:`) are resolved, so the
    /// configuration contains secrets. Do not derive `Debug`.
    type Config: DeserializeOwned;

    /// Description and capability of the plugin.
    const INFO: Info;

    /// Opens a channel. Must not connect, because the push service may be unreachable.
    ///
    /// # Errors
    /// A sentence for the operator that names the wrong key and a valid form, but no value.
    fn open(config: Self::Config, host: Host) -> Result<Self, String>;

    /// Renders a message without address and credentials. Must be fast and free of side effects.
    fn render(&self, message: &Message) -> Rendered;

    /// Sends a delivery. Returns one outcome for each target, in their order. Every failure is an outcome.
    fn send(&self, delivery: &Delivery) -> impl Future<Output = Vec<Outcome>> + Send;

    /// Checks the credentials without reaching a user.
    fn probe(&self) -> impl Future<Output = Result<Probe, Fault>> + Send;
}

/// Description of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// Value of `kind` in the configuration of its channels: 1 to 64 characters of a–z, 0–9 and -.
    pub kind: &'static str,
    /// Version of the plugin, such as `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence for the operator.
    pub description: &'static str,
    /// JSON Schema of the configuration, for `pushgate plugin inspect`. `None` gives no schema.
    pub config_schema: Option<&'static str>,
    /// Capability of the plugin's channels.
    pub capability: Capability,
}

/// Kind of the token in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Registration or device token, opaque to the gateway.
    Token,
    /// Installation id.
    Fid,
    /// Web Push subscription, as JSON.
    Subscription,
}

/// Capability of a channel. The gateway relies on it, and `pushgate plugin check` tests it.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// Maximum number of addresses in one delivery. 1 to 10,000.
    pub max_batch: u32,
    /// Maximum of [`Rendered::counted`], in bytes. The gateway cuts contents and titles to it.
    pub max_bytes: u64,
    /// Maximum time to live that the push service honours.
    pub max_ttl: Duration,
    /// Maximum duration of one send. At most ten minutes.
    pub timeout: Duration,
    /// Minimum delay of a retry. At most 24 hours.
    pub retry_floor: Duration,
    /// Pause after the push service throttles without a delay. At most 24 hours.
    pub throttle_pause: Duration,
    /// Kinds of tokens that the channel accepts. At least one.
    pub tokens: &'static [TokenKind],
    /// A message replaces an earlier one with the same collapse key.
    pub collapse: bool,
    /// The channel distinguishes priorities.
    pub priority: bool,
    /// The channel sets the number on the icon.
    pub badge: bool,
    /// The channel sends data that is not shown. Without it the channel gets no silent messages.
    pub silent: bool,
    /// The channel shows an image.
    pub image: bool,
    /// The push service reports arrivals.
    pub receipts: bool,
}

impl Capability {
    /// Minimal capability: one address per delivery, 4,096 bytes, opaque tokens and a timeout of ten seconds.
    pub const BASIC: Self = Self {
        max_batch: 1,
        max_bytes: 4096,
        max_ttl: Duration::from_secs(28 * 24 * 3600),
        timeout: Duration::from_secs(10),
        retry_floor: Duration::from_millis(500),
        throttle_pause: Duration::from_secs(60),
        tokens: &[TokenKind::Token],
        collapse: false,
        priority: false,
        badge: false,
        silent: false,
        image: false,
        receipts: false,
    };
}

/// Rendered message.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Request body, as the push service's documentation shows it.
    pub body: Value,
    /// Number of its bytes that count against [`Capability::max_bytes`].
    pub counted: u64,
}

/// Result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Identity at the push service, such as an account, a bot or a project. Not secret.
    pub identity: String,
    /// Expiry of the credentials in milliseconds since 1970. `None` if it is unknown.
    pub expires_at_ms: Option<i64>,
}
