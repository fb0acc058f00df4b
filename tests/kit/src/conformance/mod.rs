//! Conformance suite for channels: one line in the tests of a channel creates one test per promise.
//!
//! The promises are the MUSTs of `docs/channel-spec.md`. The suite knows no vendor; the channel's [`Subject`]
//! describes it.

mod credentials;
mod deadline;
mod hostile;
mod message;
mod outcomes;
mod theatre;

use std::fmt::Debug;
use std::sync::Arc;

use pushgate::{PushChannel, Request, Response, Timestamp, TokenKind};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::clock::ManualClock;
use crate::transport::ScriptedTransport;

pub use credentials::*;
pub use deadline::*;
pub use hostile::*;
pub use message::*;
pub use outcomes::*;

/// Channel under test, and the properties of its vendor.
///
/// Implementations parse requests by themselves. Code shared with the channel's `encode` would hide its errors.
pub trait Subject: Send + Sync + Sized + 'static {
    /// Configuration table of the channel.
    type Config: DeserializeOwned + Debug;
    /// Type of the channel.
    type Channel: PushChannel + Debug;

    /// Returns the minimal valid configuration, with secrets that [`Self::secrets`] returns.
    fn config(&self) -> Value;

    /// Returns the texts that must never be printed: secrets of the configuration, and the access token of
    /// [`Self::grant`].
    fn secrets(&self) -> Vec<String>;

    /// Creates the channel as the server does.
    ///
    /// # Errors
    /// Returns the complete text of the channel's error: `format!("{error} {error:?}")`.
    fn channel(
        &self,
        config: &Self::Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Self::Channel, String>;

    /// Returns a well-formed token of a declared kind, different for each number.
    fn token(&self, kind: TokenKind, number: usize) -> String;

    /// Returns the numbers of the tokens in a request, in its order.
    fn to(&self, request: &Request) -> Vec<usize>;

    /// Returns the vendor's answer to a send, with one verdict per token of the request.
    fn answer(&self, verdicts: &[Verdict]) -> Response;

    /// Parses a request sent at `now`: the content for the device, and the bytes that the vendor counts.
    fn read(&self, request: &Request, now: Timestamp) -> Sent;

    /// Returns the answer of the token endpoint. `None` means that the request is not for it.
    fn grant(&self, _request: &Request) -> Option<Response> {
        None
    }

    /// Returns the refusal of an access token that was valid before. `None` means that the vendor has no such answer.
    fn refusal(&self) -> Option<Response> {
        None
    }

    /// Returns the body as the device reads it, decrypted if the channel encrypts.
    fn plain(&self, request: &Request) -> Vec<u8> {
        request.body.to_vec()
    }

    /// Returns `true` if this request of a probe reaches no user.
    fn reaches_nobody(&self, _probe: &Request) -> bool {
        false
    }

    /// Returns the statuses that have a meaning without a body.
    fn signs(&self) -> Signs {
        Signs::default()
    }
}

/// Result for one token in an answer of the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message was accepted.
    Accepted,
    /// The token is dead.
    Gone,
}

/// Statuses whose meaning does not depend on the body. Most vendors have none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// Statuses of an accepted message.
    pub taken: &'static [u16],
    /// Statuses of a dead token.
    pub gone: &'static [u16],
}

/// Content of a parsed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Title. `None` means that nothing is shown.
    pub title: Option<String>,
    /// Text below the title.
    pub content: Option<String>,
    /// Payload for the app.
    pub payload: Option<String>,
    /// Id that identifies duplicates.
    pub id: String,
    /// Remaining time to live in seconds.
    pub ttl: u64,
    /// Value derived from the collapse key, by which a message replaces an earlier one. Several values are joined.
    pub collapse: Option<String>,
    /// Number of bytes that count towards the vendor's limit.
    pub counted: usize,
}

/// Creates a test for each promise, with the same name, in the current module: `pushgate_kit::conformance!(subject)`.
/// The function `subject()` returns the [`Subject`].
#[macro_export]
macro_rules! conformance {
    ($subject:path) => {
        #[test]
        fn what_is_declared_is_written_down() {
            $crate::conformance::what_is_declared_is_written_down($subject(), env!("CARGO_MANIFEST_DIR"));
        }

        $crate::conformance! { @each $subject:
            what_is_declared_makes_sense
            each_address_gets_its_own_outcome_in_order
            an_error_of_the_transport_is_told_for_whom_it_concerns
            a_kind_of_token_not_declared_is_unsupported_and_delays_nobody
            what_admits_refuses_is_not_sent_and_what_it_takes_is
            what_is_counted_is_what_is_sent
            a_message_at_the_limit_is_sent_whole_and_one_over_is_cut
            texts_are_cut_between_graphemes_and_the_payload_never
            every_text_arrives_byte_for_byte
            the_vendor_is_told_what_is_left_of_the_time_to_live
            now_or_never_is_told_to_the_vendor
            a_collapse_key_replaces_where_declared
            a_silent_message_shows_nothing_where_declared
            what_is_declared_makes_a_difference_and_nothing_else_does
            a_duplicate_carries_the_same_id
            a_call_reaches_the_device_with_its_id
            a_removal_reaches_the_device_with_what_is_removed
            no_success_is_read_from_a_hostile_answer
            no_token_is_given_up_on_a_hostile_answer
            an_answer_of_ten_megabytes_is_not_read
            a_retry_after_is_a_hint_in_seconds_or_as_a_date
            an_absurd_retry_after_closes_nothing_for_longer_than_a_day
            no_fault_repeats_what_the_vendor_echoes
            a_thousand_sends_share_one_bearer
            a_refused_bearer_is_replaced_once_for_the_next_send
            without_a_bearer_nothing_is_sent
            debug_shows_no_secret
            a_refused_configuration_is_told_without_its_secrets
            a_probe_reaches_no_user_and_tells_no_secret
            no_request_outlives_the_timeout
            a_dropped_send_leaves_nothing_behind
        }
    };
    (@each $subject:path: $($promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::conformance::$promise($subject());
            }
        )*
    };
}
