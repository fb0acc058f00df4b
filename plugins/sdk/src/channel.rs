//! The trait a plugin implements, and what it declares about itself.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::Host;
use crate::outcome::{Fault, Outcome};
use crate::sent::{Delivery, Message};

/// One configured way to a vendor.
///
/// It never waits but in `.await` on its [`Host`], never retries (the gateway does), and guards its own state: its functions
/// run on the gateway's threads, several at the same time. A panic becomes faults and is told to the operator.
pub trait Channel: Sized + Send + Sync + 'static {
    /// The channel's table in the configuration. It must refuse unknown keys, with `#[serde(deny_unknown_fields)]`: otherwise
    /// an operator's mistyped key goes unnoticed. `pushgate plugin check` checks it.
    /// References (`env:`, `file:`) are resolved before: it holds secrets, so do not derive `Debug`.
    type Config: DeserializeOwned;

    /// What the plugin is and can do.
    const INFO: Info;

    /// Opens a channel. Opens no connection: the vendor may be away.
    ///
    /// # Errors
    /// A sentence for the operator: which key is wrong and what would be right, without any value.
    fn open(config: Self::Config, host: Host) -> Result<Self, String>;

    /// What would be sent for `message`, without address and credentials. Pure and quick.
    fn render(&self, message: &Message) -> Rendered;

    /// Sends one delivery: one outcome for each target, in their order. Every failure is an outcome.
    fn send(&self, delivery: &Delivery) -> impl Future<Output = Vec<Outcome>> + Send;

    /// Are the credentials good? Reaches no user.
    fn probe(&self) -> impl Future<Output = Result<Probe, Fault>> + Send;
}

/// What a plugin is.
#[derive(Debug, Clone, Copy)]
pub struct Info {
    /// `kind = "…"` of its channels in the configuration: 1 to 64 of a–z 0–9 -.
    pub kind: &'static str,
    /// The plugin's own version; `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// JSON Schema of the configuration, for `pushgate plugin inspect`. Optional.
    pub config_schema: Option<&'static str>,
    /// What its channels can do.
    pub capability: Capability,
}

/// What kind of token an address holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A registration or device token, opaque to the gateway.
    Token,
    /// An installation id.
    Fid,
    /// A Web Push subscription, as JSON.
    Subscription,
}

/// What a channel can do. `pushgate plugin check` holds it to this, so declare what is true.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// The most addresses in one delivery. 1 to 10,000.
    pub max_batch: u32,
    /// The most bytes [`Rendered::counted`] may reach; the gateway cuts contents and titles to it.
    pub max_bytes: u64,
    /// The longest time to live the vendor honours.
    pub max_ttl: Duration,
    /// How long one send may take before the gateway answers for it. At most ten minutes.
    pub timeout: Duration,
    /// The shortest wait before any retry that the vendor tolerates.
    pub retry_floor: Duration,
    /// How long to pause when the vendor throttles without saying how long.
    pub throttle_pause: Duration,
    /// What tokens it understands.
    pub tokens: &'static [TokenKind],
    /// A later message replaces an earlier one with the same collapse key.
    pub collapse: bool,
    /// It tells priorities apart.
    pub priority: bool,
    /// It can set the number on the icon.
    pub badge: bool,
    /// It can send data without showing anything; without this, silent messages are not handed over.
    pub silent: bool,
    /// It can show a picture.
    pub image: bool,
    /// The vendor reports arrival by itself.
    pub receipts: bool,
}

impl Capability {
    /// A capability that promises little: one address at a time, 4,096 bytes, opaque tokens, ten seconds. Add what is true.
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

/// What a channel would send.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The vendor's request body, as its documentation shows it.
    pub body: Value,
    /// How many bytes of it count against [`Capability::max_bytes`].
    pub counted: u64,
}

/// What a probe learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whom the vendor takes us for: an account, a bot, a project. No secret.
    pub identity: String,
    /// When the credentials end, where that is known: milliseconds since 1970.
    pub expires_at_ms: Option<i64>,
}
