//! Promises about time: requests end within the timeout of their send, and a dropped send has no effect on others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pushgate::PushChannel;

use super::Subject;
use super::theatre::{Theatre, accepted, play, took};
use crate::sample;

/// Checks that the timeouts of consecutive requests stay within the declared timeout, even with a slow token
/// endpoint.
pub fn no_request_outlives_the_timeout<S: Subject>(subject: S) {
    let theatre = Theatre::ruled(Arc::new(subject), |subject, clock, request| {
        Ok(subject.grant(request).map_or_else(
            || accepted(subject, request),
            |grant| {
                // The last moment at which it is no timeout yet.
                clock.advance(request.timeout.saturating_sub(Duration::from_millis(1)));
                grant
            },
        ))
    });
    let limit = theatre.info().timeout;
    let outcomes = play(theatre.send(&theatre.delivery(sample::message(), [0])));
    assert!(took(&outcomes[0]), "{outcomes:?}");
    let asked = theatre.transport.requests();
    let together: Duration = asked.iter().map(|request| request.timeout).sum();
    assert!(
        together <= limit + Duration::from_millis(1),
        "{together:?} for one send; {limit:?} are declared"
    );
    assert!(asked.iter().all(|request| !request.timeout.is_zero()), "no time is left for an answer");
    // With a bearer at hand a send has all of its time, and no more.
    play(theatre.sent(sample::message()));
    assert!(theatre.last().timeout <= limit);
}

/// Checks that a send dropped while it waits for an access token or the vendor blocks no other send.
pub fn a_dropped_send_leaves_nothing_behind<S: Subject>(subject: S) {
    let theatre = Theatre::open(subject);
    let delivery = theatre.delivery(sample::message(), [0]);
    let another = theatre.delivery(sample::message(), [1]);
    play(async {
        // First without a bearer, then with one, and often enough to use up whatever is counted.
        for _ in 0..300 {
            theatre.transport.hold();
            let before = theatre.transport.requests().len();
            let mut dropped = theatre.channel.send(&delivery);
            let mut waiting = theatre.channel.send(&another);
            assert!((&mut dropped).now_or_never().is_none());
            assert!((&mut waiting).now_or_never().is_none());
            theatre.transport.arrived(before + 1).await;
            drop(dropped);
            theatre.transport.release();
            let outcomes = waiting.await.into_outcomes();
            assert!(took(&outcomes[0]), "{outcomes:?}");
        }
        assert!(took(&theatre.send(&delivery).await[0]));
    });
}
