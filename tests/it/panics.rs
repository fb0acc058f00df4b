//! A panic in what an embedder provides costs the one call: every push reaches its final status, and other apps go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pushgate::app::App;
use pushgate::memory::MemoryStore;
use pushgate::observe::Event;
use pushgate::{
    AppId, ChannelInfo, ChannelName, Delivery, Device, Fault, Gateway, Kind, Message, Notification, Outcome,
    Platform, Presence, Probe, PushChannel, Receipt, Rendered, Report, State, UserId,
};
use tokio::sync::mpsc;

use crate::setup::MAX_WAIT;
use crate::simulation::{demo, device};

/// Renders and probes by a panic, and sends.
struct PanickingChannel(ChannelInfo);

impl PanickingChannel {
    fn new() -> Self {
        let capability = pushgate::Capability { max_batch: 100, silent: true, ..pushgate::Capability::BASIC };
        let name = ChannelName::new("scripted").unwrap();
        Self(ChannelInfo { kind: "panicking", name, timeout: Duration::from_secs(5), capability })
    }
}

#[async_trait]
impl PushChannel for PanickingChannel {
    fn info(&self) -> &ChannelInfo {
        &self.0
    }
    fn render(&self, _: &Message) -> Rendered {
        panic!("a defect in render")
    }
    async fn send(&self, delivery: &Delivery) -> Report {
        Report::new(delivery.targets.len(), vec![Outcome::accepted("1"); delivery.targets.len()])
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        panic!("a defect in probe")
    }
}

struct PanickingPresence;

#[async_trait]
impl Presence for PanickingPresence {
    async fn online_on(&self, _: &AppId, _: &UserId) -> Vec<Platform> {
        panic!("a defect of the presence")
    }
    async fn has_connected_since(&self, _: &AppId, _: &UserId, _: pushgate::Timestamp) -> bool {
        panic!("a defect of the presence")
    }
}

fn calm() -> AppId {
    AppId::new("calm").unwrap()
}

/// A gateway in which observer, presence and channel panic at every call, and what an observer behind them is told.
async fn gateway(
    jitter: impl Fn() -> f64 + Send + Sync + 'static,
) -> (Gateway, mpsc::UnboundedReceiver<(AppId, Receipt)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let observer = move |event: &Event| {
        if let Event::Receipt { app, receipt, .. } = event {
            let _ = tell.send((app.clone(), receipt.clone()));
        }
    };
    let builder = Gateway::builder()
        .devices(Arc::new(MemoryStore::default()))
        .presence(PanickingPresence)
        .observer(|_: &Event| panic!("a defect of an observer"))
        .observer(observer)
        .jitter(jitter)
        .app(demo(), App::default().channel(PanickingChannel::new()))
        .app(calm(), App::default().channel(PanickingChannel::new()));
    let gateway = builder.start().await.unwrap();
    for app in [demo(), calm()] {
        gateway.register(Device { app, ..device("d", "bob", Platform::Web) }).await.unwrap();
    }
    (gateway, told)
}

fn to_bob(app: &AppId) -> Notification {
    Notification::to_user(app.as_str(), "bob").unwrap().title("Ann").content("hello")
}

async fn next(told: &mut mpsc::UnboundedReceiver<(AppId, Receipt)>) -> (AppId, Receipt) {
    tokio::time::timeout(MAX_WAIT, told.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_panic_of_observer_presence_or_render_loses_no_push_at_once_or_later() {
    let (gateway, mut told) = gateway(|| 0.0).await;
    gateway.submit(to_bob(&demo())).await.unwrap();
    assert_eq!(next(&mut told).await.1.state, State::Sent);
    // Later: a part for both apps is planned by the same task.
    let later = gateway.now() + Duration::from_millis(1500);
    for app in [demo(), calm()] {
        gateway.submit(Notification { send_at: Some(later), ..to_bob(&app) }).await.unwrap();
    }
    let (first, second) = (next(&mut told).await, next(&mut told).await);
    assert_eq!((first.1.state, second.1.state), (State::Sent, State::Sent));
    assert_ne!(first.0, second.0, "each app got its own");
    let previewed = gateway.preview(&to_bob(&demo())).await.unwrap();
    assert_eq!(previewed.0[0].rendered.counted, 0, "what a preview cannot show is empty");
    let channel = &gateway.app(&demo()).unwrap().channels()[&ChannelName::new("scripted").unwrap()].channel;
    assert_eq!(channel.probe().await.unwrap_err().kind, Kind::Bug);
}

#[tokio::test]
async fn a_panic_outside_of_the_channel_is_a_failed_attempt_and_strands_no_lease() {
    let has_panicked = AtomicBool::new(false);
    let jitter = move || {
        assert!(has_panicked.swap(true, Ordering::AcqRel), "a defect in the source of chance");
        0.0
    };
    let (gateway, mut told) = gateway(jitter).await;
    gateway.submit(to_bob(&demo())).await.unwrap();
    let (_, first) = next(&mut told).await;
    assert_eq!((first.state, first.fault.unwrap().kind), (State::Queued, Kind::Bug));
    let (_, second) = next(&mut told).await;
    assert_eq!((second.state, second.attempts), (State::Sent, 2));
}
