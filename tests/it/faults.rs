//! Every error row of FCM, through the emulator, on a clock that the test moves: retried not before the vendor said,
//! pruned, or final.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgate::memory::{MemoryQueue, MemoryStore};
use pushgate::observe::{AlarmState, Event};
use pushgate::{
    Address, ChannelName, Clock, Device, DeviceId, Gateway, Kind, Notification, Platform, Receipt, State,
    Store, Timestamp, TokenKind, Traits, UserId,
};
use pushgate_emulator::{
    AfterGoaway, Effect, Emulator, EventKind, Fault, Goaway, LastStream, Options, RetryAfter,
};
use pushgate_fcm::{Config, Fcm};
use pushgate_kit::clock::ManualClock;
use pushgate_transport::{HttpTransport, Roots};
use serde_json::json;

use crate::setup::{MAX_WAIT, Setup};

pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    pub(crate) clock: Arc<ManualClock>,
    store: Arc<MemoryStore>,
    pub(crate) gateway: Gateway,
    device: DeviceId,
    alarms: Arc<Mutex<Vec<(&'static str, AlarmState)>>>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_timeout(Duration::from_secs(15)).await
    }

    async fn with_timeout(timeout: Duration) -> Self {
        let emulator = Emulator::start(Options::default()).await.unwrap();
        // The emulator's own clock is real: the tests begin now and move on from there.
        let clock = Arc::new(ManualClock::at(std::time::SystemTime::now().into()));
        let roots = Roots::Pem(emulator.ca_pem().to_owned());
        let transport = Arc::new(HttpTransport::builder().roots(roots).build().unwrap());
        let config =
            Config { base_url: emulator.url(), timeout, ..Config::new(&emulator.service_account_json()) };
        let name = ChannelName::new("fcm").unwrap();
        let shared: Arc<dyn Clock> = clock.clone();
        let fcm = Fcm::new(name.clone(), &config, transport, shared.clone()).unwrap();
        let store = Arc::new(MemoryStore::default());
        let alarms: Arc<Mutex<Vec<_>>> = Arc::default();
        let heard = Arc::clone(&alarms);
        let gateway = Gateway::builder()
            .observer(move |event: &Event| {
                if let Event::Alarm { fault, state, .. } = event {
                    heard.lock().push((fault.info().code, *state));
                }
            })
            .devices(store.clone())
            .queue(Arc::new(MemoryQueue::default()))
            .clock(shared)
            .jitter(|| 0.0)
            .channel(fcm)
            .start()
            .await
            .unwrap();
        let web = emulator.fcm().add_device("bob-web", pushgate_emulator::Platform::Web).unwrap();
        let device = DeviceId::new("bob-web").unwrap();
        let bob = Device {
            app: pushgate::AppId::new("demo").unwrap(),
            id: device.clone(),
            user: Some(UserId::new("bob").unwrap()),
            traits: Traits::of(Platform::Web),
            addresses: vec![Address { channel: name, kind: TokenKind::Token, token: web.token.into() }],
            registered_at: clock.now(),
        };
        store.register(bob.into()).await.unwrap();
        Self { emulator, clock, store, gateway, device, alarms }
    }

    pub(crate) fn fail(&self, status: u16, code: Option<&str>, retry_after: Option<&str>) {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let retry_after = owned(retry_after).map(RetryAfter::Text);
        let effect = Effect::Error { status, code: owned(code), retry_after };
        self.emulator.fcm().add_fault(Fault::next(1, effect));
    }

    /// The alarms that an observer was told of, in order.
    pub(crate) fn alarms(&self) -> Vec<(&'static str, AlarmState)> {
        self.alarms.lock().clone()
    }

    pub(crate) async fn submit(&self, ttl: Duration) -> pushgate::NotificationId {
        let asked = Notification::to_user("demo", "bob").unwrap().title("Ann").content("hello").ttl(ttl);
        self.gateway.submit(asked).await.unwrap().id
    }

    /// The receipt once the gateway has settled the given attempt.
    pub(crate) async fn after_attempt(&self, id: pushgate::NotificationId, attempt: u32) -> Receipt {
        let app = pushgate::AppId::new("demo").unwrap();
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        loop {
            let status = self.gateway.status(&app, id).await.unwrap().unwrap();
            let receipt = status.receipts[0].clone();
            if receipt.attempts >= attempt {
                return receipt;
            }
            assert!(tokio::time::Instant::now() < deadline, "attempt {attempt} was not made: {receipt:?}");
            tokio::task::yield_now().await;
        }
    }

    /// The receipts of those that are still to be sent; none when all are.
    async fn waiting(&self, asked: &[pushgate::NotificationId]) -> Option<Vec<Receipt>> {
        let app = pushgate::AppId::new("demo").unwrap();
        let mut waiting = Vec::new();
        for id in asked {
            let receipt = self.gateway.status(&app, *id).await.unwrap().unwrap().receipts[0].clone();
            assert!(matches!(receipt.state, State::Queued | State::Sent), "{:?}", receipt.state);
            if receipt.state == State::Queued {
                waiting.push(receipt);
            }
        }
        (!waiting.is_empty()).then_some(waiting)
    }

    pub(crate) fn sends(&self) -> usize {
        self.emulator
            .fcm()
            .events(0)
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Send { .. }))
            .count()
    }

    pub(crate) async fn addresses(&self) -> usize {
        let app = pushgate::AppId::new("demo").unwrap();
        self.store.device(&app, &self.device).await.unwrap().unwrap().addresses.len()
    }

    /// Moves to just before `due`, sees that nothing is sent, then to it, and sees that it is.
    async fn not_before(&self, due: Timestamp) {
        let before = self.sends();
        while self.clock.now() < due - Duration::from_millis(1) {
            let next = self.clock.sleeper().await.min(due - Duration::from_millis(1));
            self.clock.set(next.max(self.clock.now()));
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(self.sends(), before, "sent before its time");
        self.clock.set(due);
        let sent =
            self.emulator.fcm().wait_for(|what| matches!(what, EventKind::Arrived { .. }), MAX_WAIT).await;
        assert!(sent.is_some(), "not sent when its time came");
    }
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn what_will_pass_is_tried_again_and_not_before_retry_after() {
    let rows = [
        (503, Some("UNAVAILABLE"), Some("77"), Kind::VendorDown, 77),
        (503, Some("UNAVAILABLE"), None, Kind::VendorDown, 10),
        (500, Some("INTERNAL"), None, Kind::VendorDown, 10),
        (429, Some("QUOTA_EXCEEDED"), Some("120"), Kind::Throttled, 120),
        (429, Some("QUOTA_EXCEEDED"), None, Kind::Throttled, 60),
        (401, Some("THIRD_PARTY_AUTH_ERROR"), None, Kind::Credentials, 60),
        (403, None, None, Kind::Credentials, 60),
    ];
    for (status, code, retry_after, kind, wait) in rows {
        let bench = Bench::new().await;
        bench.fail(status, code, retry_after);
        let began = bench.clock.now();
        let id = bench.submit(HOUR).await;
        let receipt = bench.after_attempt(id, 1).await;
        assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Queued, kind));
        let due = receipt.next_at.unwrap();
        assert!(due >= began + Duration::from_secs(wait), "{status} {code:?}");
        bench.not_before(due).await;
        assert_eq!(bench.after_attempt(id, 2).await.state, State::Sent);
        assert_eq!(bench.addresses().await, 1, "no token is lost to a passing fault");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn zpns_62_a_dead_token_is_final_and_forgotten() {
    let bench = Bench::new().await;
    // The prune guard believes no death in a window without a success.
    let first = bench.submit(HOUR).await;
    assert_eq!(bench.after_attempt(first, 1).await.state, State::Sent);
    bench.emulator.fcm().unregister("bob-web");
    let id = bench.submit(HOUR).await;
    let receipt = bench.after_attempt(id, 1).await;
    assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Failed, Kind::TokenGone));
    assert_eq!(bench.addresses().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_or_a_foreign_token_is_final_and_forgets_nothing() {
    let rows = [(400, "INVALID_ARGUMENT", Kind::BadMessage), (403, "SENDER_ID_MISMATCH", Kind::WrongApp)];
    for (status, code, kind) in rows {
        let bench = Bench::new().await;
        bench.fail(status, Some(code), None);
        let id = bench.submit(HOUR).await;
        let receipt = bench.after_attempt(id, 1).await;
        assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Failed, kind));
        assert_eq!((bench.addresses().await, receipt.next_at), (1, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_project_never_sends_another_push_early() {
    let bench = Bench::new().await;
    bench.fail(429, Some("QUOTA_EXCEEDED"), Some("300"));
    let first = bench.submit(HOUR).await;
    let due = bench.after_attempt(first, 1).await.next_at.unwrap();
    // Another one, for the same project: it has to wait, too.
    bench.submit(HOUR).await;
    bench.not_before(due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_bearer_is_renewed_and_the_push_sent_at_once() {
    let bench = Bench::new().await;
    let first = bench.submit(HOUR).await;
    bench.after_attempt(first, 1).await;
    bench.emulator.fcm().revoke_bearers();
    let id = bench.submit(HOUR).await;
    assert_eq!(bench.after_attempt(id, 2).await.state, State::Sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_tried_again() {
    let bench = Bench::new().await;
    bench.emulator.fcm().add_fault(Fault::next(1, Effect::reset()));
    let id = bench.submit(HOUR).await;
    let receipt = bench.after_attempt(id, 1).await;
    assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Queued, Kind::VendorDown));
    bench.not_before(receipt.next_at.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_tried_after_its_ttl() {
    let bench = Bench::new().await;
    bench.fail(503, Some("UNAVAILABLE"), Some("77"));
    let id = bench.submit(Duration::from_secs(60)).await;
    let receipt = bench.after_attempt(id, 1).await;
    assert_eq!(
        (receipt.state, receipt.next_at),
        (State::Expired, None),
        "its time is up before it may be tried again"
    );
    // Held back by a pause of the whole lane, it expires instead of going out late.
    bench.fail(429, Some("QUOTA_EXCEEDED"), Some("300"));
    let throttled = bench.submit(HOUR).await;
    bench.after_attempt(throttled, 1).await;
    let late = bench.submit(Duration::from_secs(100)).await;
    let sends = bench.sends();
    let end = bench.clock.now() + Duration::from_secs(301);
    while bench.clock.now() < end {
        let next = bench.clock.sleeper().await.min(end);
        bench.clock.set(next.max(bench.clock.now()));
        tokio::task::yield_now().await;
    }
    let receipt = bench.after_attempt(late, 1).await;
    assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Expired, Kind::Expired));
    assert!(bench.sends() <= sends + 1, "only the throttled one was sent again");
}

/// Sends so many notifications at once, and sees that each is sent and arrives exactly once.
async fn all_arrive_once(setup: &Setup, notifications: usize) {
    let asked = |n: usize| json!({"to": {"users": ["bob"]}, "title": format!("{n}")});
    let submits: Vec<_> = (0..notifications)
        .map(|n| {
            let (client, asked) = (setup.client.clone(), asked(n));
            tokio::spawn(async move { client.submit(&asked, "?wait=25s").await })
        })
        .collect();
    for submit in submits {
        let (_, answer) = submit.await.unwrap();
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let arrived = setup.emulator.fcm().events(0);
    let arrived = arrived.iter().filter(|event| matches!(event.kind, EventKind::Arrived { .. })).count();
    let mut titles: Vec<_> =
        setup.emulator.fcm().inbox("bob-web").unwrap().into_iter().map(|shown| shown.title).collect();
    titles.sort();
    titles.dedup();
    assert_eq!((arrived, titles.len()), (notifications, notifications), "each one, and none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn goaway_loses_nothing_and_duplicates_nothing() {
    for last in [LastStream::This, LastStream::Before, LastStream::Highest] {
        let setup = Setup::open().await;
        setup.page_of("bob").await;
        let goaway = Goaway { last, then: AfterGoaway::Drain, ..Goaway::default() };
        setup.emulator.fcm().add_fault(Fault::next(10, Effect::Goaway(goaway)).share(0.05));
        all_arrive_once(&setup, 300).await;
        let told = |what: &EventKind| matches!(what, EventKind::Goaway { .. });
        let events = setup.emulator.fcm().events(0);
        assert!(events.iter().any(|event| told(&event.kind)), "a connection was told to go away: {last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_limit_that_shrinks_to_one_slows_but_loses_nothing() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    setup.emulator.fcm().add_fault(Fault::next(1, Effect::StreamLimit(1)).skip(50));
    all_arrive_once(&setup, 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_that_expires_early_costs_one_token_fetch() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    all_arrive_once(&setup, 1).await;
    setup.emulator.fcm().age_bearers(HOUR);
    let asked = json!({"to": {"users": ["bob"]}, "title": "Ann"});
    let submits = (0..200).map(|_| setup.client.submit(&asked, "?wait=25s"));
    for (_, answer) in futures_util::future::join_all(submits).await {
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "{answer}");
    }
    let fetched = setup.emulator.fcm().events(0);
    let fetched = fetched.iter().filter(|event| matches!(event.kind, EventKind::Token { .. })).count();
    assert_eq!(fetched, 2, "one at the start, one after the bearer's age");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_vendor_that_fails_now_and_then_everything_arrives_in_the_end() {
    let bench = Bench::new().await;
    bench.emulator.fcm().add_fault(Fault::always(Effect::error(503, "UNAVAILABLE")).share(0.4));
    let mut asked = Vec::new();
    for _ in 0..60 {
        asked.push(bench.submit(HOUR).await);
    }
    let deadline = tokio::time::Instant::now() + MAX_WAIT;
    while let Some(waiting) = bench.waiting(&asked).await {
        assert!(tokio::time::Instant::now() < deadline, "{} have not arrived", waiting.len());
        // Time goes by only when everybody waits for it: an attempt under way must not find itself hours later.
        let now = bench.clock.now();
        let due = |receipt: &Receipt| receipt.next_at.filter(|at| receipt.attempts > 0 && *at > now);
        match waiting.iter().map(due).collect::<Option<Vec<_>>>() {
            Some(times) => bench.clock.set(times.into_iter().min().unwrap()),
            None => tokio::task::yield_now().await,
        }
    }
    assert!(bench.sends() > 70, "some were tried more than once: {}", bench.sends());
    assert_eq!(bench.emulator.fcm().inbox("bob-web").unwrap().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_beyond_the_timeout_is_tried_again_under_the_same_id_and_shown_once() {
    let bench = Bench::with_timeout(Duration::from_millis(400)).await;
    bench.emulator.fcm().add_fault(Fault::next(1, Effect::Delay { ms: 60_000 }));
    let id = bench.submit(HOUR).await;
    let receipt = bench.after_attempt(id, 1).await;
    assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Queued, Kind::Timeout));
    let first = bench.emulator.fcm().inbox("bob-web").unwrap();
    bench.clock.set(receipt.next_at.unwrap());
    assert_eq!(bench.after_attempt(id, 2).await.state, State::Sent);
    let inbox = bench.emulator.fcm().inbox("bob-web").unwrap();
    assert_eq!((inbox.len(), inbox[0].times_replaced), (1, 1), "the vendor had taken the first one, too");
    assert_eq!(inbox[0].data["zego"], first[0].data["zego"], "under the same id");
}
