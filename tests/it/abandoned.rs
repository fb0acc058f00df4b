//! Tests that accepted notifications are sent even if the caller, the channel or the disk fails on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use pushgate::device_event::EventClaims;
use pushgate::memory::{MemoryQueue, MemoryStore};
use pushgate::observe::Event;
use pushgate::queue::{
    Admission, Admitted, BatchCompletion, BatchLease, Completion, Finished, KeyClaim, Lease, LeaseRequest,
    LeasedBatches, LeasedDeliveries, Queue, RecordedEvent, WithdrawFilter,
};
use pushgate::{
    Address, AppId, Audience, ChannelInfo, ChannelName, Clock, Delivery, DeviceEvent, Fault, Gateway,
    IdempotencyKey, Kind, Message, NodeId, Notification, NotificationId, Probe, PushChannel, Receipt,
    Rendered, Report, Secret, State, Status, StorageError, Timestamp, TokenKind, UserId,
};
use pushgate_config::{Config, Sources};
use pushgate_dummy::{Dummy, Script};
use pushgate_kit::clock::ManualClock;
use pushgate_server::serve;
use tokio::sync::{Notify, mpsc};

use crate::setup::{Client, MAX_WAIT};

/// A queue that can be made to wait in `admit`, to fail in `finish`, and to refuse heartbeats as a full disk does.
#[derive(Default)]
struct Troubled {
    inside: MemoryQueue,
    slow: AtomicBool,
    admitting: Notify,
    go_on: Notify,
    failures: AtomicU32,
    full: AtomicBool,
    /// Panics in `finish_batch`: while a part is planned.
    panics: AtomicU32,
}

#[async_trait]
impl Queue for Troubled {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError> {
        // As with a database: what has been handed over is stored, whether or not anybody waits for the answer.
        let admitted = self.inside.admit(admission).await;
        if self.slow.load(Ordering::Acquire) {
            self.admitting.notify_one();
            self.go_on.notified().await;
        }
        admitted
    }
    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError> {
        self.inside.find_claim(app, key).await
    }
    async fn lease(&self, request: LeaseRequest) -> Result<LeasedDeliveries, StorageError> {
        self.inside.lease(request).await
    }
    async fn lease_expired(
        &self,
        node: NodeId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Lease>, StorageError> {
        self.inside.lease_expired(node, now, max).await
    }
    async fn count_waiting(&self, app: &AppId, channel: &ChannelName) -> Result<u64, StorageError> {
        self.inside.count_waiting(app, channel).await
    }
    async fn postpone_batch(&self, lease: &BatchLease, due: Timestamp) -> Result<Finished, StorageError> {
        self.inside.postpone_batch(lease, due).await
    }
    async fn finish(&self, finish: Completion) -> Result<Finished, StorageError> {
        if self.failures.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
        {
            return Err(StorageError::new("storing outcomes", "the disk is full"));
        }
        self.inside.finish(finish).await
    }
    async fn lease_batches(
        &self,
        node: NodeId,
        now: Timestamp,
        most: usize,
    ) -> Result<LeasedBatches, StorageError> {
        self.inside.lease_batches(node, now, most).await
    }
    async fn finish_batch(&self, finish: BatchCompletion) -> Result<Finished, StorageError> {
        let panics =
            self.panics.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        assert!(panics.is_err(), "a defect of the queue");
        self.inside.finish_batch(finish).await
    }
    async fn withdraw(
        &self,
        app: &AppId,
        filter: &WithdrawFilter,
        at: Timestamp,
    ) -> Result<u64, StorageError> {
        self.inside.withdraw(app, filter, at).await
    }
    async fn acknowledge(
        &self,
        app: &AppId,
        id: NotificationId,
        user: &UserId,
    ) -> Result<bool, StorageError> {
        self.inside.acknowledge(app, id, user).await
    }
    async fn receipts(
        &self,
        id: NotificationId,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<Receipt>, StorageError> {
        self.inside.receipts(id, after, most).await
    }
    async fn record_event(
        &self,
        claims: EventClaims,
        event: DeviceEvent,
        at: Timestamp,
    ) -> Result<Option<RecordedEvent>, StorageError> {
        self.inside.record_event(claims, event, at).await
    }
    async fn installation_secret(&self, fresh: &Secret) -> Result<Secret, StorageError> {
        self.inside.installation_secret(fresh).await
    }
    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError> {
        if self.full.load(Ordering::Acquire) {
            return Err(StorageError::new("saying that this node lives", "the disk is full"));
        }
        self.inside.renew(node, until).await
    }
    async fn release(&self, node: NodeId) -> Result<(), StorageError> {
        self.inside.release(node).await
    }
    async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError> {
        self.inside.status_page(app, id, after, limit).await
    }
    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError> {
        self.inside.sweep(now).await
    }
    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError> {
        self.inside.lanes().await
    }
}

/// Panics once, then is well.
struct Panics(Dummy, AtomicU32);

#[async_trait]
impl PushChannel for Panics {
    fn info(&self) -> &ChannelInfo {
        self.0.info()
    }
    fn render(&self, message: &Message) -> Rendered {
        self.0.render(message)
    }
    async fn send(&self, delivery: &Delivery) -> Report {
        assert!(self.1.fetch_add(1, Ordering::AcqRel) > 0, "a defect of the channel");
        self.0.send(delivery).await
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        self.0.probe().await
    }
}

fn way() -> ChannelName {
    ChannelName::new("way").unwrap()
}

fn dummy() -> Dummy {
    Dummy::scripted(way(), Script::default())
}

fn hello() -> Notification {
    let address = Address { channel: way(), kind: TokenKind::Token, token: "t".into() };
    Notification::new(AppId::new("demo").unwrap(), Audience::Addresses(vec![address])).title("hello")
}

/// A gateway, and what becomes of each address.
async fn gateway(
    queue: &Arc<Troubled>,
    channel: impl PushChannel,
) -> (Gateway, mpsc::UnboundedReceiver<pushgate::Receipt>) {
    let (tell, told) = mpsc::unbounded_channel();
    let observer = move |event: &Event| {
        if let Event::Receipt { receipt, .. } = event {
            tell.send(receipt.clone()).unwrap();
        }
    };
    let queue: Arc<dyn Queue> = queue.clone();
    let builder = Gateway::builder().devices(Arc::new(MemoryStore::default())).queue(queue);
    (builder.channel(channel).observer(observer).jitter(|| 0.0).start().await.unwrap(), told)
}

#[tokio::test]
async fn a_caller_who_hangs_up_while_it_is_stored_has_it_sent_all_the_same() {
    let queue = Arc::new(Troubled::default());
    let (gateway, mut told) = gateway(&queue, dummy()).await;
    // Once the lane has emptied the queue, what is submitted goes to it from memory.
    gateway.submit(hello()).await.unwrap();
    tokio::time::timeout(MAX_WAIT, told.recv()).await.unwrap().unwrap();
    queue.slow.store(true, Ordering::Release);
    let submit = gateway.submit(hello());
    tokio::select! {
        _ = submit => panic!("the queue holds it back"),
        () = queue.admitting.notified() => {}
    }
    queue.go_on.notify_one();
    let receipt = tokio::time::timeout(MAX_WAIT, told.recv()).await.unwrap().unwrap();
    assert_eq!(receipt.state, State::Sent);
}

#[tokio::test]
async fn a_channel_that_panics_has_given_a_fault_and_nothing_is_stuck() {
    let queue = Arc::new(Troubled::default());
    let (gateway, mut told) = gateway(&queue, Panics(dummy(), AtomicU32::new(0))).await;
    gateway.submit(hello()).await.unwrap();
    let first = tokio::time::timeout(MAX_WAIT, told.recv()).await.unwrap().unwrap();
    assert_eq!((first.state, first.fault.unwrap().kind), (State::Queued, Kind::Bug));
    let second = tokio::time::timeout(MAX_WAIT, told.recv()).await.unwrap().unwrap();
    assert_eq!((second.state, second.attempts), (State::Sent, 2));
}

#[tokio::test]
async fn an_outcome_that_could_not_be_stored_is_stored_when_storage_is_well_again() {
    let queue = Arc::new(Troubled { failures: AtomicU32::new(2), ..Troubled::default() });
    let (gateway, mut told) = gateway(&queue, dummy()).await;
    let ticket = gateway.submit(hello()).await.unwrap();
    let receipt = tokio::time::timeout(MAX_WAIT, told.recv()).await.unwrap().unwrap();
    assert_eq!(receipt.state, State::Sent);
    let status = gateway
        .wait_until_settled(&AppId::new("demo").unwrap(), ticket.id, Duration::ZERO)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((status.receipts[0].state, status.receipts[0].attempts), (State::Sent, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_remembered_says_no_on_a_full_disk_and_yes_again_after_it() {
    let queue = Arc::new(Troubled::default());
    let clock = Arc::new(ManualClock::default());
    let (shared, kept): (Arc<dyn Clock>, Arc<dyn Queue>) = (clock.clone(), queue.clone());
    let gateway = Gateway::builder().queue(kept).clock(shared).start().await.unwrap();
    let flags = [("server.listen", "127.0.0.1:0"), ("storage.kind", "memory")];
    let flags = flags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap();
    let running = serve::open(&config, gateway.clone(), None).await.unwrap();
    let client = Client::new(&format!("http://{}", running.address), "");
    let becomes = async |status: u16| {
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        loop {
            let (given, answer) = client.raw(Method::GET, "/readyz", "").await;
            if given == status {
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "{given} {answer}, not {status}");
            // The next heartbeat.
            clock.set(clock.sleeper().await);
        }
    };
    becomes(200).await;
    queue.full.store(true, Ordering::Release);
    let problem = becomes(503).await;
    assert_eq!(problem["code"], "storage");
    queue.full.store(false, Ordering::Release);
    becomes(200).await;
    running.stop().await;
}

#[tokio::test]
async fn a_part_whose_planning_panics_waits_and_is_planned_after_those_of_other_apps() {
    let queue = Arc::new(Troubled { panics: AtomicU32::new(1), ..Troubled::default() });
    let clock = Arc::new(ManualClock::at(pushgate_kit::sample::NOW));
    let (shared, time): (Arc<dyn Queue>, Arc<dyn Clock>) = (queue.clone(), clock.clone());
    let builder = Gateway::builder().devices(Arc::new(MemoryStore::default())).queue(shared).clock(time);
    let gateway = builder.channel(dummy()).jitter(|| 0.0).start().await.unwrap();
    let later = |seconds| Some(clock.now() + Duration::from_secs(seconds));
    let panicking = gateway.submit(Notification { send_at: later(1), ..hello() }).await.unwrap();
    let other = Notification { app: AppId::new("other").unwrap(), send_at: later(2), ..hello() };
    let other = (other.app.clone(), gateway.submit(other).await.unwrap());
    let is_sent = async |app: &AppId, id| {
        let status = gateway.status(app, id).await.unwrap().unwrap();
        status.is_settled() && status.counts.get(&State::Sent) == Some(&1)
    };
    let demo = AppId::new("demo").unwrap();
    let mut passed = 0;
    let deadline = tokio::time::Instant::now() + MAX_WAIT;
    while !is_sent(&other.0, other.1.id).await || !is_sent(&demo, panicking.id).await {
        assert!(tokio::time::Instant::now() < deadline, "a part was not planned");
        assert!(passed > 30 || !is_sent(&demo, panicking.id).await, "the part waits after a panic");
        clock.advance(Duration::from_secs(1));
        passed += 1;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(passed < 10 || is_sent(&other.0, other.1.id).await, "other apps do not wait for it");
    }
}
