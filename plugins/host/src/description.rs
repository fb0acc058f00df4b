//! Checked description of a plugin: its kind, version and capability. A child process sends the same struct as JSON.

use std::time::Duration;

use pushgate::{Capability, ChannelInfo, ChannelName, TokenKind};
use pushgate_plugin_abi as abi;
use serde::{Deserialize, Serialize};

use crate::bounds::MAX_RETRY_AFTER;

/// Description of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Value of `kind` in the configuration of its channels.
    pub kind: String,
    /// Version of the plugin.
    pub version: String,
    /// One sentence for the operator.
    pub description: String,
    /// JSON Schema of a channel's configuration. `None` if the plugin has none.
    pub config_schema: Option<String>,
    /// Major and minor version of the interface that the plugin was built for.
    pub abi: (u32, u32),
    /// Capability of its channels.
    pub capability: DeclaredCapability,
}

/// Capability of a plugin's channels, as the plugin declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredCapability {
    /// Maximum number of addresses in one delivery.
    pub max_batch: u32,
    /// Maximum size of a rendered message, in bytes.
    pub max_bytes: u64,
    /// Maximum time to live that the push service honours.
    pub max_ttl: Duration,
    /// Maximum duration of one send.
    pub timeout: Duration,
    /// Minimum delay before a retry.
    pub retry_floor: Duration,
    /// Pause after the push service throttles without a retry delay.
    pub throttle_pause: Duration,
    /// Accepted kinds of tokens: bits `PUSHGATE_TOKEN`, `PUSHGATE_FID` and `PUSHGATE_SUBSCRIPTION`.
    pub tokens: u32,
    /// Supported features: bits `PUSHGATE_COLLAPSE` to `PUSHGATE_RECEIPTS`.
    pub features: u32,
}

/// Maximum of [`DeclaredCapability::max_batch`].
pub(crate) const MAX_BATCH: u32 = 10_000;
/// Maximum of [`DeclaredCapability::max_bytes`]. No push service accepts more, and every message is rendered in memory.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Maximum of [`DeclaredCapability::timeout`].
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// Sets of token kinds, indexed by the bits of [`DeclaredCapability::tokens`].
const TOKEN_KINDS: [&[TokenKind]; 8] = {
    use TokenKind::{Fid, Subscription, Token};
    [
        &[],
        &[Token],
        &[Fid],
        &[Token, Fid],
        &[Subscription],
        &[Token, Subscription],
        &[Fid, Subscription],
        &[Token, Fid, Subscription],
    ]
};

/// Bits and names of the features.
const FEATURES: [(u32, &str); 6] = [
    (abi::COLLAPSE, "collapse"),
    (abi::PRIORITY, "priority"),
    (abi::BADGE, "badge"),
    (abi::SILENT, "silent"),
    (abi::IMAGE, "image"),
    (abi::RECEIPTS, "receipts"),
];

impl DeclaredCapability {
    /// Returns the capability of the plugin's struct. A zero duration selects the default.
    pub(crate) fn from_raw(raw: &abi::Capability) -> Self {
        let duration_or = |value: u64, unit: fn(u64) -> Duration, default: Duration| {
            if value == 0 { default } else { unit(value) }
        };
        let basic = Capability::BASIC;
        Self {
            max_batch: raw.max_batch,
            max_bytes: raw.max_bytes,
            max_ttl: duration_or(raw.max_ttl_s, Duration::from_secs, basic.max_ttl),
            timeout: duration_or(raw.timeout_ms, Duration::from_millis, Duration::from_secs(10)),
            retry_floor: duration_or(raw.retry_floor_ms, Duration::from_millis, basic.retry_floor),
            throttle_pause: duration_or(raw.throttle_pause_ms, Duration::from_millis, basic.throttle_pause),
            tokens: raw.tokens,
            features: raw.features,
        }
    }

    /// Returns the accepted kinds of tokens.
    #[must_use]
    pub fn token_kinds(&self) -> &'static [TokenKind] {
        // Other bits belong to later versions, and this gateway has no tokens of their kinds.
        TOKEN_KINDS[(self.tokens & 7) as usize]
    }

    /// Returns the names of the supported features.
    pub fn feature_names(&self) -> impl Iterator<Item = &'static str> {
        FEATURES.into_iter().filter(|(bit, _)| self.features & bit != 0).map(|(_, name)| name)
    }
}

impl Description {
    /// Returns why the description is invalid. `None` means that it is valid.
    pub(crate) fn find_problem(&self) -> Option<String> {
        let capability = &self.capability;
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&self.kind.len()) || !self.kind.chars().all(name) {
            return Some("kind must have 1 to 64 characters of a-z, 0-9 and -".to_owned());
        }
        if !(1..=MAX_BATCH).contains(&capability.max_batch) {
            return Some(format!("max_batch is {}; it must be 1 to {MAX_BATCH}", capability.max_batch));
        }
        if !(1..=MAX_BYTES).contains(&capability.max_bytes) {
            return Some(format!("max_bytes is {}; it must be 1 to {MAX_BYTES}", capability.max_bytes));
        }
        if capability.token_kinds().is_empty() {
            return Some("tokens names no kind of token that this gateway knows".to_owned());
        }
        if capability.timeout > MAX_TIMEOUT {
            return Some("timeout_ms exceeds ten minutes".to_owned());
        }
        for (name, pause) in
            [("retry_floor_ms", capability.retry_floor), ("throttle_pause_ms", capability.throttle_pause)]
        {
            if pause > MAX_RETRY_AFTER {
                return Some(format!("{name} exceeds 24 hours"));
            }
        }
        None
    }

    /// Returns the info of a channel. `kind` is [`Description::kind`] with a static lifetime.
    pub(crate) fn info(&self, kind: &'static str, name: ChannelName) -> ChannelInfo {
        let declared = &self.capability;
        let has = |bit: u32| declared.features & bit != 0;
        let capability = Capability {
            max_batch: declared.max_batch as usize,
            max_bytes: usize::try_from(declared.max_bytes).unwrap_or(usize::MAX),
            max_ttl: declared.max_ttl,
            tokens: declared.token_kinds(),
            collapse: has(abi::COLLAPSE),
            priority: has(abi::PRIORITY),
            badge: has(abi::BADGE),
            silent: has(abi::SILENT),
            image: has(abi::IMAGE),
            receipts: has(abi::RECEIPTS),
            retry_floor: declared.retry_floor,
            throttle_pause: declared.throttle_pause,
        };
        ChannelInfo { kind, name, timeout: declared.timeout, capability }
    }
}
