//! What a plugin says about itself, checked and in our own words. The same in process and over the frames of a child.

use std::time::Duration;

use pushgate::{Capability, ChannelInfo, ChannelName, TokenKind};
use pushgate_plugin_abi as abi;
use serde::{Deserialize, Serialize};

use crate::bounds::MAX_RETRY_AFTER;

/// What a plugin is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `kind = "…"` of the channels it brings.
    pub kind: String,
    /// Its own version.
    pub version: String,
    /// One sentence.
    pub description: String,
    /// JSON Schema of a channel's configuration, where it gives one.
    pub config_schema: Option<String>,
    /// The version of the interface it was built for: major and minor.
    pub abi: (u32, u32),
    /// What its channels can do.
    pub capability: Declared,
}

/// What a plugin's channels can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// The most addresses in one delivery.
    pub max_batch: u32,
    /// The most bytes a rendered message may count.
    pub max_bytes: u64,
    /// The longest time to live the vendor honours.
    pub max_ttl: Duration,
    /// How long one send may take.
    pub timeout: Duration,
    /// The shortest wait before any retry.
    pub retry_floor: Duration,
    /// The pause when the vendor throttles without saying how long.
    pub throttle_pause: Duration,
    /// Bits of `PUSHGATE_TOKEN` and its neighbours.
    pub tokens: u32,
    /// Bits of `PUSHGATE_COLLAPSE` and its neighbours.
    pub features: u32,
}

pub(crate) const MOST_BATCH: u32 = 10_000;
/// Nobody's service takes more in one message, and every message is rendered in memory.
const MOST_BYTES: u64 = 4 * 1024 * 1024;
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Every set of kinds of tokens, by its bits.
const TOKENS: [&[TokenKind]; 8] = {
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

/// The names of the features, by their bits.
const FEATURES: [(u32, &str); 6] = [
    (abi::COLLAPSE, "collapse"),
    (abi::PRIORITY, "priority"),
    (abi::BADGE, "badge"),
    (abi::SILENT, "silent"),
    (abi::IMAGE, "image"),
    (abi::RECEIPTS, "receipts"),
];

impl Declared {
    /// From the plugin's own struct, with what it leaves to us filled in.
    pub(crate) fn of(raw: &abi::Capability) -> Self {
        let or = |value: u64, unit: fn(u64) -> Duration, default: Duration| {
            if value == 0 { default } else { unit(value) }
        };
        let basic = Capability::BASIC;
        Self {
            max_batch: raw.max_batch,
            max_bytes: raw.max_bytes,
            max_ttl: or(raw.max_ttl_s, Duration::from_secs, basic.max_ttl),
            timeout: or(raw.timeout_ms, Duration::from_millis, Duration::from_secs(10)),
            retry_floor: or(raw.retry_floor_ms, Duration::from_millis, basic.retry_floor),
            throttle_pause: or(raw.throttle_pause_ms, Duration::from_millis, basic.throttle_pause),
            tokens: raw.tokens,
            features: raw.features,
        }
    }

    /// The kinds of tokens.
    #[must_use]
    pub fn token_kinds(&self) -> &'static [TokenKind] {
        // Bits of a later version are no kind that this gateway could have.
        TOKENS[(self.tokens & 7) as usize]
    }

    /// The names of what it can do.
    pub fn feature_names(&self) -> impl Iterator<Item = &'static str> {
        FEATURES.into_iter().filter(|(bit, _)| self.features & bit != 0).map(|(_, name)| name)
    }
}

impl Description {
    /// What is wrong with it; nothing when it can be worked with.
    pub(crate) fn objection(&self) -> Option<String> {
        let capability = &self.capability;
        let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=64).contains(&self.kind.len()) || !self.kind.chars().all(name) {
            return Some("its kind is not 1 to 64 of a-z 0-9 -".to_owned());
        }
        if !(1..=MOST_BATCH).contains(&capability.max_batch) {
            return Some(format!("max_batch is {}; it must be 1 to {MOST_BATCH}", capability.max_batch));
        }
        if !(1..=MOST_BYTES).contains(&capability.max_bytes) {
            return Some(format!("max_bytes is {}; it must be 1 to {MOST_BYTES}", capability.max_bytes));
        }
        if capability.token_kinds().is_empty() {
            return Some("it takes no kind of token".to_owned());
        }
        if capability.timeout > TEN_MINUTES {
            return Some("timeout_ms is more than ten minutes".to_owned());
        }
        for (name, pause) in
            [("retry_floor_ms", capability.retry_floor), ("throttle_pause_ms", capability.throttle_pause)]
        {
            if pause > MAX_RETRY_AFTER {
                return Some(format!("{name} is more than 24 hours"));
            }
        }
        None
    }

    /// What core is told about a channel of this kind. `kind` is the same text with a longer life.
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
