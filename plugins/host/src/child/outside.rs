//! A channel whose plugin runs in a child: a delivery is kept here until its outcomes come, or the child's death is its fault.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{
    ChannelInfo, Delivery, Fault, Kind, Message, Outcome, Probe, PushChannel, Rendered, Report, Secret,
    Transport,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::frame::{self, Down, Up};
use super::link::Link;
use super::start::{Started, Starter};
use super::supervise::supervise;
use crate::description::Description;
use crate::error::LoadError;
use crate::loader::Opening;
use crate::telemetry::{Names, Telemetry, one_line};

/// What the child gets beyond the timeout: it answers for the plugin itself, half a second after it.
const GRACE: Duration = Duration::from_secs(1);
/// A hint shorter than this is none.
const SHORTEST: Duration = Duration::from_millis(50);

/// A channel in a child process. Dropping it closes the channel and ends the child.
pub(crate) struct Isolated {
    info: ChannelInfo,
    desk: Arc<Desk>,
    _end: DropGuard,
}

/// What the channel and its supervisor share.
pub(crate) struct Desk {
    pub(crate) starter: Starter,
    pub(crate) description: Description,
    pub(crate) name: String,
    config: Value,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    names: Names,
    next: AtomicU64,
    state: Mutex<State>,
}

struct State {
    child: Child,
    waiting: HashMap<u64, oneshot::Sender<Reply>>,
}

enum Child {
    Up(Arc<Link>),
    /// Until when it will not be there, and why.
    Down(Instant, String),
}

/// What comes back for a question.
pub(crate) enum Reply {
    Outcomes(Vec<Outcome>),
    Probe(Result<Probe, Fault>),
    Died(Fault),
}

impl Isolated {
    /// Starts a child and opens the channel in it.
    pub(crate) fn open(
        starter: Starter,
        description: Description,
        kind: &'static str,
        opening: Opening,
    ) -> Result<Self, LoadError> {
        let Opening { name, config, transport } = opening;
        let info = description.info(kind, name);
        let state = State { child: Child::Down(Instant::now(), String::new()), waiting: HashMap::new() };
        let desk = Arc::new(Desk {
            telemetry: Arc::clone(&starter.telemetry),
            starter,
            description,
            name: info.name.to_string(),
            config,
            transport,
            names: Names::default(),
            next: AtomicU64::new(1),
            state: Mutex::new(state),
        });
        let first = desk.start()?;
        let closing = CancellationToken::new();
        let end = closing.clone().drop_guard();
        // Up before anybody can send: the task may take its time to begin.
        let running = desk.takes_up(first)?;
        tokio::spawn(supervise(Arc::clone(&desk), running, closing));
        Ok(Self { info, desk, _end: end })
    }

    /// Asks the child, and waits at most so long.
    async fn ask(&self, question: impl FnOnce(u64) -> Down, patience: Duration) -> Result<Reply, Fault> {
        let (asked, receiver) = self.desk.ask(question)?;
        let reply = tokio::time::timeout(patience, receiver).await;
        drop(asked);
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            _ => Err(Fault::new(
                Kind::Timeout,
                format!("the plugin's process gave no answer within {patience:?}"),
            )),
        }
    }
}

#[async_trait]
impl PushChannel for Isolated {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    // While there is no child, the texts alone are counted: planning goes on, and the plugin refuses what is too large.
    fn render(&self, message: &Message) -> Rendered {
        let link = match &self.desk.state.lock().child {
            Child::Up(link) => Some(Arc::clone(link)),
            Child::Down(..) => None,
        };
        link.and_then(|link| link.render(message)).unwrap_or_else(|| {
            let payload = message.payload.as_ref().map_or("", Secret::expose);
            let counted = message.title.expose().len() + message.content.expose().len() + payload.len();
            Rendered { body: Value::Null, counted }
        })
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        let question = |tag| Down::Send { tag, delivery: delivery.clone() };
        let fault = match self.ask(question, self.info.timeout + GRACE).await {
            Ok(Reply::Outcomes(outcomes)) => return Report::new(expected, outcomes),
            Ok(Reply::Died(fault)) | Err(fault) => fault,
            Ok(Reply::Probe(_)) => Fault::new(Kind::Bug, "the plugin's process answered another question"),
        };
        Report::all_failed(expected, &fault)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        match self.ask(|tag| Down::Probe { tag }, self.info.timeout + GRACE).await? {
            Reply::Probe(probe) => probe,
            Reply::Died(fault) => Err(fault),
            Reply::Outcomes(_) => {
                Err(Fault::new(Kind::Bug, "the plugin's process answered another question"))
            }
        }
    }
}

/// A question that is forgotten when whoever asked goes away.
struct Asked<'a> {
    desk: &'a Desk,
    tag: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.desk.state.lock().waiting.remove(&self.tag);
    }
}

impl Desk {
    /// Starts a child with the channel open in it. Blocks.
    pub(crate) fn start(&self) -> Result<Started, LoadError> {
        let mut started = self.starter.start(&self.name)?;
        if started.description != self.description {
            let why = "the file is another plugin by now; reload the configuration".to_owned();
            return Err(LoadError::Child { path: self.starter.path.clone(), why });
        }
        started.open(&self.name, &self.config, |aside| self.overhear(aside))?;
        Ok(started)
    }

    fn ask(
        &self,
        question: impl FnOnce(u64) -> Down,
    ) -> Result<(Asked<'_>, oneshot::Receiver<Reply>), Fault> {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        let question = question(tag);
        let frame = frame::encoded(&question, &[])
            .map_err(|_| Fault::new(Kind::TooLarge, "the delivery is too large for a plugin's process"))?;
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        // Under the lock: whoever is entered here is told when the child dies.
        match &state.child {
            Child::Up(link) => link.pass(frame),
            Child::Down(until, why) => {
                return Err(down(why, until.saturating_duration_since(Instant::now())));
            }
        }
        state.waiting.insert(tag, sender);
        Ok((Asked { desk: self, tag }, receiver))
    }

    /// Lets questions through to a child.
    pub(crate) fn is_up(&self, link: Arc<Link>) {
        self.state.lock().child = Child::Up(link);
    }

    /// The child died: whoever waits is told, and whoever asks until it is there again.
    pub(crate) fn is_down(&self, why: &str, wait: Duration) {
        let waiting = {
            let mut state = self.state.lock();
            state.child = Child::Down(Instant::now() + wait, why.to_owned());
            std::mem::take(&mut state.waiting)
        };
        for sender in waiting.into_values() {
            // Whoever waited may have gone.
            let _ = sender.send(Reply::Died(down(why, wait)));
        }
    }

    /// An answer of the child's. One that nobody waits for has been answered by the deadline.
    pub(crate) fn answered(&self, tag: u64, reply: Reply) {
        let waiting = self.state.lock().waiting.remove(&tag);
        if let Some(waiting) = waiting {
            // Whoever waited may have gone.
            let _ = waiting.send(reply);
        }
    }

    /// What a plugin says beside its answers. Nothing of it is believed to be well-formed.
    pub(crate) fn overhear(&self, said: Up) {
        let (plugin, channel) = (self.description.kind.as_str(), self.name.as_str());
        match said {
            Up::Log { level, text } => self.telemetry.log(plugin, channel, level, &one_line(&text)),
            Up::Count { name, by } if self.names.admit(&name) => {
                self.telemetry.count(plugin, channel, &name, by);
            }
            Up::Record { name, value } if self.names.admit(&name) => {
                self.telemetry.record(plugin, channel, &name, value);
            }
            Up::Misused { what } => self.telemetry.misused(plugin, what),
            _ => {}
        }
    }
}

/// The fault of everybody whose delivery is kept back: it is tried again, when the child may be there.
fn down(why: &str, wait: Duration) -> Fault {
    Fault::new(Kind::VendorDown, format!("the plugin's process is not there: {why}"))
        .retry_after(Some(wait.max(SHORTEST)))
        .of_lane()
}
