//! Channel of a plugin that runs in a child process. Keeps each delivery until its outcomes arrive. When the child dies,
//! its deliveries fail with a retryable fault.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{
    ChannelInfo, Delivery, Fault, Kind, Message, Outcome, Probe, PushChannel, Rendered, Report, Transport,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::frame::{self, ToChild, ToParent};
use super::link::Link;
use super::render::estimated;
use super::start::{Started, Starter};
use super::supervise::supervise;
use crate::bounds;
use crate::description::Description;
use crate::error::LoadError;
use crate::loader::OpenOptions;
use crate::telemetry::{MetricNames, Telemetry, sanitized_line};

/// Time beyond the timeout in which the child may reply. The child itself reports a timeout of the plugin after half of it.
const GRACE: Duration = Duration::from_secs(1);
/// Minimum retry delay of a fault. A shorter one would cause a busy loop.
const MIN_RETRY_AFTER: Duration = Duration::from_millis(50);

/// Channel in a child process. Dropping it closes the channel and ends the child.
pub(crate) struct ChildChannel {
    info: ChannelInfo,
    state: Arc<ChildState>,
    _close_on_drop: DropGuard,
}

/// State that the channel shares with its supervisor.
pub(crate) struct ChildState {
    pub(crate) starter: Starter,
    pub(crate) description: Description,
    pub(crate) name: String,
    config: Value,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    metric_names: MetricNames,
    next_tag: AtomicU64,
    calls: Mutex<Calls>,
}

/// Status of the child and the calls that wait for its replies.
struct Calls {
    status: Status,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
}

enum Status {
    Running(Arc<Link>),
    Stopped { restart_at: Instant, why: String },
}

/// Reply of the child to a call.
pub(crate) enum Reply {
    Outcomes(Vec<Outcome>),
    Probe(Result<Probe, Fault>),
    /// The child could not read the delivery.
    Unreadable,
    /// The child died first.
    Died(Fault),
}

impl Calls {
    fn link(&self) -> Result<Arc<Link>, Fault> {
        match &self.status {
            Status::Running(link) => Ok(Arc::clone(link)),
            Status::Stopped { restart_at, why } => {
                Err(stopped_fault(why, restart_at.saturating_duration_since(Instant::now())))
            }
        }
    }
}

impl ChildChannel {
    /// Starts a child and opens the channel in it.
    pub(crate) fn open(
        starter: Starter,
        description: Description,
        kind: &'static str,
        options: OpenOptions,
    ) -> Result<Self, LoadError> {
        let OpenOptions { name, config, transport } = options;
        let info = description.info(kind, name);
        let status = Status::Stopped { restart_at: Instant::now(), why: String::new() };
        let calls = Calls { status, waiting: HashMap::new() };
        let state = Arc::new(ChildState {
            telemetry: Arc::clone(&starter.telemetry),
            starter,
            description,
            name: info.name.to_string(),
            config,
            transport,
            metric_names: MetricNames::default(),
            next_tag: AtomicU64::new(1),
            calls: Mutex::new(calls),
        });
        let started = state.start()?;
        let closing = CancellationToken::new();
        let close_on_drop = closing.clone().drop_guard();
        // Activated here, so that the channel can send before the supervisor's task runs.
        let running = state.activate(started)?;
        tokio::spawn(supervise(Arc::clone(&state), running, closing));
        Ok(Self { info, state, _close_on_drop: close_on_drop })
    }

    /// Calls the child and waits for the reply until the channel's timeout plus [`GRACE`]. `encode` returns the frame for a
    /// tag.
    async fn call(&self, encode: impl FnOnce(u64) -> io::Result<Vec<u8>>) -> Result<Reply, Fault> {
        let limit = self.info.timeout + GRACE;
        match tokio::time::timeout(limit, self.state.call(encode)).await {
            Ok(reply) => reply,
            Err(_) => {
                Err(Fault::new(Kind::Timeout, format!("the plugin's process did not reply within {limit:?}")))
            }
        }
    }
}

#[async_trait]
impl PushChannel for ChildChannel {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    // Returns an estimate while no child runs, so that planning goes on. The plugin refuses messages that are too large.
    fn render(&self, message: &Message) -> Rendered {
        match self.state.link() {
            Ok(link) if bounds::refusal(message).is_none() => link.render(message, &self.state.name),
            _ => estimated(message),
        }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        if let Some(fault) = bounds::refusal(&delivery.message) {
            return Report::all_failed(expected, &fault);
        }
        let encode = |tag| frame::encoded(&ToChild::Send { tag }, &serde_json::to_vec(delivery)?);
        let fault = match self.call(encode).await {
            Ok(Reply::Outcomes(outcomes)) => return Report::new(expected, outcomes),
            Ok(Reply::Died(fault)) | Err(fault) => fault,
            Ok(Reply::Unreadable) => Fault::new(
                Kind::BadMessage,
                "the plugin's process cannot read the message; its overrides may be at fault",
            ),
            Ok(Reply::Probe(_)) => {
                Fault::new(Kind::Bug, "the plugin's process replied to a send as to a probe")
            }
        };
        Report::all_failed(expected, &fault)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        match self.call(|tag| frame::encoded(&ToChild::Probe { tag }, &[])).await? {
            Reply::Probe(probe) => probe,
            Reply::Died(fault) => Err(fault),
            Reply::Outcomes(_) | Reply::Unreadable => {
                Err(Fault::new(Kind::Bug, "the plugin's process replied to a probe as to a send"))
            }
        }
    }
}

/// Guard of a registered call. Removes the call on drop.
struct CallGuard<'a> {
    state: &'a ChildState,
    tag: u64,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.state.calls.lock().waiting.remove(&self.tag);
    }
}

impl ChildState {
    /// Starts a child and opens the channel in it. Blocks.
    pub(crate) fn start(&self) -> Result<Started, LoadError> {
        let mut started = self.starter.start(&self.name)?;
        if started.description != self.description {
            let why = "the file now contains another plugin; reload the configuration".to_owned();
            return Err(LoadError::Child { path: self.starter.path.clone(), why });
        }
        started.open(&self.name, &self.config, |report| self.report_telemetry(report))?;
        Ok(started)
    }

    /// Returns the link to the running child, or the fault of a stopped one.
    fn link(&self) -> Result<Arc<Link>, Fault> {
        self.calls.lock().link()
    }

    /// Sends a frame to the child, once the queue has room for it, and waits for the reply.
    async fn call(&self, encode: impl FnOnce(u64) -> io::Result<Vec<u8>>) -> Result<Reply, Fault> {
        let tag = self.next_tag.fetch_add(1, Ordering::Relaxed);
        let link = self.link()?;
        let frame = encode(tag)
            .map_err(|_| Fault::new(Kind::TooLarge, "the delivery is too large for a plugin's process"))?;
        let permit = link.reserve(frame.len()).await;
        let (_guard, receiver) = self.register(tag, &link)?;
        link.enqueue(frame, permit);
        // Never fails: `set_stopped` replies to every registered call before it drops the sender.
        receiver.await.map_err(|_| Fault::new(Kind::Bug, "the call to the plugin's process was lost"))
    }

    /// Registers a call, which then fails when the child of this link dies.
    fn register(
        &self,
        tag: u64,
        link: &Arc<Link>,
    ) -> Result<(CallGuard<'_>, oneshot::Receiver<Reply>), Fault> {
        let mut calls = self.calls.lock();
        if !Arc::ptr_eq(&calls.link()?, link) {
            return Err(stopped_fault("it was restarted", Duration::ZERO));
        }
        let (sender, receiver) = oneshot::channel();
        calls.waiting.insert(tag, sender);
        Ok((CallGuard { state: self, tag }, receiver))
    }

    /// Lets calls through to a running child.
    pub(crate) fn set_running(&self, link: Arc<Link>) {
        self.calls.lock().status = Status::Running(link);
    }

    /// Fails all waiting calls, and new ones until a child runs again. `delay` is the time until the restart.
    pub(crate) fn set_stopped(&self, why: &str, delay: Duration) {
        let waiting = {
            let mut calls = self.calls.lock();
            calls.status = Status::Stopped { restart_at: Instant::now() + delay, why: why.to_owned() };
            std::mem::take(&mut calls.waiting)
        };
        for sender in waiting.into_values() {
            // An error means that the caller no longer waits.
            let _ = sender.send(Reply::Died(stopped_fault(why, delay)));
        }
    }

    /// Completes a call with the child's reply. Ignores replies after the deadline.
    pub(crate) fn complete(&self, tag: u64, reply: Reply) {
        let sender = self.calls.lock().waiting.remove(&tag);
        if let Some(sender) = sender {
            // An error means that the caller no longer waits.
            let _ = sender.send(reply);
        }
    }

    /// Forwards log lines and metrics of the plugin. Checks them again, because the child is not trusted.
    pub(crate) fn report_telemetry(&self, head: ToParent) {
        let (plugin, channel) = (self.description.kind.as_str(), self.name.as_str());
        match head {
            ToParent::Log { level, text } => {
                self.telemetry.log(plugin, channel, level, &sanitized_line(&text))
            }
            ToParent::Counter { name, by } if self.metric_names.admit(&name) => {
                self.telemetry.count(plugin, channel, &name, by);
            }
            ToParent::Histogram { name, value } if self.metric_names.admit(&name) => {
                self.telemetry.record(plugin, channel, &name, value);
            }
            ToParent::Misuse { misuse } => self.telemetry.record_misuse(plugin, misuse),
            _ => {}
        }
    }
}

/// Returns the fault of calls without a running child. Its retry delay is the time until the restart.
fn stopped_fault(why: &str, wait: Duration) -> Fault {
    Fault::new(Kind::ChannelDown, format!("the plugin's process does not run: {why}"))
        .retry_after(Some(wait.max(MIN_RETRY_AFTER)))
        .of_lane()
}
