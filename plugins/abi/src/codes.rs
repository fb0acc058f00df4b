//! Constants of the header, under the same names without their prefix. `tests/header.rs` compares them.

macro_rules! codes {
    ($(#[doc = $doc:literal] $type:ty: $($name:ident = $value:literal),+;)+) => {
        $($(#[doc = $doc] pub const $name: $type = $value;)+)+

        /// All constants with their names, for comparison with the header.
        pub const ALL_CODES: &[(&str, u64)] = &[$($((stringify!($name), $value)),+),+];
    };
}

codes! {
    /// Result of a function that can refuse.
    i32: OK = 0, REFUSED = 1, BUSY = 2, CLOSED = 3;
    /// Bits of [`crate::Capability::tokens`].
    u32: TOKEN = 1, FID = 2, SUBSCRIPTION = 4;
    /// Bits of [`crate::Capability::features`].
    u32: COLLAPSE = 1, PRIORITY = 2, BADGE = 4, SILENT = 8, IMAGE = 16, RECEIPTS = 32;
    /// Value of [`crate::Message::priority`].
    u32: PRIORITY_HIGH = 0, PRIORITY_NORMAL = 1, PRIORITY_LOW = 2;
    /// Value of [`crate::Message::act`].
    u32: ACT_SHOW = 0, ACT_RING = 1, ACT_REMOVE = 2;
    /// Value of [`crate::Outcome::code`] that is no fault.
    u32: OUTCOME_UNSET = 0, ACCEPTED = 1, REPLACED = 2;
    /// Value of [`crate::Outcome::code`] that is a kind of fault.
    u32: BAD_MESSAGE = 16, TOO_LARGE = 17, TOKEN_GONE = 18, TOKEN_MUTED = 19, WRONG_APP = 20, AUTH_EXPIRED = 21,
        CREDENTIALS = 22, THROTTLED = 23, QUOTA = 24, VENDOR_DOWN = 25, TIMEOUT = 26, UNREACHABLE = 27, EXPIRED = 28,
        UNSUPPORTED = 29, BUG = 30;
    /// Value of [`crate::Outcome::scope`].
    u32: SCOPE_ADDRESS = 0, SCOPE_LANE = 1;
    /// Value of [`crate::HttpResponse::error`].
    u32: HTTP_OK = 0, HTTP_UNREACHABLE = 1, HTTP_REFUSED = 2, HTTP_TIMEOUT = 3, HTTP_BROKEN = 4, HTTP_TOO_LONG = 5,
        HTTP_CANCELLED = 6, HTTP_GONE_AWAY = 7;
    /// Level of a log line.
    u32: LOG_ERROR = 1, LOG_WARN = 2, LOG_INFO = 3, LOG_DEBUG = 4;
}
