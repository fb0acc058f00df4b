//! The host's table of one plugin, and the functions in it. Each may be called by strangers, from any thread, with anything:
//! nothing is believed, no panic leaves. The table is never freed, because a plugin is never unloaded.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use pushgate::Clock;
use pushgate_plugin_abi as abi;

use crate::context::Context;
use crate::convert;
use crate::pending::Pending;
use crate::services;
use crate::telemetry::{Level, MOST_LOG, MOST_NAME, Misuse, Telemetry, one_line};

/// How much of the interface the host claims to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speech {
    abi_minor: u32,
    struct_size: usize,
}

/// How many functions [`Speech::LATER`] claims beyond ours.
const LATER: usize = 4;

impl Speech {
    pub(crate) const NOW: Self = Self { abi_minor: abi::ABI_MINOR, struct_size: size_of::<abi::Host>() };
    /// A version that does not exist yet, for tests.
    pub(crate) const LATER: Self = Self {
        abi_minor: abi::ABI_MINOR + 1,
        struct_size: size_of::<abi::Host>() + LATER * size_of::<usize>(),
    };
}

/// What a plugin holds on to. The C part comes first, so that a pointer to it is a pointer to all of it.
#[repr(C)]
pub(crate) struct Table {
    host: abi::Host,
    /// Functions that are not there: what [`Speech::LATER`] means.
    later: [usize; LATER],
    pub(crate) shared: Shared,
}

/// The host's side of one plugin.
pub(crate) struct Shared {
    kind: OnceLock<String>,
    file: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) telemetry: Arc<dyn Telemetry>,
    pub(crate) pending: Pending,
    channels: RwLock<HashMap<u64, Arc<Context>>>,
    next: AtomicU64,
}

impl Table {
    /// A table for the process's life.
    pub(crate) fn leaked(
        file: String,
        clock: Arc<dyn Clock>,
        telemetry: Arc<dyn Telemetry>,
        speech: Speech,
    ) -> &'static Self {
        let host = abi::Host {
            abi_major: abi::ABI_MAJOR,
            abi_minor: speech.abi_minor,
            struct_size: speech.struct_size,
            complete: Some(complete),
            log: Some(log),
            counter: Some(counter),
            histogram: Some(histogram),
            http_request: Some(services::http_request),
            timer: Some(services::timer),
            now_ms: Some(now_ms),
        };
        let shared = Shared {
            kind: OnceLock::new(),
            file,
            clock,
            telemetry,
            pending: Pending::default(),
            channels: RwLock::default(),
            next: AtomicU64::new(1),
        };
        Box::leak(Box::new(Self { host, later: [0; LATER], shared }))
    }

    /// What the plugin is given.
    pub(crate) const fn host(&'static self) -> *const abi::Host {
        // From the whole, so that the functions may find the rest behind it.
        std::ptr::from_ref(self).cast()
    }
}

impl Shared {
    /// Under which name it is told of: its kind, or its file while that is not known.
    pub(crate) fn plugin(&self) -> &str {
        self.kind.get().unwrap_or(&self.file)
    }

    pub(crate) fn is_called(&self, kind: &str) {
        // Once is enough: a plugin's kind does not change.
        let _ = self.kind.set(kind.to_owned());
    }

    pub(crate) fn misused(&self, what: Misuse) {
        self.telemetry.misused(self.plugin(), what);
    }

    /// Enters a channel, and gives the number it is known by. Numbers are not used again.
    pub(crate) fn enter(&self, context: Arc<Context>) -> u64 {
        let channel = self.next.fetch_add(1, Ordering::Relaxed);
        self.channels.write().insert(channel, context);
        channel
    }

    pub(crate) fn leave(&self, channel: u64) {
        self.channels.write().remove(&channel);
    }

    /// The channel of that number; one that nobody knows is told of.
    pub(crate) fn channel(&self, channel: u64) -> Option<Arc<Context>> {
        let found = self.channels.read().get(&channel).cloned();
        if found.is_none() {
            self.misused(Misuse::UnknownChannel);
        }
        found
    }
}

/// Runs a function of the table: without the table nothing is done, and no panic leaves.
///
/// # Safety
/// `host` is null or the pointer that [`Table::host`] gave.
pub(crate) unsafe fn guarded<T>(
    host: *const abi::Host,
    otherwise: T,
    run: impl FnOnce(&'static Shared) -> T,
) -> T {
    if host.is_null() {
        let labels = [("plugin", "unknown"), ("what", Misuse::NoHost.as_str())];
        metrics::counter!("pushgate_plugin_misuse_total", &labels).increment(1);
        return otherwise;
    }
    // SAFETY: a table begins with its C part, and is never freed.
    let table: &'static Table = unsafe { &*host.cast::<Table>() };
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
    let run = |shared: &'static Shared| {
        // SAFETY: behind `outcomes` lie `outcome_count` structs; that is the plugin's part of the contract.
        let read = || unsafe { convert::outcomes(outcomes, outcome_count) };
        if let Err(misuse) = shared.pending.answer(tag, outcome_count, read) {
            shared.misused(misuse);
        }
    };
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, (), run) }
}

unsafe extern "C" fn log(host: *const abi::Host, channel: abi::Channel, level: u32, text: abi::Str) {
    let run = |shared: &'static Shared| {
        let Some(context) = shared.channel(channel) else { return };
        let level = match level {
            abi::LOG_ERROR => Level::Error,
            abi::LOG_WARN => Level::Warn,
            abi::LOG_INFO => Level::Info,
            _ => Level::Debug,
        };
        // SAFETY: the text is good for the call; that is the plugin's part of the contract.
        let text = unsafe { text.text(MOST_LOG) }.unwrap_or_default();
        shared.telemetry.log(shared.plugin(), &context.name, level, &one_line(&text));
    };
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, (), run) }
}

unsafe extern "C" fn counter(host: *const abi::Host, channel: abi::Channel, name: abi::Str, by: u64) {
    let run = |shared: &'static Shared| {
        // SAFETY: the text is good for the call; that is the plugin's part of the contract.
        if let Some((context, name)) = unsafe { metric(shared, channel, name) } {
            shared.telemetry.count(shared.plugin(), &context.name, &name, by);
        }
    };
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, (), run) }
}

unsafe extern "C" fn histogram(host: *const abi::Host, channel: abi::Channel, name: abi::Str, value: f64) {
    let run = |shared: &'static Shared| {
        // SAFETY: the text is good for the call; that is the plugin's part of the contract.
        if let Some((context, name)) = unsafe { metric(shared, channel, name) } {
            shared.telemetry.record(shared.plugin(), &context.name, &name, value);
        }
    };
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, (), run) }
}

/// The channel, and a name of a metric that may be kept.
///
/// # Safety
/// `name` is good for the call.
unsafe fn metric(shared: &Shared, channel: u64, name: abi::Str) -> Option<(Arc<Context>, String)> {
    let context = shared.channel(channel)?;
    // SAFETY: the caller says so.
    let name = unsafe { name.text(MOST_NAME + 1) }.unwrap_or_default();
    if !context.names.admit(&name) {
        shared.misused(Misuse::BadArgument);
        return None;
    }
    Some((context, name))
}

unsafe extern "C" fn now_ms(host: *const abi::Host) -> i64 {
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, 0, |shared| shared.clock.now().as_millis()) }
}
