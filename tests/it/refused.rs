//! Refused credentials through the whole gateway: one push at a time finds out whether they are taken again, and an operator
//! hears of it once.

use std::time::Duration;

use pushgate::observe::AlarmState::{Closed, Opened};
use pushgate::{AppId, NotificationId, State};
use pushgate_emulator::{Effect, Fault};

use crate::faults::{Bench, HOUR};
use crate::setup::MAX_WAIT;

/// The pauses between probes: doubled from a minute, at most five.
const PAUSES: [u64; 5] = [60, 120, 240, 300, 300];

impl Bench {
    /// The attempts that the gateway has settled, and how many notifications were sent.
    async fn settled(&self, ids: &[NotificationId]) -> (usize, usize) {
        let app = AppId::new("demo").unwrap();
        let (mut attempts, mut sent) = (0, 0);
        for id in ids {
            let receipt = self.gateway.status(&app, *id).await.unwrap().unwrap().receipts[0].clone();
            attempts += receipt.attempts as usize;
            sent += usize::from(receipt.state == State::Sent);
        }
        (attempts, sent)
    }

    /// Waits until so many requests have come and the gateway has settled them all.
    async fn wait_for_sends(&self, ids: &[NotificationId], sends: usize) {
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        while self.sends() < sends || self.settled(ids).await.0 < self.sends() {
            assert!(tokio::time::Instant::now() < deadline, "{} of {sends} requests came", self.sends());
            tokio::task::yield_now().await;
        }
    }

    /// Moves on by this pause. Sees that nobody sends before its end and that one push does at its end.
    async fn probe_after(&self, ids: &[NotificationId], pause: Duration) {
        let (sends, end) = (self.sends(), self.clock.now() + pause);
        // Google refuses assertions of the future.
        self.emulator.advance(pause);
        self.clock.set(end - Duration::from_millis(1));
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.sends(), sends, "a request came before its time");
        self.clock.set(end);
        self.wait_for_sends(ids, sends + 1).await;
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.sends(), sends + 1, "one probe for everybody who waits");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_cost_one_request_a_pause_and_one_alarm_however_much_waits() {
    let bench = Bench::new().await;
    bench.emulator.fcm().add_fault(Fault::always(Effect::Error {
        status: 403,
        code: None,
        retry_after: None,
    }));
    let mut ids = vec![bench.submit(24 * HOUR).await];
    bench.after_attempt(ids[0], 1).await;
    for _ in 0..200 {
        ids.push(bench.submit(24 * HOUR).await);
    }
    for pause in PAUSES {
        bench.probe_after(&ids, Duration::from_secs(pause)).await;
    }
    assert_eq!(bench.sends(), 1 + PAUSES.len());
    assert_eq!(bench.alarms(), [("credentials", Opened)]);
    // An operator mends them: the next probe opens the lane for all.
    bench.emulator.fcm().clear_faults();
    bench.clock.advance(Duration::from_secs(300));
    let deadline = tokio::time::Instant::now() + MAX_WAIT;
    while bench.settled(&ids).await.1 < ids.len() {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", bench.settled(&ids).await);
        // Those that were tried before wait for times of their own.
        bench.clock.advance(Duration::from_secs(1));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(bench.alarms(), [("credentials", Opened), ("credentials", Closed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_that_is_refused_twice_in_a_row_holds_the_lane_as_refused_credentials_do() {
    let bench = Bench::new().await;
    bench.emulator.fcm().add_fault(Fault::always(Effect::Error {
        status: 401,
        code: None,
        retry_after: None,
    }));
    let mut ids = vec![bench.submit(24 * HOUR).await];
    // With a new bearer it is tried again at once.
    bench.after_attempt(ids[0], 2).await;
    for _ in 0..100 {
        ids.push(bench.submit(24 * HOUR).await);
    }
    assert_eq!(bench.sends(), 2);
    for pause in [60, 120] {
        bench.probe_after(&ids, Duration::from_secs(pause)).await;
    }
    assert_eq!(bench.alarms(), [("credentials", Opened)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_another_app_raise_one_alarm_which_closes_after_an_hour_without_them() {
    let bench = Bench::new().await;
    let code = Some("SENDER_ID_MISMATCH".to_owned());
    bench.emulator.fcm().add_fault(Fault::next(30, Effect::Error { status: 403, code, retry_after: None }));
    for _ in 0..30 {
        let id = bench.submit(HOUR).await;
        bench.after_attempt(id, 1).await;
    }
    let sent = async || bench.after_attempt(bench.submit(HOUR).await, 1).await.state;
    assert_eq!(sent().await, State::Sent);
    assert_eq!(bench.alarms(), [("wrong_app", Opened)], "another address that is reached proves nothing");
    bench.emulator.advance(HOUR);
    bench.clock.advance(HOUR);
    assert_eq!(sent().await, State::Sent);
    assert_eq!(bench.alarms(), [("wrong_app", Opened), ("wrong_app", Closed)]);
}
