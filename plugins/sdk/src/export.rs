//! The plugin's table around a [`Channel`]: the functions the gateway calls, each behind a guard that no panic passes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::channel::{Capability, Channel, TokenKind};
use crate::host::{Host, Level, Table};
use crate::outcome::{Fault, Kind, Outcome, UNSET, crossing};
use crate::runtime::spawn;
use crate::sent::{Delivery, Message};

/// Runs what the gateway called; a panic ends here.
pub(crate) fn guarded<T>(otherwise: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(otherwise)
}

/// An opened channel: what the gateway knows as the instance.
struct Opened<C> {
    channel: C,
    host: Host,
}

/// The plugin's entry. See [`crate::export_channel!`].
///
/// # Safety
/// Called by the gateway: `host` lives as long as the process, `plugin` may be written to as far as it says.
pub unsafe fn entry<C: Channel>(host: *const abi::Host, plugin: *mut abi::Plugin) -> i32 {
    guarded(abi::REFUSED, || {
        // SAFETY: the gateway's own table, and its room for ours.
        let (theirs, room) = match unsafe { (host.as_ref(), plugin.as_mut()) } {
            (Some(host), Some(plugin)) => (host, plugin),
            _ => return abi::REFUSED,
        };
        // Both sizes: what we know must be there, whatever comes behind it.
        if theirs.struct_size < size_of::<abi::Host>() || room.struct_size < size_of::<abi::Plugin>() {
            return abi::REFUSED;
        }
        *room = table::<C>();
        abi::OK
    })
}

/// The capability as it crosses, which must live as long as the process.
struct Declared<C>(std::marker::PhantomData<C>);

impl<C: Channel> Declared<C> {
    const CAPABILITY: abi::Capability = declared(&C::INFO.capability);
}

fn table<C: Channel>() -> abi::Plugin {
    let info = C::INFO;
    abi::Plugin {
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        struct_size: size_of::<abi::Plugin>(),
        kind: Str::of(info.kind),
        version: Str::of(info.version),
        description: Str::of(info.description),
        config_schema: Str::of_option(info.config_schema),
        capability: &Declared::<C>::CAPABILITY,
        open: Some(open::<C>),
        close: Some(close::<C>),
        render: Some(render::<C>),
        probe: Some(probe::<C>),
        send: Some(send::<C>),
    }
}

const fn declared(capability: &Capability) -> abi::Capability {
    const fn bit(has: bool, bit: u32) -> u32 {
        if has { bit } else { 0 }
    }
    const fn millis(span: std::time::Duration) -> u64 {
        span.as_secs() * 1000 + span.subsec_millis() as u64
    }
    let mut tokens = 0;
    let mut i = 0;
    while i < capability.tokens.len() {
        tokens |= match capability.tokens[i] {
            TokenKind::Token => abi::TOKEN,
            TokenKind::Fid => abi::FID,
            TokenKind::Subscription => abi::SUBSCRIPTION,
        };
        i += 1;
    }
    abi::Capability {
        struct_size: size_of::<abi::Capability>(),
        max_bytes: capability.max_bytes,
        max_ttl_s: capability.max_ttl.as_secs(),
        timeout_ms: millis(capability.timeout),
        retry_floor_ms: millis(capability.retry_floor),
        throttle_pause_ms: millis(capability.throttle_pause),
        max_batch: capability.max_batch,
        tokens,
        features: bit(capability.collapse, abi::COLLAPSE)
            | bit(capability.priority, abi::PRIORITY)
            | bit(capability.badge, abi::BADGE)
            | bit(capability.silent, abi::SILENT)
            | bit(capability.image, abi::IMAGE)
            | bit(capability.receipts, abi::RECEIPTS),
        reserved: 0,
    }
}

unsafe extern "C" fn open<C: Channel>(
    host: *const abi::Host,
    args: *const abi::Open,
    instance: *mut *mut abi::Instance,
    error: *const abi::Sink,
) -> i32 {
    // SAFETY: all of it is lent by the gateway for the call.
    guarded(abi::REFUSED, || unsafe {
        let host = Host { table: Table(host), channel: (*args).channel };
        let config = (*args).config.text(usize::MAX).unwrap_or_default();
        let opened = match serde_json::from_str::<C::Config>(&config) {
            Ok(config) => C::open(config, host),
            Err(error) => Err(plain(&error)),
        };
        match opened {
            Ok(channel) => {
                *instance = Arc::into_raw(Arc::new(Opened { channel, host })).cast_mut().cast();
                abi::OK
            }
            Err(why) => {
                write(error, &why);
                abi::REFUSED
            }
        }
    })
}

/// serde's words without the place in a text that no operator has seen.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

/// # Safety
/// `sink` is null or as lent by the gateway.
unsafe fn write(sink: *const abi::Sink, text: &str) {
    // SAFETY: the caller says so.
    if let Some(sink) = unsafe { sink.as_ref() }
        && let Some(write) = sink.write
    {
        // SAFETY: the gateway's own function and state; the text is lent for the call.
        unsafe { write(sink.state, Str::of(text)) }
    }
}

/// The instance, for as long as a task needs it.
///
/// # Safety
/// `instance` is what `open` gave, and is not closed.
unsafe fn held<C>(instance: *mut abi::Instance) -> Arc<Opened<C>> {
    let instance = instance.cast_const().cast::<Opened<C>>();
    // SAFETY: the gateway holds one reference until `close`; this is one more.
    unsafe {
        Arc::increment_strong_count(instance);
        Arc::from_raw(instance)
    }
}

unsafe extern "C" fn close<C: Channel>(instance: *mut abi::Instance) {
    // SAFETY: the reference that `open` handed over, taken back once.
    guarded((), || drop(unsafe { Arc::from_raw(instance.cast_const().cast::<Opened<C>>()) }));
}

unsafe extern "C" fn render<C: Channel>(
    instance: *mut abi::Instance,
    message: *const abi::Message,
    counted: *mut u64,
    body: *const abi::Sink,
) {
    // SAFETY: all of it is lent by the gateway for the call.
    guarded((), || unsafe {
        let rendered = held::<C>(instance).channel.render(&Message::copied(&*message));
        *counted = rendered.counted;
        write(body, &rendered.body.to_string());
    });
}

unsafe extern "C" fn send<C: Channel>(
    instance: *mut abi::Instance,
    delivery: *const abi::Delivery,
    tag: abi::Tag,
) {
    // SAFETY: all of it is lent by the gateway for the call, and copied here.
    guarded((), || unsafe {
        let opened = held::<C>(instance);
        let delivery = Delivery::copied(&*delivery);
        let owed = Owed { host: opened.host, tag, count: delivery.targets.len() };
        spawn(async move {
            let outcomes = opened.channel.send(&delivery).await;
            owed.pay(&outcomes.iter().map(crossing).collect::<Vec<_>>());
        });
    });
}

unsafe extern "C" fn probe<C: Channel>(instance: *mut abi::Instance, tag: abi::Tag) {
    guarded((), || {
        // SAFETY: the instance is open.
        let opened = unsafe { held::<C>(instance) };
        let owed = Owed { host: opened.host, tag, count: 1 };
        spawn(async move {
            match opened.channel.probe().await {
                Ok(probe) => owed.pay(&[abi::Outcome {
                    code: abi::ACCEPTED,
                    vendor_id: Str::of(&probe.identity),
                    expires_at_ms: probe.expires_at_ms.unwrap_or(0),
                    ..UNSET
                }]),
                Err(fault) => owed.pay(&[crossing(&Outcome::Failed(fault))]),
            }
        });
    });
}

/// An answer that is owed to the gateway. Whoever drops it, because his future panicked, has answered, too.
struct Owed {
    host: Host,
    tag: abi::Tag,
    count: usize,
}

impl Owed {
    fn pay(self, outcomes: &[abi::Outcome]) {
        self.complete(outcomes);
        // It is plain data: forgetting it leaks nothing.
        std::mem::forget(self);
    }

    fn complete(&self, outcomes: &[abi::Outcome]) {
        if let Some(complete) = self.host.table.functions().complete {
            // SAFETY: the gateway's own function and table; the outcomes are lent for the call.
            unsafe { complete(self.host.table.0, self.tag, outcomes.as_ptr(), outcomes.len()) }
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.host.log(Level::Error, "the plugin panicked while sending; its deliveries are tried again");
        let panicked = Outcome::Failed(Fault::new(Kind::Bug, "the plugin panicked"));
        self.complete(&vec![crossing(&panicked); self.count]);
    }
}
