//! A channel whose plugin runs in a child: a delivery is kept here until its outcomes come, or the child's death is its fault.

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

use super::frame::{self, Down, Up};
use super::link::Link;
use super::render::estimated;
use super::start::{Started, Starter};
use super::supervise::supervise;
use crate::bounds;
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
    /// The child could not read the delivery.
    Unreadable,
    Died(Fault),
}

impl State {
    fn link(&self) -> Result<Arc<Link>, Fault> {
        match &self.child {
            Child::Up(link) => Ok(Arc::clone(link)),
            Child::Down(until, why) => Err(down(why, until.saturating_duration_since(Instant::now()))),
        }
    }
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

    /// Asks the child, and waits as long as a send may take and a moment longer.
    async fn ask(&self, question: impl FnOnce(u64) -> io::Result<Vec<u8>>) -> Result<Reply, Fault> {
        let patience = self.info.timeout + GRACE;
        match tokio::time::timeout(patience, self.desk.ask(question)).await {
            Ok(reply) => reply,
            Err(_) => Err(Fault::new(
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

    // While there is no child, an estimate is counted: planning goes on, and the plugin refuses what is too large.
    fn render(&self, message: &Message) -> Rendered {
        match self.desk.link() {
            Ok(link) if bounds::refusal(message).is_none() => link.render(message, &self.desk.name),
            _ => estimated(message),
        }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        if let Some(fault) = bounds::refusal(&delivery.message) {
            return Report::all_failed(expected, &fault);
        }
        let question = |tag| frame::encoded(&Down::Send { tag }, &serde_json::to_vec(delivery)?);
        let fault = match self.ask(question).await {
            Ok(Reply::Outcomes(outcomes)) => return Report::new(expected, outcomes),
            Ok(Reply::Died(fault)) | Err(fault) => fault,
            Ok(Reply::Unreadable) => Fault::new(
                Kind::BadMessage,
                "the plugin's process cannot read the message; its overrides may be at fault",
            ),
            Ok(Reply::Probe(_)) => Fault::new(Kind::Bug, "the plugin's process answered another question"),
        };
        Report::all_failed(expected, &fault)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        match self.ask(|tag| frame::encoded(&Down::Probe { tag }, &[])).await? {
            Reply::Probe(probe) => probe,
            Reply::Died(fault) => Err(fault),
            Reply::Outcomes(_) | Reply::Unreadable => {
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

    /// The link to the child, if there is one.
    fn link(&self) -> Result<Arc<Link>, Fault> {
        self.state.lock().link()
    }

    /// Asks the child as soon as there is room for the question, and waits for the reply.
    async fn ask(&self, question: impl FnOnce(u64) -> io::Result<Vec<u8>>) -> Result<Reply, Fault> {
        let tag = self.next.fetch_add(1, Ordering::Relaxed);
        let link = self.link()?;
        let frame = question(tag)
            .map_err(|_| Fault::new(Kind::TooLarge, "the delivery is too large for a plugin's process"))?;
        let room = link.room_for(frame.len()).await;
        let (_asked, receiver) = self.enter(tag, &link)?;
        link.pass(frame, room);
        // Nobody drops the sender without a word: `is_down` tells everybody who is entered.
        receiver.await.map_err(|_| Fault::new(Kind::Bug, "the plugin's process was forgotten"))
    }

    /// Enters a question, so that whoever asks is told when the child of that link dies.
    fn enter(&self, tag: u64, link: &Arc<Link>) -> Result<(Asked<'_>, oneshot::Receiver<Reply>), Fault> {
        let mut state = self.state.lock();
        if !Arc::ptr_eq(&state.link()?, link) {
            return Err(down("it was started again", Duration::ZERO));
        }
        let (sender, receiver) = oneshot::channel();
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
    Fault::new(Kind::ChannelDown, format!("the plugin's process does not run: {why}"))
        .retry_after(Some(wait.max(SHORTEST)))
        .of_lane()
}
