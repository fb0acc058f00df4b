//! Outcomes of a delivery and their faults.

use std::time::Duration;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

/// Result of one attempt for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The push service accepted the message.
    Accepted {
        /// Id of the message at the push service. `None` if it gives none.
        vendor_id: Option<String>,
    },
    /// The push service accepted the message and reported a new token of the device.
    Replaced {
        /// Id of the message at the push service. `None` if it gives none.
        vendor_id: Option<String>,
        /// New token.
        token: String,
    },
    /// The push service did not accept the message, or its decision is unknown.
    Failed(Fault),
}

impl Outcome {
    /// Returns [`Outcome::Accepted`] with the message's id at the push service.
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

/// Kind of a fault. It decides what the gateway does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// The push service never accepts this content. Not retried.
    BadMessage = abi::BAD_MESSAGE,
    /// The message is larger than the channel allows. Not retried.
    TooLarge = abi::TOO_LARGE,
    /// The token is certainly dead. Not retried, and the gateway removes the address.
    TokenGone = abi::TOKEN_GONE,
    /// The token is valid, but the device shows nothing. Not retried; the address is kept.
    TokenMuted = abi::TOKEN_MUTED,
    /// The token belongs to another app or sender. Not retried; the address is kept.
    WrongApp = abi::WRONG_APP,
    /// An access token has expired: get a new one before the next attempt. Retried once, at once.
    AuthExpired = abi::AUTH_EXPIRED,
    /// The push service refuses the credentials, and the operator must act. Retried slowly.
    Credentials = abi::CREDENTIALS,
    /// Too many requests. Retried after [`Fault::retry_after`] or the channel's pause.
    Throttled = abi::THROTTLED,
    /// The daily quota is used up. Not retried.
    Quota = abi::QUOTA,
    /// The push service reports an error of its own. Retried with growing pauses.
    VendorDown = abi::VENDOR_DOWN,
    /// No response in time; the message may be accepted. Retried under the same id.
    Timeout = abi::TIMEOUT,
    /// No connection. Retried.
    Unreachable = abi::UNREACHABLE,
    /// The time to live has ended. Not retried.
    Expired = abi::EXPIRED,
    /// The channel lacks a required feature. Not retried.
    Unsupported = abi::UNSUPPORTED,
    /// Internal error of the plugin. Retried, and the operator is alerted.
    Bug = abi::BUG,
}

/// Failure for one address. Contains no token and no text of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) vendor_code: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) since_ms: Option<i64>,
    pub(crate) scope: Scope,
}

/// Scope of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Address,
    Lane,
}

impl Fault {
    /// Returns a fault of one address. `detail` says what failed and why, and is safe to log. It is cut to 500 bytes.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            vendor_code: None,
            retry_after: None,
            since_ms: None,
            scope: Scope::Address,
        }
    }

    /// Returns the fault with the whole channel as its scope, as for wrong credentials or a throttle of the account.
    #[must_use]
    pub const fn of_lane(mut self) -> Self {
        self.scope = Scope::Lane;
        self
    }

    /// Returns the fault with an error code, as the push service's documentation writes it.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }

    /// Returns the fault with the delay that the push service requests. The gateway cuts it to 24 hours.
    #[must_use]
    pub const fn retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }

    /// Returns the fault with the time since which the token is dead, in milliseconds since 1970.
    #[must_use]
    pub const fn since_ms(mut self, at: i64) -> Self {
        self.since_ms = Some(at);
        self
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the detail.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Raw outcome without any information.
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

/// Returns the raw outcome, which borrows its texts from `outcome`.
pub(crate) fn raw_outcome(outcome: &Outcome) -> abi::Outcome {
    match outcome {
        Outcome::Accepted { vendor_id } => {
            abi::Outcome { code: abi::ACCEPTED, vendor_id: Str::from_option(vendor_id.as_deref()), ..UNSET }
        }
        Outcome::Replaced { vendor_id, token } => abi::Outcome {
            code: abi::REPLACED,
            vendor_id: Str::from_option(vendor_id.as_deref()),
            token: Str::new(token),
            ..UNSET
        },
        Outcome::Failed(fault) => abi::Outcome {
            code: fault.kind as u32,
            scope: match fault.scope {
                Scope::Address => abi::SCOPE_ADDRESS,
                Scope::Lane => abi::SCOPE_LANE,
            },
            detail: Str::new(&fault.detail),
            vendor_code: Str::from_option(fault.vendor_code.as_deref()),
            retry_after_ms: fault
                .retry_after
                .map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            since_ms: fault.since_ms.unwrap_or(0),
            ..UNSET
        },
    }
}
