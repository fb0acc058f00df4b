//! A channel that is a plugin in this process: lends the delivery, waits for `complete`, and answers itself at the deadline.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgate::{ChannelInfo, Delivery, Fault, Kind, Message, Outcome, Probe, PushChannel, Rendered, Report};
use pushgate_plugin_abi as abi;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::along::Along;
use crate::bounds;
use crate::context::Context;
use crate::convert;
use crate::error::LoadError;
use crate::library::Library;
use crate::loader::Opening;
use crate::pending::{Given, Question, Wanted};
use crate::telemetry::{CUT, Level, Misuse};

/// The longest text a plugin writes into a sink, in bytes.
const MOST_SINK: usize = 1024 * 1024;
/// What an author says about a configuration fits in this.
const MOST_REFUSAL: usize = 2000;
/// What a plugin gets beyond its timeout: its own requests end at that, and it knows the outcomes apart.
const GRACE: Duration = Duration::from_millis(500);
/// Whoever takes longer to return from `send` holds up others on the thread.
const AT_ONCE: Duration = Duration::from_millis(100);

/// A plugin's channel. Dropping it closes it, once its requests have been cancelled.
pub struct Plugged {
    info: ChannelInfo,
    library: &'static Library,
    instance: Instance,
    channel: u64,
    context: Arc<Context>,
    end: End,
}

/// Closes the channel when it is dropped.
struct End(Option<Closing>);

/// What is to be closed.
struct Closing {
    library: &'static Library,
    channel: u64,
    context: Arc<Context>,
    instance: Instance,
}

/// The plugin's own object.
#[derive(Clone, Copy)]
struct Instance(*mut abi::Instance);

// SAFETY: every function of a plugin may be called from any thread; that is its part of the contract.
unsafe impl Send for Instance {}
// SAFETY: as above, and several at the same time.
unsafe impl Sync for Instance {}

impl Plugged {
    pub(crate) fn open(library: &'static Library, opening: Opening) -> Result<Self, LoadError> {
        let Opening { name, config, transport } = opening;
        let info = library.description.info(library.kind, name);
        let context =
            Arc::new(Context::new(info.name.to_string(), transport, info.timeout, Handle::current()));
        let shared = &library.table.shared;
        let channel = shared.enter(Arc::clone(&context));
        match instance(library, channel, &info, &config) {
            Ok(instance) => {
                context.runtime().spawn(keep_time(library, channel, Arc::clone(&context)));
                let end = End(Some(Closing { library, channel, context: Arc::clone(&context), instance }));
                Ok(Self { info, library, instance, channel, context, end })
            }
            Err(refusal) => {
                // Whatever it began meanwhile ends; nothing of it is waited for.
                shared.leave(channel);
                context.runtime().clone().spawn(async move { context.close().await });
                Err(LoadError::Refused(refusal))
            }
        }
    }

    /// Closes it, and comes back when it is closed.
    pub(crate) async fn close(mut self) {
        if let Some(closing) = self.end.0.take() {
            closing.close().await;
        }
    }

    /// Calls a function that must return at once, and tells when it did not.
    fn promptly(&self, call: impl FnOnce()) {
        let began = std::time::Instant::now();
        call();
        if began.elapsed() > AT_ONCE {
            self.library.table.shared.misused(Misuse::Blocked);
        }
    }

    /// A question to the plugin, until the deadline.
    fn ask(&self, outcomes: usize) -> Question<'_> {
        let until = Instant::now() + self.info.timeout + GRACE;
        let wanted = Wanted { channel: self.channel, outcomes, until };
        let question = self.library.table.shared.pending.ask(wanted);
        self.context.asked.tell();
        question
    }

    /// Calls a function whose answer comes later, and keeps the requests it begins.
    fn with_its_requests(&self, question: &Question<'_>, call: impl FnOnce()) -> Along<'_> {
        question.here(|| Along::with(&self.context, || self.promptly(call)))
    }

    /// Waits for an answer.
    async fn answer(&self, mut question: Question<'_>, mut along: Along<'_>) -> Result<Given, Fault> {
        let answer = poll_fn(|polling| {
            question.here(|| along.poll(polling));
            question.poll(polling)
        });
        match answer.await {
            Ok(given) => {
                if given.is_cut {
                    let shared = &self.library.table.shared;
                    shared.telemetry.log(shared.plugin(), &self.context.name, Level::Warn, CUT);
                }
                Ok(given)
            }
            Err(Misuse::Never) => {
                self.library.table.shared.misused(Misuse::Never);
                let detail = format!("the plugin gave no outcomes within {:?}", self.info.timeout);
                Err(Fault::new(Kind::Timeout, detail))
            }
            Err(misuse) => Err(Fault::new(Kind::Bug, told(misuse))),
        }
    }
}

/// Answers for the plugin at each deadline, until the channel closes. One timer for all: questions of one channel have the
/// same time, so that none comes due before those that were asked earlier.
async fn keep_time(library: &'static Library, channel: u64, context: Arc<Context>) {
    let kept = async {
        loop {
            context.asked.listen();
            while let Some(next) = library.table.shared.pending.expire(channel, Instant::now()) {
                tokio::time::sleep_until(next).await;
            }
            context.asked.told().await;
        }
    };
    tokio::select! {
        () = context.closing().cancelled() => {}
        () = kept => {}
    }
}

/// What whoever waits is told about an answer that is none.
fn told(misuse: Misuse) -> &'static str {
    match misuse {
        Misuse::WrongCount => "the plugin gave another number of outcomes than there are addresses",
        _ => "the plugin gave no outcomes that can be read",
    }
}

/// Opens the plugin's side; gives its words when it refuses.
fn instance(
    library: &'static Library,
    channel: u64,
    info: &ChannelInfo,
    config: &Value,
) -> Result<Instance, String> {
    let config = config.to_string();
    let open = abi::Open {
        struct_size: size_of::<abi::Open>(),
        channel,
        name: abi::Str::of(info.name.as_str()),
        config: abi::Str::of(&config),
    };
    let mut instance = std::ptr::null_mut();
    let mut words = Collected::default();
    // SAFETY: everything is borrowed for the call; the host's table lives for ever.
    let refused = unsafe { (library.calls.open)(library.table.host(), &open, &mut instance, &words.sink()) };
    if refused == abi::OK && !instance.is_null() {
        return Ok(Instance(instance));
    }
    let words = words.text(MOST_REFUSAL);
    Err(if words.trim().is_empty() {
        "the plugin refuses the configuration and does not say why".to_owned()
    } else {
        words
    })
}

#[async_trait]
impl PushChannel for Plugged {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn render(&self, message: &Message) -> Rendered {
        if bounds::refusal(message).is_some() {
            return Rendered { body: Value::Null, counted: bounds::estimated_size(message) };
        }
        let mut body = Collected::default();
        let mut counted = 0;
        let sink = body.sink();
        convert::with_message(message, |message| {
            self.promptly(|| {
                // SAFETY: the instance is open until this channel is dropped; the rest is borrowed for the call.
                unsafe { (self.library.calls.render)(self.instance.0, message, &mut counted, &sink) };
            });
        });
        let body = serde_json::from_slice(&body.bytes).unwrap_or_else(|_| {
            self.library.table.shared.misused(Misuse::BadBody);
            Value::Null
        });
        Rendered { body, counted: usize::try_from(counted).unwrap_or(usize::MAX) }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        if let Some(fault) = bounds::refusal(&delivery.message) {
            return Report::all_failed(expected, &fault);
        }
        let shared = &self.library.table.shared;
        let question = self.ask(expected);
        let deadline = shared.clock.now() + self.info.timeout;
        let along = convert::with_delivery(delivery, deadline, |delivery| {
            self.with_its_requests(&question, || {
                // SAFETY: as in `render`.
                unsafe { (self.library.calls.send)(self.instance.0, delivery, question.tag()) };
            })
        });
        match self.answer(question, along).await {
            Ok(given) => Report::new(expected, given.outcomes),
            Err(fault) => Report::all_failed(expected, &fault),
        }
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let question = self.ask(1);
        let along = self.with_its_requests(&question, || {
            // SAFETY: as in `render`.
            unsafe { (self.library.calls.probe)(self.instance.0, question.tag()) };
        });
        let Given { mut outcomes, expires_at, .. } = self.answer(question, along).await?;
        match outcomes.pop() {
            Some(Outcome::Failed(fault)) => Err(fault),
            Some(Outcome::Accepted { vendor_id } | Outcome::Replaced { vendor_id, .. }) => {
                Ok(Probe { identity: vendor_id.unwrap_or_else(|| self.info.kind.to_owned()), expires_at })
            }
            None => Err(Fault::new(Kind::Bug, told(Misuse::NoOutcomes))),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(closing) = self.0.take() {
            closing.context.runtime().clone().spawn(closing.close());
        }
    }
}

impl Closing {
    /// Nothing is being sent: that would borrow the channel. What the plugin itself began is ended first.
    async fn close(self) {
        self.context.close().await;
        self.library.table.shared.leave(self.channel);
        // SAFETY: nobody else can reach the instance any more, and it is closed once.
        unsafe { (self.library.calls.close)(self.instance.0) };
    }
}

/// What a plugin writes into a sink.
#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
}

impl Collected {
    fn sink(&mut self) -> abi::Sink {
        abi::Sink { state: std::ptr::from_mut(self).cast(), write: Some(collect) }
    }

    fn text(&self, most: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.chars().filter(|c| !c.is_control()).take(most).collect()
    }
}

unsafe extern "C" fn collect(state: *mut std::ffi::c_void, piece: abi::Str) {
    // SAFETY: the state is the one above, and the plugin writes during the call only, from one thread.
    let Some(collected) = (unsafe { state.cast::<Collected>().as_mut() }) else { return };
    let room = MOST_SINK - collected.bytes.len().min(MOST_SINK);
    // SAFETY: the piece is good for the call.
    if let Some(piece) = unsafe { piece.bytes(room) } {
        collected.bytes.extend_from_slice(piece);
    }
}
