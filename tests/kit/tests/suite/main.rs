//! Tests of the conformance suite: a correct channel passes, and each defect is found by the promise that it breaks.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod paper;
mod subject;

use std::panic::catch_unwind;

use pushgate_kit::conformance;

use paper::Defect;
use subject::Vendor;

mod sound {
    //! Runs the suite against a channel without a defect.

    fn sound() -> crate::Vendor {
        crate::Vendor(None)
    }

    pushgate_kit::conformance!(sound);
}

/// Asserts that the promise fails for a channel with the defect.
fn finds(defect: Defect, promise: fn(Vendor)) {
    let broken = catch_unwind(|| promise(Vendor(Some(defect))));
    assert!(broken.is_err(), "{defect:?} goes through {}", std::any::type_name_of_val(&promise));
}

macro_rules! found {
    ($($defect:ident by $promise:ident as $name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                finds(Defect::$defect, conformance::$promise::<Vendor>);
            }
        )*

        /// Checks that each promise is broken by at least one defect, so that none is without effect.
        #[test]
        fn every_promise_can_be_broken() {
            let tried = [$(stringify!($promise)),*];
            let source = concat!(
                include_str!("../../src/conformance/outcomes.rs"), include_str!("../../src/conformance/message.rs"),
                include_str!("../../src/conformance/hostile.rs"), include_str!("../../src/conformance/deadline.rs"),
                include_str!("../../src/conformance/credentials.rs"),
            );
            let promises = source.split("\npub fn ").skip(1).filter_map(|rest| rest.split_once("<S: Subject>(subject: S)"));
            for (promise, _) in promises {
                assert!(tried.contains(&promise), "nobody knows whether {promise} can be broken");
            }
        }
    };
}

found! {
    NoBatch by what_is_declared_makes_sense as a_channel_that_sends_to_nobody,
    Backwards by each_address_gets_its_own_outcome_in_order as outcomes_out_of_order,
    DeadWhenUnreachable by an_error_of_the_transport_is_told_for_whom_it_concerns as a_token_given_up_for_a_network,
    AnyKind by a_kind_of_token_not_declared_is_unsupported_and_delays_nobody as a_token_of_another_kind_sent,
    RefusesLate by what_admits_refuses_is_not_sent_and_what_it_takes_is as an_address_refused_that_was_admitted,
    CountsContent by what_is_counted_is_what_is_sent as bytes_that_are_not_counted,
    Overfull by a_message_at_the_limit_is_sent_whole_and_one_over_is_cut as a_payload_that_is_cut,
    CutsBytes by texts_are_cut_between_graphemes_and_the_payload_never as a_text_that_is_cut_again,
    NoControls by every_text_arrives_byte_for_byte as a_text_without_its_control_characters,
    WholeLife by the_vendor_is_told_what_is_left_of_the_time_to_live as a_time_to_live_that_begins_anew,
    SomeLife by now_or_never_is_told_to_the_vendor as a_call_that_rings_later,
    NoCollapse by a_collapse_key_replaces_where_declared as a_key_that_replaces_nothing,
    SilentShows by a_silent_message_shows_nothing_where_declared as a_silent_message_that_is_shown,
    NoBadge by what_is_declared_makes_a_difference_and_nothing_else_does as a_number_declared_and_not_sent,
    NoNote by a_call_reaches_the_device_with_its_id as a_call_nobody_can_answer,
    NoNote by a_removal_reaches_the_device_with_what_is_removed as a_removal_that_removes_nothing,
    NewId by a_duplicate_carries_the_same_id as a_duplicate_nobody_can_tell,
    AnySuccess by no_success_is_read_from_a_hostile_answer as a_portals_page_taken_for_success,
    DeadOn404 by no_token_is_given_up_on_a_hostile_answer as a_token_given_up_for_a_wrong_path,
    ReadsAll by an_answer_of_ten_megabytes_is_not_read as an_answer_without_a_bound,
    SecondsOnly by a_retry_after_is_a_hint_in_seconds_or_as_a_date as a_date_that_is_not_read,
    WaitsForever by an_absurd_retry_after_closes_nothing_for_longer_than_a_day as a_lane_closed_for_good,
    Quotes by no_fault_repeats_what_the_vendor_echoes as a_fault_with_a_users_text,
    ManyBearers by a_thousand_sends_share_one_bearer as a_bearer_for_each_send,
    KeepsBearer by a_refused_bearer_is_replaced_once_for_the_next_send as a_refused_bearer_used_on,
    SendsAnyway by without_a_bearer_nothing_is_sent as a_message_without_a_bearer,
    ShowsKey by debug_shows_no_secret as a_key_in_debug,
    QuotesKey by a_refused_configuration_is_told_without_its_secrets as a_key_in_an_error,
    ProbesUser by a_probe_reaches_no_user_and_tells_no_secret as a_probe_somebody_sees,
    OwnTimeout by no_request_outlives_the_timeout as a_request_longer_than_its_send,
    Wedges by a_dropped_send_leaves_nothing_behind as a_channel_that_stays_busy,
}

#[test]
fn what_is_written_down_and_no_longer_true_is_found() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return; // It is written anew, so it is true.
    }
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().to_str().unwrap().to_owned();
    std::fs::write(folder.path().join("capability.json"), "{}\n").unwrap();
    let stale = catch_unwind(|| conformance::what_is_declared_is_written_down(Vendor(None), &manifest));
    assert!(stale.is_err());
}
