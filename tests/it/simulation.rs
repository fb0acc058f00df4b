//! A gateway in this process, with a scripted channel and a clock that the test moves: for what takes time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::app::App;
use pushgate::memory::{MemoryQueue, MemoryStore};
use pushgate::presence::Session;
use pushgate::{
    Address, AppId, Capability, ChannelInfo, ChannelName, Clock, Delivery, Device, DeviceId, Fault, Gateway,
    Kind, Message, Notification, NotificationId, Outcome, Platform, Probe, PushChannel, Rendered, Report,
    Status, Ticket, Timestamp, TokenKind, Traits, UserId,
};
use pushgate_kit::clock::ManualClock;

use crate::setup::MAX_WAIT;

pub(crate) struct Simulation {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) gateway: Gateway,
    channel: Arc<Scripted>,
}

/// Scripted answer for an address.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Accepted,
    Fault(Kind),
}

/// Answers in turn, and remembers what it was sent.
struct Scripted {
    info: ChannelInfo,
    answers: Vec<Answer>,
    turn: AtomicUsize,
    clock: Arc<ManualClock>,
    /// The time until which every push gets this fault, whatever the answers.
    outage: Mutex<Option<(Timestamp, Fault)>>,
    sent: Mutex<Vec<Delivery>>,
}

impl Scripted {
    fn new(answers: Vec<Answer>, clock: Arc<ManualClock>) -> Self {
        let capability = Capability { max_batch: 100, silent: true, ..Capability::BASIC };
        let name = ChannelName::new("scripted").unwrap();
        let info = ChannelInfo { kind: "scripted", name, timeout: Duration::from_secs(5), capability };
        let turn = AtomicUsize::new(0);
        Self { info, answers, turn, clock, outage: Mutex::default(), sent: Mutex::default() }
    }

    fn answer(&self) -> Outcome {
        if let Some((until, fault)) = &*self.outage.lock()
            && self.clock.now() < *until
        {
            return Outcome::Failed(fault.clone());
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        match self.answers.get(turn % self.answers.len().max(1)) {
            None | Some(Answer::Accepted) => Outcome::accepted(format!("scripted-{turn}")),
            Some(Answer::Fault(kind)) => Outcome::Failed(Fault::new(*kind, "scripted")),
        }
    }
}

#[async_trait]
impl PushChannel for Scripted {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn render(&self, message: &Message) -> Rendered {
        let counted = message.title.expose().len() + message.content.expose().len();
        Rendered { body: serde_json::Value::Null, counted }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        self.sent.lock().push(delivery.clone());
        let outcomes = delivery.targets.iter().map(|_| self.answer()).collect();
        Report::new(delivery.targets.len(), outcomes)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe { identity: "nobody".to_owned(), expires_at: None })
    }
}

pub(crate) fn demo() -> AppId {
    AppId::new("demo").unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn device(id: &str, name: &str, platform: Platform) -> Device {
    let channel = ChannelName::new("scripted").unwrap();
    Device {
        app: demo(),
        id: DeviceId::new(id).unwrap(),
        user: Some(user(name)),
        traits: Traits::of(platform),
        addresses: vec![Address { channel, kind: TokenKind::Token, token: format!("token of {id}").into() }],
        registered_at: pushgate_kit::sample::NOW,
    }
}

impl Simulation {
    /// With answers in turn, and round again; none: everything is accepted.
    pub(crate) async fn answering(answers: Vec<Answer>) -> Self {
        let clock = Arc::new(ManualClock::at(pushgate_kit::sample::NOW));
        let channel = Arc::new(Scripted::new(answers, clock.clone()));
        let installed: Arc<dyn PushChannel> = channel.clone();
        let shared: Arc<dyn Clock> = clock.clone();
        let gateway = Gateway::builder()
            .devices(Arc::new(MemoryStore::default()))
            .queue(Arc::new(MemoryQueue::default()))
            .clock(shared)
            .jitter(|| 0.0)
            .presence_by_sessions()
            .app(demo(), App::default().install(installed, 100))
            .start()
            .await
            .unwrap();
        Self { clock, gateway, channel }
    }

    pub(crate) async fn open() -> Self {
        Self::answering(Vec::new()).await
    }

    pub(crate) async fn register(&self, id: &str, name: &str, platform: Platform) {
        self.gateway.register(device(id, name, platform)).await.unwrap();
    }

    pub(crate) fn online(&self, name: &str, platform: Platform, lease: Duration) {
        let session = Session { app: demo(), user: user(name), platform, device: None };
        self.gateway.presence_sessions().unwrap().renew(session, lease);
    }

    pub(crate) fn offline(&self, name: &str, platform: Platform) {
        let session = Session { app: demo(), user: user(name), platform, device: None };
        self.gateway.presence_sessions().unwrap().end(&session);
    }

    pub(crate) fn to(name: &str) -> Notification {
        Notification::to_user("demo", name).unwrap().title("Ann").content("hello")
    }

    pub(crate) async fn submit(&self, asked: Notification) -> Ticket {
        self.gateway.submit(asked).await.unwrap()
    }

    /// The status once `enough` says so.
    pub(crate) async fn status(&self, id: NotificationId, enough: impl Fn(&Status) -> bool) -> Status {
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        loop {
            let status = self.gateway.status(&demo(), id).await.unwrap().unwrap();
            if enough(&status) {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "not so in time: {status:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Moves on from sleeper to sleeper until `until` says so: whoever waits for an hour gets it.
    pub(crate) async fn pass(&self, until: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + MAX_WAIT;
        while !until() {
            assert!(tokio::time::Instant::now() < deadline, "not so in time");
            let next = self.clock.sleeper().await;
            self.clock.set(next.max(self.clock.now()));
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Lets every push fail with this fault for so long.
    pub(crate) fn fail_for(&self, span: Duration, fault: Fault) {
        *self.channel.outage.lock() = Some((self.clock.now() + span, fault));
    }

    /// Moves on by so much, in steps within which everybody who is due gets on.
    pub(crate) async fn advance(&self, by: Duration, step: Duration) {
        let end = self.clock.now() + by;
        while self.clock.now() < end {
            self.clock.set((self.clock.now() + step).min(end));
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
    }

    pub(crate) fn sent(&self) -> Vec<Delivery> {
        self.channel.sent.lock().clone()
    }

    /// The devices that got something, and the messages.
    pub(crate) fn got(&self) -> Vec<(String, Arc<Message>)> {
        let one = |delivery: &Delivery| {
            let message = Arc::clone(&delivery.message);
            let id = |target: &pushgate::Target| target.device.as_ref().unwrap().to_string();
            delivery.targets.iter().map(move |target| (id(target), Arc::clone(&message))).collect::<Vec<_>>()
        };
        self.sent().iter().flat_map(one).collect()
    }
}
