//! Holds a channel to what every channel promises and to what it declares: one line in its tests, one test for each promise.
//! The promises are the MUSTs of `docs/channel-spec.md`. Knows no vendor: what is a vendor's, the channel's [`Subject`] says.

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

/// A channel that is held to its promises, and what the suite has to know about the vendor behind it.
///
/// Requests are read here by eyes of their own: whoever reads them with the channel's `encode` would find its mistakes right.
pub trait Subject: Send + Sync + Sized + 'static {
    /// The channel's table in the configuration.
    type Config: DeserializeOwned + Debug;
    /// The channel.
    type Channel: PushChannel + Debug;

    /// The least configuration that works, as a table, with words in it that [`Self::secrets`] knows.
    fn config(&self) -> Value;

    /// The words nobody may ever see printed: what the configuration holds, and the bearer that [`Self::grant`] gives.
    fn secrets(&self) -> Vec<String>;

    /// The channel as the server makes it.
    ///
    /// # Errors
    /// All that the channel's error shows: `format!("{error} {error:?}")`.
    fn channel(
        &self,
        config: &Self::Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Self::Channel, String>;

    /// A well-formed token of a declared kind: for each number another one.
    fn token(&self, kind: TokenKind, number: usize) -> String;

    /// The numbers of the tokens a send is addressed to, in the request's order.
    fn to(&self, request: &Request) -> Vec<usize>;

    /// The vendor's answer to a send: one verdict for each token the request names.
    fn answer(&self, verdicts: &[Verdict]) -> Response;

    /// What a device would be given, and what the vendor would count, read out of a send made at `now`.
    fn read(&self, request: &Request, now: Timestamp) -> Sent;

    /// The token endpoint's answer, where the request is made to one.
    fn grant(&self, _request: &Request) -> Option<Response> {
        None
    }

    /// How the vendor refuses a bearer that was good before, where it can.
    fn refusal(&self) -> Option<Response> {
        None
    }

    /// The body as the device reads it: for a channel that encrypts, what it decrypts to.
    fn plain(&self, request: &Request) -> Vec<u8> {
        request.body.to_vec()
    }

    /// Whether the vendor would show nothing to anybody for this request of a probe.
    fn reaches_nobody(&self, _probe: &Request) -> bool {
        false
    }

    /// What the vendor says by status alone.
    fn signs(&self) -> Signs {
        Signs::default()
    }
}

/// What the vendor says of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Accepted,
    /// Dead for good.
    Gone,
}

/// Statuses that mean what they mean whatever stands in the body; for most vendors there are none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// The message was taken.
    pub taken: &'static [u16],
    /// The token is dead.
    pub gone: &'static [u16],
}

/// What was read out of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// What is shown first; `None` where nothing is.
    pub title: Option<String>,
    /// What is shown below it.
    pub content: Option<String>,
    /// What the app is given.
    pub payload: Option<String>,
    /// What a duplicate is told by.
    pub id: String,
    /// The time to live, in seconds from now.
    pub ttl: u64,
    /// What a later message of the same key replaces an earlier one by; where there are several, all of them in one text.
    pub collapse: Option<String>,
    /// How many bytes count against the vendor's limit.
    pub counted: usize,
}

/// Holds a channel to every promise: `pushgate_kit::conformance!(subject)`, where `subject()` gives its [`Subject`].
/// Each promise becomes a test of that name in the module where this stands.
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
