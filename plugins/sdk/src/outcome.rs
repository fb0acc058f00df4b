//! What became of each address: the words the gateway understands. Their meaning, row by row, stands in the header.

use std::time::Duration;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

/// What one attempt gave for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The vendor took it.
    Accepted {
        /// The vendor's name for the message, where it gives one.
        vendor_id: Option<String>,
    },
    /// The vendor took it, and says that the device has a new token.
    Replaced {
        /// The vendor's name for the message, where it gives one.
        vendor_id: Option<String>,
        /// The token to use from now on.
        token: String,
    },
    /// It was not taken, or nobody can know.
    Failed(Fault),
}

impl Outcome {
    /// Accepted under a vendor's id.
    #[must_use]
    pub fn accepted(vendor_id: impl Into<String>) -> Self {
        Self::Accepted { vendor_id: Some(vendor_id.into()) }
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// What went wrong. The kind says whose fault it is, and so what the gateway does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// The vendor will never take this content. Given up.
    BadMessage = abi::BAD_MESSAGE,
    /// Larger than the channel can carry. Given up.
    TooLarge = abi::TOO_LARGE,
    /// The vendor proves the token dead. Given up, and the address is forgotten: be sure.
    TokenGone = abi::TOKEN_GONE,
    /// The token lives, but the device shows nothing. Given up, the address is kept.
    TokenMuted = abi::TOKEN_MUTED,
    /// The token belongs to another app or sender. Given up, the address is kept.
    WrongApp = abi::WRONG_APP,
    /// A bearer aged: get a new one before the next attempt. Tried again at once, once.
    AuthExpired = abi::AUTH_EXPIRED,
    /// The vendor refuses the credentials; a human must act. Tried again slowly.
    Credentials = abi::CREDENTIALS,
    /// Too fast. Tried again after [`Fault::retry_after`], or the channel's pause.
    Throttled = abi::THROTTLED,
    /// The day's quota is used up. Given up.
    Quota = abi::QUOTA,
    /// The vendor says that it is in trouble. Tried again with growing pauses.
    VendorDown = abi::VENDOR_DOWN,
    /// No answer in time; it may have been taken. Tried again under the same id.
    Timeout = abi::TIMEOUT,
    /// No connection could be had. Tried again.
    Unreachable = abi::UNREACHABLE,
    /// Its time to live ran out. Given up.
    Expired = abi::EXPIRED,
    /// The channel cannot do what is asked. Given up.
    Unsupported = abi::UNSUPPORTED,
    /// The plugin found itself in a state that should not be. Tried again, and alarmed.
    Bug = abi::BUG,
}

/// A failure for one address. Carries no token and no text of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) vendor_code: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) since_ms: Option<i64>,
    pub(crate) lane: Lane,
}

/// How far a fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Address,
    Whole,
}

impl Fault {
    /// A fault of one address. `detail`: what was being done and what was said, safe to log; cut after 500 bytes.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            vendor_code: None,
            retry_after: None,
            since_ms: None,
            lane: Lane::Address,
        }
    }

    /// The same, for everything that goes through this channel: credentials, a throttle of the whole account.
    #[must_use]
    pub const fn of_lane(mut self) -> Self {
        self.lane = Lane::Whole;
        self
    }

    /// With the vendor's own code, as its documentation writes it.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }

    /// With the vendor's wish to be left alone for so long.
    #[must_use]
    pub const fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// With the time since when the vendor knows it: milliseconds since 1970.
    #[must_use]
    pub const fn since_ms(mut self, at: i64) -> Self {
        self.since_ms = Some(at);
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The words about it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Nothing known yet.
pub(crate) const UNSET: abi::Outcome = abi::Outcome {
    struct_size: size_of::<abi::Outcome>(),
    vendor_id: Str::NONE,
    token: Str::NONE,
    vendor_code: Str::NONE,
    detail: Str::NONE,
    retry_after_ms: 0,
    since_ms: 0,
    expires_at_ms: 0,
    code: abi::OUTCOME_UNSET,
    scope: abi::SCOPE_ADDRESS,
};

/// The outcome as it crosses, borrowed from `outcome`.
pub(crate) fn crossing(outcome: &Outcome) -> abi::Outcome {
    match outcome {
        Outcome::Accepted { vendor_id } => {
            abi::Outcome { code: abi::ACCEPTED, vendor_id: Str::of_option(vendor_id.as_deref()), ..UNSET }
        }
        Outcome::Replaced { vendor_id, token } => abi::Outcome {
            code: abi::REPLACED,
            vendor_id: Str::of_option(vendor_id.as_deref()),
            token: Str::of(token),
            ..UNSET
        },
        Outcome::Failed(fault) => abi::Outcome {
            code: fault.kind as u32,
            scope: match fault.lane {
                Lane::Address => abi::SCOPE_ADDRESS,
                Lane::Whole => abi::SCOPE_LANE,
            },
            detail: Str::of(&fault.detail),
            vendor_code: Str::of_option(fault.vendor_code.as_deref()),
            retry_after_ms: fault
                .retry_after
                .map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            since_ms: fault.since_ms.unwrap_or(0),
            ..UNSET
        },
    }
}
