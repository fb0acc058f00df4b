//! A gateway in this process, with a scripted channel and a clock that the test moves: for what takes time.

use std::sync::Arc;
use std::time::Duration;

use pushgate::app::App;
use pushgate::memory::{MemoryQueue, MemoryStore};
use pushgate::presence::Session;
use pushgate::{
    Address, AppId, ChannelName, Clock, Delivery, Device, DeviceId, Gateway, Message, Notification,
    NotificationId, Platform, Status, Ticket, TokenKind, Traits, UserId,
};
use pushgate_dummy::{Answer, Config, Dummy};
use pushgate_kit::clock::ManualClock;

use crate::house::PATIENCE;

pub(crate) struct Desk {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) gateway: Gateway,
    channel: Arc<Dummy>,
}

pub(crate) fn demo() -> AppId {
    AppId::new("demo").unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn device(id: &str, name: &str, platform: Platform) -> Device {
    let channel = ChannelName::new("dummy").unwrap();
    Device {
        app: demo(),
        id: DeviceId::new(id).unwrap(),
        user: Some(user(name)),
        traits: Traits::of(platform),
        addresses: vec![Address { channel, kind: TokenKind::Token, token: format!("token of {id}").into() }],
        registered_at: pushgate_kit::sample::NOW,
    }
}

impl Desk {
    /// With answers in turn, and round again; none: everything is accepted.
    pub(crate) async fn answering(answers: Vec<Answer>) -> Self {
        let clock = Arc::new(ManualClock::at(pushgate_kit::sample::NOW));
        let channel = Arc::new(Dummy::new(ChannelName::new("dummy").unwrap(), Config { answers }));
        let installed: Arc<dyn pushgate::PushChannel> = channel.clone();
        let shared: Arc<dyn Clock> = clock.clone();
        let gateway = Gateway::builder()
            .devices(Arc::new(MemoryStore::default()))
            .queue(Arc::new(MemoryQueue::default()))
            .clock(shared)
            .jitter(|| 0.0)
            .presence_by_leases()
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
        self.gateway.leases().unwrap().online(session, lease);
    }

    pub(crate) fn offline(&self, name: &str, platform: Platform) {
        let session = Session { app: demo(), user: user(name), platform, device: None };
        self.gateway.leases().unwrap().offline(&session);
    }

    pub(crate) fn to(name: &str) -> Notification {
        Notification::to_user("demo", name).unwrap().title("Ann").content("hello")
    }

    pub(crate) async fn submit(&self, asked: Notification) -> Ticket {
        self.gateway.submit(asked).await.unwrap()
    }

    /// The status once `enough` says so.
    pub(crate) async fn status(&self, id: NotificationId, enough: impl Fn(&Status) -> bool) -> Status {
        let deadline = tokio::time::Instant::now() + PATIENCE;
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
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !until() {
            assert!(tokio::time::Instant::now() < deadline, "not so in time");
            let next = self.clock.sleeper().await;
            self.clock.set(next.max(self.clock.now()));
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
        }
    }

    pub(crate) fn sent(&self) -> Vec<Delivery> {
        self.channel.sent()
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
