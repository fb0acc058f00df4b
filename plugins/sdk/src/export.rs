//! Table of a plugin with a [`Channel`]: the C functions that the gateway calls. Each one catches panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::channel::{Capability, Channel, TokenKind};
use crate::delivery::{Delivery, Message};
use crate::host::{Host, Level, Table};
use crate::outcome::{Fault, Kind, Outcome, UNSET, raw_outcome};
use crate::runtime::spawn;

/// Runs a function and returns `otherwise` if it panics.
pub(crate) fn catch_panic<T>(otherwise: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(otherwise)
}

/// Open channel, which the gateway knows as the instance.
struct OpenChannel<C> {
    channel: C,
    host: Host,
}

/// Implementation of the plugin's entry function. See [`crate::export_channel!`].
///
/// # Safety
/// `host` is null or lives as long as the process. `plugin` is null or writable for the size that it states.
pub unsafe fn entry<C: Channel>(host: *const abi::Host, plugin: *mut abi::Plugin) -> i32 {
    catch_panic(abi::REFUSED, || {
        // SAFETY: the caller guarantees null or valid pointers.
        let (host, plugin) = match unsafe { (host.as_ref(), plugin.as_mut()) } {
            (Some(host), Some(plugin)) => (host, plugin),
            _ => return abi::REFUSED,
        };
        // Both structs must have all fields that this version knows. Later versions may have more.
        if host.struct_size < size_of::<abi::Host>() || plugin.struct_size < size_of::<abi::Plugin>() {
            return abi::REFUSED;
        }
        *plugin = table::<C>();
        abi::OK
    })
}

/// C struct of the capability. It must live as long as the process, so it is a constant.
struct StaticCapability<C>(std::marker::PhantomData<C>);

impl<C: Channel> StaticCapability<C> {
    const CAPABILITY: abi::Capability = raw_capability(&C::INFO.capability);
}

fn table<C: Channel>() -> abi::Plugin {
    let info = C::INFO;
    abi::Plugin {
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        struct_size: size_of::<abi::Plugin>(),
        kind: Str::new(info.kind),
        version: Str::new(info.version),
        description: Str::new(info.description),
        config_schema: Str::from_option(info.config_schema),
        capability: &StaticCapability::<C>::CAPABILITY,
        open: Some(open::<C>),
        close: Some(close::<C>),
        render: Some(render::<C>),
        probe: Some(probe::<C>),
        send: Some(send::<C>),
    }
}

const fn raw_capability(capability: &Capability) -> abi::Capability {
    const fn bit(is_set: bool, bit: u32) -> u32 {
        if is_set { bit } else { 0 }
    }
    const fn millis(duration: std::time::Duration) -> u64 {
        duration.as_secs() * 1000 + duration.subsec_millis() as u64
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
    // SAFETY: the gateway guarantees that its arguments are valid for the call.
    catch_panic(abi::REFUSED, || unsafe {
        let host = Host { table: Table(host), channel: (*args).channel };
        let config = (*args).config.text(usize::MAX).unwrap_or_default();
        let opened = match serde_json::from_str::<C::Config>(&config) {
            Ok(config) => C::open(config, host),
            Err(error) => Err(config_error(&error)),
        };
        match opened {
            Ok(channel) => {
                *instance = Arc::into_raw(Arc::new(OpenChannel { channel, host })).cast_mut().cast();
                abi::OK
            }
            Err(why) => {
                write(error, &why);
                abi::REFUSED
            }
        }
    })
}

/// Returns serde's message without the position, because it refers to JSON that no operator has seen.
fn config_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}

/// Writes a text into a sink.
///
/// # Safety
/// `sink` is null or valid for the call.
unsafe fn write(sink: *const abi::Sink, text: &str) {
    // SAFETY: the caller guarantees it.
    if let Some(sink) = unsafe { sink.as_ref() }
        && let Some(write) = sink.write
    {
        // SAFETY: function and state belong to the gateway; the text is valid for the call.
        unsafe { write(sink.state, Str::new(text)) }
    }
}

/// Returns a new reference to the instance, which keeps it alive for a task.
///
/// # Safety
/// `instance` is a pointer of `open` and is not closed.
unsafe fn instance_ref<C>(instance: *mut abi::Instance) -> Arc<OpenChannel<C>> {
    let instance = instance.cast_const().cast::<OpenChannel<C>>();
    // SAFETY: the gateway holds one reference until `close`, and this adds another.
    unsafe {
        Arc::increment_strong_count(instance);
        Arc::from_raw(instance)
    }
}

unsafe extern "C" fn close<C: Channel>(instance: *mut abi::Instance) {
    // SAFETY: takes back the reference that `open` has given to the gateway, once.
    catch_panic((), || drop(unsafe { Arc::from_raw(instance.cast_const().cast::<OpenChannel<C>>()) }));
}

unsafe extern "C" fn render<C: Channel>(
    instance: *mut abi::Instance,
    message: *const abi::Message,
    counted: *mut u64,
    body: *const abi::Sink,
) {
    // SAFETY: the gateway guarantees that its arguments are valid for the call.
    catch_panic((), || unsafe {
        let rendered = instance_ref::<C>(instance).channel.render(&Message::from_raw(&*message));
        *counted = rendered.counted;
        write(body, &rendered.body.to_string());
    });
}

unsafe extern "C" fn send<C: Channel>(
    instance: *mut abi::Instance,
    delivery: *const abi::Delivery,
    tag: abi::Tag,
) {
    // SAFETY: the gateway guarantees that its arguments are valid for the call; they are copied here.
    catch_panic((), || unsafe {
        let opened = instance_ref::<C>(instance);
        let delivery = Delivery::from_raw(&*delivery);
        let completion = PendingCompletion { host: opened.host, tag, count: delivery.targets.len() };
        spawn(async move {
            let outcomes = opened.channel.send(&delivery).await;
            completion.complete(&outcomes.iter().map(raw_outcome).collect::<Vec<_>>());
        });
    });
}

unsafe extern "C" fn probe<C: Channel>(instance: *mut abi::Instance, tag: abi::Tag) {
    catch_panic((), || {
        // SAFETY: the instance is open.
        let opened = unsafe { instance_ref::<C>(instance) };
        let completion = PendingCompletion { host: opened.host, tag, count: 1 };
        spawn(async move {
            match opened.channel.probe().await {
                Ok(probe) => completion.complete(&[abi::Outcome {
                    code: abi::ACCEPTED,
                    vendor_id: Str::new(&probe.identity),
                    expires_at_ms: probe.expires_at_ms.unwrap_or(0),
                    ..UNSET
                }]),
                Err(fault) => completion.complete(&[raw_outcome(&Outcome::Failed(fault))]),
            }
        });
    });
}

/// Call of the gateway that must be completed. When it is dropped because the future panicked, it reports faults.
struct PendingCompletion {
    host: Host,
    tag: abi::Tag,
    count: usize,
}

impl PendingCompletion {
    fn complete(self, outcomes: &[abi::Outcome]) {
        self.report(outcomes);
        // Skips `drop`. The struct owns nothing, so nothing leaks.
        std::mem::forget(self);
    }

    fn report(&self, outcomes: &[abi::Outcome]) {
        if let Some(complete) = self.host.table.functions().complete {
            // SAFETY: function and table belong to the gateway; the outcomes are valid for the call.
            unsafe { complete(self.host.table.0, self.tag, outcomes.as_ptr(), outcomes.len()) }
        }
    }
}

impl Drop for PendingCompletion {
    fn drop(&mut self) {
        self.host.log(Level::Error, "the plugin panicked; the delivery will be retried");
        let panicked = Outcome::Failed(Fault::new(Kind::Bug, "the plugin panicked"));
        self.report(&vec![raw_outcome(&panicked); self.count]);
    }
}
