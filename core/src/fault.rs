//! Classified failures, and the one table that gives each kind its code, status, blame and retry behaviour.
//! A channel's `decode.rs` or a layer creates a fault, `worker/settle.rs` decides what follows, and the APIs show it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// Kind of a failure. Code above the channels sees this classification and never a push service's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The push service will never accept this content.
    BadMessage,
    /// The message is larger than the channel's limit.
    TooLarge,
    /// The token is proven dead for this app.
    TokenGone,
    /// The token is valid, but the device shows no notifications at present.
    TokenMuted,
    /// The token belongs to another app, sender or environment. Often the configuration is wrong, so the token is kept.
    WrongApp,
    /// The push service no longer accepts the bearer token; a new one is fetched. Twice in a row it becomes
    /// [`Kind::Credentials`].
    AuthExpired,
    /// The push service refuses the credentials. An operator has to act.
    Credentials,
    /// The push service throttles. The gateway waits as long as requested.
    Throttled,
    /// The quota of the day is used up.
    Quota,
    /// The push service reports a failure of its own.
    VendorDown,
    /// The channel does not run: its plugin is not loaded, or the plugin's process has ended.
    ChannelDown,
    /// No response in time. The push service may or may not have accepted the message.
    Timeout,
    /// Not sent, because no connection could be established.
    Unreachable,
    /// The time to live ended before the message could be sent.
    Expired,
    /// The message was withdrawn, or was no longer for this device, before it was sent.
    Revoked,
    /// The channel does not support the request.
    Unsupported,
    /// Defect of the gateway or of a plugin.
    Bug,
    /// The stored row could not be decoded, and was set aside.
    Quarantined,
}

/// Party that has to act on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// Caller who submitted the notification.
    Caller,
    /// Device: the app was uninstalled, the notifications muted or the token replaced.
    Token,
    /// Operator of the gateway.
    Operator,
    /// Push service, or the network in between.
    Vendor,
    /// Gateway or plugin.
    Us,
}

/// Retry behaviour of a kind. `schedule.rs` computes the delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// No retry: the result would be the same.
    Never,
    /// One immediate retry, with the credentials that the channel has renewed since.
    Once,
    /// Retries with exponential backoff, never earlier than the push service requested.
    Backoff,
    /// Retries after the requested delay, or else after the channel's pause for throttling. The whole lane waits.
    Wait,
    /// Slow retries until an operator acts, so that a wrong configuration loses no accepted notification.
    Slowly,
}

/// Log level of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Normal operation.
    Debug,
    /// Relevant for statistics.
    Info,
    /// Relevant if it persists.
    Warn,
    /// Somebody has to act.
    Error,
}

/// Meaning of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindInfo {
    /// Stable code for machines, in statuses, metrics and problem documents.
    pub code: &'static str,
    /// HTTP status of an API response with this fault.
    pub status: u16,
    /// Party that has to act.
    pub blame: Blame,
    /// Retry behaviour.
    pub retry: Retry,
    /// Log level.
    pub level: Level,
    /// Advice for a person: the meaning, and what to do.
    pub advice: &'static str,
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 18] = [
        Self::BadMessage,
        Self::TooLarge,
        Self::TokenGone,
        Self::TokenMuted,
        Self::WrongApp,
        Self::AuthExpired,
        Self::Credentials,
        Self::Throttled,
        Self::Quota,
        Self::VendorDown,
        Self::ChannelDown,
        Self::Timeout,
        Self::Unreachable,
        Self::Expired,
        Self::Revoked,
        Self::Unsupported,
        Self::Bug,
        Self::Quarantined,
    ];

    /// Returns the meaning of the kind. This table is the only place that a new kind has to be added to.
    #[must_use]
    #[rustfmt::skip]
    pub const fn info(self) -> KindInfo {
        use {Blame::*, Level::*, Retry::*};
        let (code, status, blame, retry, level, advice) = match self {
            Self::BadMessage  => ("bad_message",   422, Caller,   Never,   Info,  "the push service refused the content; read the detail and change the message"),
            Self::TooLarge    => ("too_large",     422, Caller,   Never,   Info,  "shorten the payload: the channel cannot carry it, and payloads are never cut"),
            Self::TokenGone   => ("token_gone",    410, Token,    Never,   Debug, "the app was removed or the token replaced; the address is pruned, unless the detail says that it is kept"),
            Self::TokenMuted  => ("token_muted",   409, Token,    Never,   Debug, "the user switched notifications off or was away for long; the address is kept"),
            Self::WrongApp    => ("wrong_app",     409, Operator, Never,   Warn,  "the token was made for another app, sender or environment; compare the credentials with the app's build"),
            Self::AuthExpired => ("auth_expired",  503, Vendor,   Once,    Info,  "a new bearer token is fetched and the message is sent once more"),
            Self::Credentials => ("credentials",   502, Operator, Slowly,  Error, "the push service refuses the credentials; run `pushgate check` and correct them, then waiting deliveries are sent"),
            Self::Throttled   => ("throttled",     429, Vendor,   Wait,    Info,  "the push service requested a pause, and the lane waits for it"),
            Self::Quota       => ("quota",         429, Operator, Never,   Warn,  "the quota of the day at the push service is used up; ask for a larger one or another category"),
            Self::VendorDown  => ("vendor_down",   503, Vendor,   Backoff, Warn,  "the push service reports a failure; the delivery is tried again"),
            Self::ChannelDown => ("channel_down",  503, Operator, Backoff, Error, "the plugin of the channel does not run; read the detail and run `pushgate check`, then waiting deliveries are sent"),
            Self::Timeout     => ("timeout",       504, Vendor,   Backoff, Info,  "no response in time; the delivery is tried again under the same id"),
            Self::Unreachable => ("unreachable",   503, Vendor,   Backoff, Warn,  "no connection; check network, DNS, proxy and TLS roots"),
            Self::Expired     => ("expired",       410, Caller,   Never,   Info,  "the time to live ended before the message could be sent"),
            Self::Revoked     => ("revoked",       410, Caller,   Never,   Debug, "before it was sent, it was withdrawn, its user came online, or its device was bound to another user"),
            Self::Unsupported => ("unsupported",   422, Caller,   Never,   Info,  "this channel cannot do that; see the channel's capabilities"),
            Self::Bug         => ("internal",      500, Us,       Backoff, Error, "a defect of the gateway or of a plugin; please report it"),
            Self::Quarantined => ("quarantined",   500, Us,       Never,   Error, "the stored row cannot be decoded and was set aside; `pushgate queue quarantined` lists it"),
        };
        KindInfo { code, status, blame, retry, level, advice }
    }
}

/// Scope of a fault: a single address, or everything on the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This address only.
    Address,
    /// Everything the app sends through this channel.
    Lane,
}

/// Failure for one address, with its kind and details. Carries no token and no text of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Kind of the failure.
    pub kind: Kind,
    /// Scope of the failure.
    pub scope: Scope,
    /// Delay that the push service requested. `None` means that it requested none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// Error code of the push service, as in its documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_code: Option<String>,
    /// Failed operation and error text, safe to log. At most [`Fault::MAX_DETAIL`] bytes.
    pub detail: String,
    /// Time since which the push service knows that the token is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Fault {
    /// Maximum length of a detail in bytes.
    pub const MAX_DETAIL: usize = 500;
    /// Maximum delay that a push service may request: one wrong response must not stop a lane for good.
    pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

    /// Creates a fault of one address. A detail longer than [`Fault::MAX_DETAIL`] is cut.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > Self::MAX_DETAIL {
            let end = (0..=Self::MAX_DETAIL).rev().find(|&i| detail.is_char_boundary(i)).unwrap_or(0);
            detail.truncate(end);
        }
        Self { kind, scope: Scope::Address, retry_after: None, vendor_code: None, detail, since: None }
    }

    /// Extends the fault to everything that the app sends through this channel.
    #[must_use]
    pub fn of_lane(mut self) -> Self {
        self.scope = Scope::Lane;
        self
    }

    /// Sets the error code of the push service.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }

    /// Sets the delay that the push service requested, at most [`Fault::MAX_RETRY_AFTER`].
    #[must_use]
    pub fn retry_after(mut self, requested: Option<Duration>) -> Self {
        self.retry_after = requested.map(|delay| delay.min(Self::MAX_RETRY_AFTER));
        self
    }

    /// Sets the time since which the push service knows that the token is dead.
    #[must_use]
    pub fn since(mut self, at: Timestamp) -> Self {
        self.since = Some(at);
        self
    }

    /// Returns the meaning of the kind.
    #[must_use]
    pub const fn info(&self) -> KindInfo {
        self.kind.info()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.info().code, self.detail)?;
        if let Some(code) = &self.vendor_code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|k| k.info().code).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let fault = Fault::new(Kind::Bug, "é".repeat(400));
        assert_eq!(fault.detail.len(), Fault::MAX_DETAIL);
    }
}
