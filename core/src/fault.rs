//! A failure with a kind, and the one table that says what each kind means: whose fault, which status, try again or not.
//! Faults are made in a channel's `decode.rs` (or a layer), judged in `worker/settle.rs`, shown at the doors. Nowhere else.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::Timestamp;

/// What went wrong, in the only words the rest of the gateway understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The vendor will never take this content.
    BadMessage,
    /// The message is larger than the channel can carry.
    TooLarge,
    /// The token is proven dead for this app.
    TokenGone,
    /// The token lives, but the device shows nothing at present.
    TokenMuted,
    /// The token belongs to another app, sender or environment: often a mistake in configuration, so the token is kept.
    WrongApp,
    /// The bearer we sent is no longer taken: a new one is due. Twice in a row it is [`Kind::Credentials`].
    AuthExpired,
    /// The vendor refuses our credentials; an operator has to act.
    Credentials,
    /// Too fast: wait as told.
    Throttled,
    /// The day's quota is used up.
    Quota,
    /// The push service reports a failure of its own.
    VendorDown,
    /// The channel itself does not run: its plugin is not loaded, or the plugin's process has ended.
    ChannelDown,
    /// No answer in time; the message may or may not have been taken.
    Timeout,
    /// Not sent: no connection could be had.
    Unreachable,
    /// Its time to live ran out before it could be sent.
    Expired,
    /// It was taken back, or is no longer for this device, before it was sent.
    Revoked,
    /// The channel cannot do what is asked.
    Unsupported,
    /// We or a plugin broke a promise.
    Bug,
    /// What the queue stored of it could not be decoded, and was set aside.
    Quarantined,
}

/// Who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// Whoever asked for the notification.
    Caller,
    /// The device: uninstalled, muted, rotated.
    Token,
    /// Whoever runs the gateway.
    Operator,
    /// The push service, or the network on the way.
    Vendor,
    /// The gateway or a plugin.
    Us,
}

/// Whether the worker tries again. The delays themselves are in `schedule.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// The answer will not change.
    Never,
    /// Once and at once, with what the channel has renewed meanwhile.
    Once,
    /// With exponential backoff, never earlier than the vendor's hint.
    Backoff,
    /// As the hint says, or after the channel's pause for throttling; others on the lane wait too.
    Wait,
    /// Slowly, because a human has to act first: what was accepted is not lost by a mistake in configuration.
    Slowly,
}

/// How loudly to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Part of normal life.
    Debug,
    /// Worth counting.
    Info,
    /// Worth a look if it persists.
    Warn,
    /// Somebody should act.
    Error,
}

/// What a kind means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Stable, for machines: receipts, metrics, problem documents.
    pub code: &'static str,
    /// The HTTP status where a door has to answer with this fault.
    pub status: u16,
    /// Whose fault it is.
    pub blame: Blame,
    /// Whether to try again.
    pub retry: Retry,
    /// How loudly to say it.
    pub level: Level,
    /// One sentence for a human: what it means and what to do.
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

    /// The one table. A new kind is a new row here and nothing else.
    #[must_use]
    #[rustfmt::skip]
    pub const fn row(self) -> Row {
        use {Blame::*, Level::*, Retry::*};
        let (code, status, blame, retry, level, advice) = match self {
            Self::BadMessage  => ("bad_message",   422, Caller,   Never,   Info,  "the vendor refused the content; read its text and change the message"),
            Self::TooLarge    => ("too_large",     422, Caller,   Never,   Info,  "shorten the payload: the channel cannot carry it, and payloads are never cut"),
            Self::TokenGone   => ("token_gone",    410, Token,    Never,   Debug, "the app was removed or the token replaced; the address is forgotten, unless the detail says that it is kept"),
            Self::TokenMuted  => ("token_muted",   409, Token,    Never,   Debug, "the user switched notifications off or was away for long; the address is kept"),
            Self::WrongApp    => ("wrong_app",     409, Operator, Never,   Warn,  "the token was made for another app, sender or environment; compare the credentials with the app's build"),
            Self::AuthExpired => ("auth_expired",  503, Vendor,   Once,    Info,  "a new bearer is fetched and the message sent once more"),
            Self::Credentials => ("credentials",   502, Operator, Slowly,  Error, "the vendor refuses the credentials; run `pushgate check`, mend them, and what waits is delivered"),
            Self::Throttled   => ("throttled",     429, Vendor,   Wait,    Info,  "the vendor asked for a pause, which is kept"),
            Self::Quota       => ("quota",         429, Operator, Never,   Warn,  "the vendor's quota for the day is used up; ask for a larger one or another category"),
            Self::VendorDown  => ("vendor_down",   503, Vendor,   Backoff, Warn,  "the push service is in trouble; it is tried again"),
            Self::ChannelDown => ("channel_down",  503, Operator, Backoff, Error, "the channel's plugin does not run; read the detail, run `pushgate check`, and what waits is delivered"),
            Self::Timeout     => ("timeout",       504, Vendor,   Backoff, Info,  "no answer in time; it is tried again under the same id"),
            Self::Unreachable => ("unreachable",   503, Vendor,   Backoff, Warn,  "no connection; check network, DNS, proxy and TLS roots"),
            Self::Expired     => ("expired",       410, Caller,   Never,   Info,  "its time to live ran out before it could be sent"),
            Self::Revoked     => ("revoked",       410, Caller,   Never,   Debug, "it was taken back, its user came online, or its device changed hands, before it was sent"),
            Self::Unsupported => ("unsupported",   422, Caller,   Never,   Info,  "this channel cannot do that; see the channel's capabilities"),
            Self::Bug         => ("internal",      500, Us,       Backoff, Error, "a defect of the gateway or of a plugin; please report it"),
            Self::Quarantined => ("quarantined",   500, Us,       Never,   Error, "what was stored of it cannot be decoded and was set aside; `pushgate queue quarantined` lists it"),
        };
        Row { code, status, blame, retry, level, advice }
    }
}

/// What a throttle, or refused credentials, reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This address only.
    Address,
    /// Everything the app sends through this channel.
    Lane,
}

/// A failure for one address: a kind, and what is known beside it. Carries no token and no text of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong.
    pub kind: Kind,
    /// What else it reaches.
    pub scope: Scope,
    /// How long the vendor asked us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
    /// The vendor's own code, as it stands in the vendor's documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_code: Option<String>,
    /// What was being done and what was said, in words that are safe to log. At most [`Fault::MAX_DETAIL`] bytes.
    pub detail: String,
    /// Since when the vendor knows it (a token's death).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Fault {
    /// The longest detail kept, in bytes.
    pub const MAX_DETAIL: usize = 500;
    /// The longest delay that a push service may ask for: one mistaken answer must not hold a lane for good.
    pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

    /// A fault of one address.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > Self::MAX_DETAIL {
            let end = (0..=Self::MAX_DETAIL).rev().find(|&i| detail.is_char_boundary(i)).unwrap_or(0);
            detail.truncate(end);
        }
        Self { kind, scope: Scope::Address, retry_after: None, vendor_code: None, detail, since: None }
    }

    /// The same, for everything the app sends through this channel.
    #[must_use]
    pub fn of_lane(mut self) -> Self {
        self.scope = Scope::Lane;
        self
    }

    /// With the vendor's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }

    /// Sets the delay that the push service asked for, at most [`Fault::MAX_RETRY_AFTER`].
    #[must_use]
    pub fn retry_after(mut self, requested: Option<Duration>) -> Self {
        self.retry_after = requested.map(|delay| delay.min(Self::MAX_RETRY_AFTER));
        self
    }

    /// With the time since when the vendor knows it.
    #[must_use]
    pub fn since(mut self, at: Timestamp) -> Self {
        self.since = Some(at);
        self
    }

    /// What the kind means.
    #[must_use]
    pub const fn row(&self) -> Row {
        self.kind.row()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.row().code, self.detail)?;
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
        let codes: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|k| k.row().code).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let fault = Fault::new(Kind::Bug, "é".repeat(400));
        assert_eq!(fault.detail.len(), Fault::MAX_DETAIL);
    }
}
