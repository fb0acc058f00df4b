//! Channel of a plugin that runs in this process. Lends each delivery to the plugin and waits until the plugin calls
//! `complete`. At the deadline the channel itself reports a timeout.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pushgate::{ChannelInfo, Delivery, Fault, Kind, Message, Outcome, Probe, PushChannel, Rendered, Report};
use pushgate_plugin_abi as abi;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::bounds;
use crate::context::ChannelContext;
use crate::convert;
use crate::error::LoadError;
use crate::inline_work::InlineWork;
use crate::library::Library;
use crate::loader::OpenOptions;
use crate::pending::{CallSpec, Completion, PendingCall};
use crate::telemetry::{Level, Misuse, PAUSE_CUT};

/// Maximum length of the text that a plugin writes into a sink, in bytes.
const MAX_SINK: usize = 1024 * 1024;
/// Maximum length of a plugin's message about a refused configuration, in characters.
const MAX_REFUSAL: usize = 2000;
/// Time beyond the timeout in which the plugin may still answer. Its requests end at the timeout, and the plugin knows
/// better which address failed.
const GRACE: Duration = Duration::from_millis(500);
/// Maximum duration of a call into the plugin. A longer one blocks the other tasks of the thread.
const MAX_CALL_TIME: Duration = Duration::from_millis(100);

/// Open channel of a plugin in this process. Dropping it cancels its requests and then closes the plugin's instance.
pub struct InProcessChannel {
    info: ChannelInfo,
    library: &'static Library,
    instance: Instance,
    channel: u64,
    context: Arc<ChannelContext>,
    close_on_drop: CloseOnDrop,
}

/// Closes the channel on drop.
struct CloseOnDrop(Option<Closing>);

/// Parts of a channel that closing needs.
struct Closing {
    library: &'static Library,
    channel: u64,
    context: Arc<ChannelContext>,
    instance: Instance,
}

/// Pointer to the plugin's own object. The host never reads it.
#[derive(Clone, Copy)]
struct Instance(*mut abi::Instance);

// SAFETY: the contract allows calls of every function of a plugin from any thread.
unsafe impl Send for Instance {}
// SAFETY: the contract allows concurrent calls.
unsafe impl Sync for Instance {}

impl InProcessChannel {
    pub(crate) fn open(library: &'static Library, options: OpenOptions) -> Result<Self, LoadError> {
        let OpenOptions { name, config, transport } = options;
        let info = library.description.info(library.kind, name);
        let context =
            Arc::new(ChannelContext::new(info.name.to_string(), transport, info.timeout, Handle::current()));
        let shared = &library.table.shared;
        let channel = shared.add_channel(Arc::clone(&context));
        match open_instance(library, channel, &info, &config) {
            Ok(instance) => {
                context.runtime().spawn(expire_calls(library, channel, Arc::clone(&context)));
                let closing = Closing { library, channel, context: Arc::clone(&context), instance };
                let close_on_drop = CloseOnDrop(Some(closing));
                Ok(Self { info, library, instance, channel, context, close_on_drop })
            }
            Err(refusal) => {
                // Cancels what the plugin started during the call, without waiting for it.
                shared.remove_channel(channel);
                context.runtime().clone().spawn(async move { context.close().await });
                Err(LoadError::Refused(refusal))
            }
        }
    }

    /// Closes the channel. Returns when it is closed.
    pub(crate) async fn close(mut self) {
        if let Some(closing) = self.close_on_drop.0.take() {
            closing.close().await;
        }
    }

    /// Calls a function that must return promptly. Records a misuse when it takes longer than [`MAX_CALL_TIME`].
    fn run_promptly(&self, call: impl FnOnce()) {
        let started_at = std::time::Instant::now();
        call();
        if started_at.elapsed() > MAX_CALL_TIME {
            self.library.table.shared.record_misuse(Misuse::Blocked);
        }
    }

    /// Registers a call that ends at the channel's timeout plus [`GRACE`], and expects so many outcomes.
    fn register_call(&self, outcomes: usize) -> PendingCall<'_> {
        let deadline = Instant::now() + self.info.timeout + GRACE;
        let spec = CallSpec { channel: self.channel, outcomes, deadline };
        let call = self.library.table.shared.pending.register(spec);
        self.context.new_call.notify();
        call
    }

    /// Runs a function of the plugin that completes the call later. Returns the work that the plugin started meanwhile.
    fn start_call(&self, call: &PendingCall<'_>, run: impl FnOnce()) -> InlineWork<'_> {
        call.poll_inline(|| InlineWork::collect(&self.context, || self.run_promptly(run)))
    }

    /// Waits until the plugin completes the call.
    ///
    /// # Errors
    /// `timeout` if the deadline passes, `internal` if the completion breaks the contract.
    async fn completion(
        &self,
        mut call: PendingCall<'_>,
        mut work: InlineWork<'_>,
    ) -> Result<Completion, Fault> {
        let result = poll_fn(|context| {
            call.poll_inline(|| work.poll(context));
            call.poll(context)
        });
        match result.await {
            Ok(completion) => {
                if completion.is_pause_cut {
                    let shared = &self.library.table.shared;
                    shared.telemetry.log(shared.plugin(), &self.context.name, Level::Warn, PAUSE_CUT);
                }
                Ok(completion)
            }
            Err(Misuse::Never) => {
                self.library.table.shared.record_misuse(Misuse::Never);
                let detail = format!("the plugin gave no outcomes within {:?}", self.info.timeout);
                Err(Fault::new(Kind::Timeout, detail))
            }
            Err(misuse) => Err(Fault::new(Kind::Bug, misuse_detail(misuse))),
        }
    }
}

/// Ends the calls of one channel at their deadlines, until the channel closes. One timer suffices: all calls of a channel
/// have the same timeout, so they expire in the order in which they were registered.
async fn expire_calls(library: &'static Library, channel: u64, context: Arc<ChannelContext>) {
    let expire = async {
        loop {
            context.new_call.rearm();
            while let Some(next) = library.table.shared.pending.expire(channel, Instant::now()) {
                tokio::time::sleep_until(next).await;
            }
            context.new_call.wait().await;
        }
    };
    tokio::select! {
        () = context.closing().cancelled() => {}
        () = expire => {}
    }
}

/// Returns the fault detail of a completion that breaks the contract.
fn misuse_detail(misuse: Misuse) -> &'static str {
    match misuse {
        Misuse::WrongCount => "the plugin gave another number of outcomes than there are addresses",
        _ => "the plugin gave no outcomes that can be read",
    }
}

/// Opens the plugin's instance.
///
/// # Errors
/// The plugin's own message when it refuses the configuration.
fn open_instance(
    library: &'static Library,
    channel: u64,
    info: &ChannelInfo,
    config: &Value,
) -> Result<Instance, String> {
    let config = config.to_string();
    let open = abi::Open {
        struct_size: size_of::<abi::Open>(),
        channel,
        name: abi::Str::new(info.name.as_str()),
        config: abi::Str::new(&config),
    };
    let mut instance = std::ptr::null_mut();
    let mut refusal = SinkBuffer::default();
    // SAFETY: everything is borrowed for the call; the host's table is never freed.
    let code =
        unsafe { (library.functions.open)(library.table.host(), &open, &mut instance, &refusal.sink()) };
    if code == abi::OK && !instance.is_null() {
        return Ok(Instance(instance));
    }
    let refusal = refusal.text(MAX_REFUSAL);
    Err(if refusal.trim().is_empty() {
        "the plugin refuses the configuration and does not say why".to_owned()
    } else {
        refusal
    })
}

#[async_trait]
impl PushChannel for InProcessChannel {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn render(&self, message: &Message) -> Rendered {
        if bounds::refusal(message).is_some() {
            return Rendered { body: Value::Null, counted: bounds::estimated_size(message) };
        }
        let mut body = SinkBuffer::default();
        let mut counted = 0;
        let sink = body.sink();
        convert::with_message(message, |message| {
            self.run_promptly(|| {
                // SAFETY: the instance is open until this channel is dropped; the rest is borrowed for the call.
                unsafe { (self.library.functions.render)(self.instance.0, message, &mut counted, &sink) };
            });
        });
        let body = serde_json::from_slice(&body.bytes).unwrap_or_else(|_| {
            self.library.table.shared.record_misuse(Misuse::BadBody);
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
        let call = self.register_call(expected);
        let deadline = shared.clock.now() + self.info.timeout;
        let work = convert::with_delivery(delivery, deadline, |delivery| {
            self.start_call(&call, || {
                // SAFETY: as in `render`.
                unsafe { (self.library.functions.send)(self.instance.0, delivery, call.tag()) };
            })
        });
        match self.completion(call, work).await {
            Ok(completion) => Report::new(expected, completion.outcomes),
            Err(fault) => Report::all_failed(expected, &fault),
        }
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let call = self.register_call(1);
        let work = self.start_call(&call, || {
            // SAFETY: as in `render`.
            unsafe { (self.library.functions.probe)(self.instance.0, call.tag()) };
        });
        let Completion { mut outcomes, expires_at, .. } = self.completion(call, work).await?;
        match outcomes.pop() {
            Some(Outcome::Failed(fault)) => Err(fault),
            Some(Outcome::Accepted { vendor_id } | Outcome::Replaced { vendor_id, .. }) => {
                Ok(Probe { identity: vendor_id.unwrap_or_else(|| self.info.kind.to_owned()), expires_at })
            }
            None => Err(Fault::new(Kind::Bug, misuse_detail(Misuse::NoOutcomes))),
        }
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(closing) = self.0.take() {
            closing.context.runtime().clone().spawn(closing.close());
        }
    }
}

impl Closing {
    /// Cancels the plugin's own requests and timers, then closes the instance. No send is running: it would borrow the
    /// channel.
    async fn close(self) {
        self.context.close().await;
        self.library.table.shared.remove_channel(self.channel);
        // SAFETY: no other reference to the instance exists, and it is closed once.
        unsafe { (self.library.functions.close)(self.instance.0) };
    }
}

/// Text that a plugin has written into a sink.
#[derive(Default)]
struct SinkBuffer {
    bytes: Vec<u8>,
}

impl SinkBuffer {
    fn sink(&mut self) -> abi::Sink {
        abi::Sink { state: std::ptr::from_mut(self).cast(), write: Some(collect) }
    }

    /// Returns at most `limit` characters, without control characters.
    fn text(&self, limit: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.chars().filter(|c| !c.is_control()).take(limit).collect()
    }
}

unsafe extern "C" fn collect(state: *mut std::ffi::c_void, piece: abi::Str) {
    // SAFETY: the state is the `SinkBuffer` of `sink`; the plugin writes only during the call and from one thread.
    let Some(buffer) = (unsafe { state.cast::<SinkBuffer>().as_mut() }) else { return };
    let limit = MAX_SINK - buffer.bytes.len().min(MAX_SINK);
    // SAFETY: the piece is valid for the call.
    if let Some(piece) = unsafe { piece.bytes(limit) } {
        buffer.bytes.extend_from_slice(piece);
    }
}
