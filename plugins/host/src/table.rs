//! Host table of one plugin and the functions in it. A plugin may call them from any thread and with any arguments, so they
//! check every argument and let no panic escape. The table is never freed, because a plugin is never unloaded.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use pushgate::Clock;
use pushgate_plugin_abi as abi;

use crate::context::ChannelContext;
use crate::convert;
use crate::pending::PendingCalls;
use crate::services;
use crate::telemetry::{Level, MAX_LOG_LINE, MAX_METRIC_NAME, Misuse, Telemetry, sanitized_line};

/// Minor version of the interface that the host announces, and the size of its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InterfaceVersion {
    abi_minor: u32,
    struct_size: usize,
}

/// Number of functions that [`InterfaceVersion::FUTURE`] announces beyond the existing ones.
const FUTURE_FUNCTIONS: usize = 4;

impl InterfaceVersion {
    pub(crate) const CURRENT: Self = Self { abi_minor: abi::ABI_MINOR, struct_size: size_of::<abi::Host>() };
    /// Version that does not exist yet, for tests.
    pub(crate) const FUTURE: Self = Self {
        abi_minor: abi::ABI_MINOR + 1,
        struct_size: size_of::<abi::Host>() + FUTURE_FUNCTIONS * size_of::<usize>(),
    };
}

/// Table that the plugin receives, and the host's state behind it. The C part comes first, so a pointer to it also points
/// to the whole.
#[repr(C)]
pub(crate) struct HostTable {
    host: abi::Host,
    /// Null pointers in place of the functions that [`InterfaceVersion::FUTURE`] announces.
    future: [usize; FUTURE_FUNCTIONS],
    pub(crate) shared: PluginState,
}

/// State of the host for one plugin.
pub(crate) struct PluginState {
    kind: OnceLock<String>,
    file: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) pending: PendingCalls,
    channels: RwLock<HashMap<u64, Arc<ChannelContext>>>,
    next_channel: AtomicU64,
}

impl HostTable {
    /// Allocates a table that is never freed.
    pub(crate) fn leak(
        file: String,
        clock: Arc<dyn Clock>,
        telemetry: Arc<dyn Telemetry>,
        version: InterfaceVersion,
    ) -> &'static Self {
        let host = abi::Host {
            abi_major: abi::ABI_MAJOR,
            abi_minor: version.abi_minor,
            struct_size: version.struct_size,
            complete: Some(complete),
            log: Some(log),
            counter: Some(counter),
            histogram: Some(histogram),
            http_request: Some(services::http_request),
            timer: Some(services::timer),
            now_ms: Some(now_ms),
        };
        let shared = PluginState {
            kind: OnceLock::new(),
            file,
            clock,
            telemetry,
            pending: PendingCalls::default(),
            channels: RwLock::default(),
            next_channel: AtomicU64::new(1),
        };
        Box::leak(Box::new(Self { host, future: [0; FUTURE_FUNCTIONS], shared }))
    }

    /// Returns the pointer that the plugin receives.
    pub(crate) const fn host(&'static self) -> *const abi::Host {
        // Derived from the whole table: the functions read the state behind the C part through this pointer.
        std::ptr::from_ref(self).cast()
    }
}

impl PluginState {
    /// Returns the plugin's name in logs and metrics: its kind, or its file name until the kind is known.
    pub(crate) fn plugin(&self) -> &str {
        self.kind.get().unwrap_or(&self.file)
    }

    pub(crate) fn set_kind(&self, kind: &str) {
        // The kind never changes, so a second call may fail.
        let _ = self.kind.set(kind.to_owned());
    }

    pub(crate) fn record_misuse(&self, misuse: Misuse) {
        self.telemetry.record_misuse(self.plugin(), misuse);
    }

    /// Adds a channel and returns its number. Numbers are not reused.
    pub(crate) fn add_channel(&self, context: Arc<ChannelContext>) -> u64 {
        let channel = self.next_channel.fetch_add(1, Ordering::Relaxed);
        self.channels.write().insert(channel, context);
        channel
    }

    pub(crate) fn remove_channel(&self, channel: u64) {
        self.channels.write().remove(&channel);
    }

    /// Returns the channel with this number. Records a misuse and returns `None` if no such channel is open.
    pub(crate) fn find_channel(&self, channel: u64) -> Option<Arc<ChannelContext>> {
        let context = self.channels.read().get(&channel).cloned();
        if context.is_none() {
            self.record_misuse(Misuse::UnknownChannel);
        }
        context
    }
}

/// Runs a function of the table and catches its panics. Returns `otherwise` after a panic or if `host` is null.
///
/// # Safety
/// `host` is null or a pointer that [`HostTable::host`] returned.
pub(crate) unsafe fn run_guarded<T>(
    host: *const abi::Host,
    otherwise: T,
    run: impl FnOnce(&'static PluginState) -> T,
) -> T {
    if host.is_null() {
        let labels = [("plugin", "unknown"), ("what", Misuse::NoHost.as_str())];
        metrics::counter!("pushgate_plugin_misuse_total", &labels).increment(1);
        return otherwise;
    }
    // SAFETY: a table begins with its C part and is never freed.
    let table: &'static HostTable = unsafe { &*host.cast::<HostTable>() };
    catch_unwind(AssertUnwindSafe(|| run(&table.shared))).unwrap_or_else(|_| {
        tracing::error!(
            plugin = table.shared.plugin(),
            "a function of the plugin host panicked; please report it"
        );
        otherwise
    })
}

unsafe extern "C" fn complete(
    host: *const abi::Host,
    tag: abi::Tag,
    outcomes: *const abi::Outcome,
    outcome_count: usize,
) {
    let run = |shared: &'static PluginState| {
        // SAFETY: the contract demands that `outcomes` points to `outcome_count` structs.
        let read = || unsafe { convert::read_outcomes(outcomes, outcome_count) };
        if let Err(misuse) = shared.pending.complete(tag, outcome_count, read) {
            shared.record_misuse(misuse);
        }
    };
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, (), run) }
}

unsafe extern "C" fn log(host: *const abi::Host, channel: abi::Channel, level: u32, text: abi::Str) {
    let run = |shared: &'static PluginState| {
        let Some(context) = shared.find_channel(channel) else { return };
        let level = match level {
            abi::LOG_ERROR => Level::Error,
            abi::LOG_WARN => Level::Warn,
            abi::LOG_INFO => Level::Info,
            _ => Level::Debug,
        };
        // SAFETY: the contract demands that the text is valid for the call.
        let text = unsafe { text.text(MAX_LOG_LINE) }.unwrap_or_default();
        shared.telemetry.log(shared.plugin(), &context.name, level, &sanitized_line(&text));
    };
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, (), run) }
}

unsafe extern "C" fn counter(host: *const abi::Host, channel: abi::Channel, name: abi::Str, by: u64) {
    let run = |shared: &'static PluginState| {
        // SAFETY: the contract demands that the text is valid for the call.
        if let Some((context, name)) = unsafe { metric(shared, channel, name) } {
            shared.telemetry.count(shared.plugin(), &context.name, &name, by);
        }
    };
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, (), run) }
}

unsafe extern "C" fn histogram(host: *const abi::Host, channel: abi::Channel, name: abi::Str, value: f64) {
    let run = |shared: &'static PluginState| {
        // SAFETY: the contract demands that the text is valid for the call.
        if let Some((context, name)) = unsafe { metric(shared, channel, name) } {
            shared.telemetry.record(shared.plugin(), &context.name, &name, value);
        }
    };
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, (), run) }
}

/// Returns the channel and the metric's name. Records a misuse and returns `None` if either is invalid.
///
/// # Safety
/// `name` is valid for the call.
unsafe fn metric(
    shared: &PluginState,
    channel: u64,
    name: abi::Str,
) -> Option<(Arc<ChannelContext>, String)> {
    let context = shared.find_channel(channel)?;
    // SAFETY: the caller guarantees it.
    let name = unsafe { name.text(MAX_METRIC_NAME + 1) }.unwrap_or_default();
    if !context.metric_names.admit(&name) {
        shared.record_misuse(Misuse::BadArgument);
        return None;
    }
    Some((context, name))
}

unsafe extern "C" fn now_ms(host: *const abi::Host) -> i64 {
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, 0, |shared| shared.clock.now().as_millis()) }
}
