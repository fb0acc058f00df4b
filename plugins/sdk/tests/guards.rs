//! No panic of a channel leaves the plugin. Each one becomes a completion or a refusal, and later calls still work.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

use std::sync::Mutex;

use pushgate_plugin_abi as abi;
use pushgate_plugin_sdk::{
    Capability, Channel, Delivery, Fault, Host, Info, Message, Outcome, Probe, Rendered,
};

struct PanickingChannel;

#[derive(serde::Deserialize)]
struct Config {
    open: bool,
}

impl Channel for PanickingChannel {
    type Config = Config;
    const INFO: Info = Info {
        kind: "panics",
        version: "1",
        description: "PanickingChannel.",
        config_schema: None,
        capability: Capability::BASIC,
    };
    fn open(config: Config, _host: Host) -> Result<Self, String> {
        assert!(config.open, "on purpose");
        Ok(Self)
    }
    fn render(&self, _message: &Message) -> Rendered {
        panic!("on purpose")
    }
    async fn send(&self, delivery: &Delivery) -> Vec<Outcome> {
        assert!(delivery.message.title != "panic", "on purpose");
        delivery.targets.iter().map(|target| Outcome::accepted(&target.token)).collect()
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        panic!("on purpose")
    }
}

/// Recorded completions: tag and outcome codes.
static COMPLETIONS: Mutex<Vec<(u64, Vec<u32>)>> = Mutex::new(Vec::new());

unsafe extern "C" fn complete(_: *const abi::Host, tag: u64, outcomes: *const abi::Outcome, count: usize) {
    // SAFETY: the plugin passes `count` outcomes that are valid for the call.
    let outcomes = unsafe { std::slice::from_raw_parts(outcomes, count) };
    COMPLETIONS.lock().unwrap().push((tag, outcomes.iter().map(|outcome| outcome.code).collect()));
}

static HOST: abi::Host = abi::Host {
    abi_major: 1,
    abi_minor: 0,
    struct_size: size_of::<abi::Host>(),
    complete: Some(complete),
    log: None,
    counter: None,
    histogram: None,
    http_request: None,
    timer: None,
    now_ms: None,
};

fn message(title: &'static str) -> abi::Message {
    let none = abi::Str::NONE;
    abi::Message {
        struct_size: size_of::<abi::Message>(),
        id: none,
        app: none,
        title: abi::Str::new(title),
        content: none,
        payload: none,
        image: none,
        link: none,
        collapse_key: none,
        thread: none,
        category: none,
        overrides: none,
        created_at_ms: 0,
        expires_at_ms: 0,
        ttl_s: 0,
        badge: -1,
        priority: 0,
        silent: 0,
        tag: none,
        call: none,
        act: abi::ACT_SHOW,
        voip: 0,
    }
}

/// Sends a delivery to two addresses.
fn send(plugin: &abi::Plugin, instance: *mut abi::Instance, title: &'static str, tag: u64) {
    let message = message(title);
    let target = abi::Target {
        struct_size: size_of::<abi::Target>(),
        token: abi::Str::new("token"),
        device: abi::Str::NONE,
        user: abi::Str::NONE,
        kind: abi::TOKEN,
        index: 0,
    };
    let targets = [&raw const target, &raw const target];
    let delivery = abi::Delivery {
        struct_size: size_of::<abi::Delivery>(),
        id: abi::Str::NONE,
        message: &raw const message,
        targets: targets.as_ptr(),
        target_count: 2,
        deadline_ms: 0,
        attempt: 1,
        reserved: 0,
    };
    // SAFETY: all arguments are valid for the call.
    unsafe { plugin.send.unwrap()(instance, &raw const delivery, tag) };
}

fn open(plugin: &abi::Plugin, config: &'static str) -> (i32, *mut abi::Instance) {
    let args = abi::Open {
        struct_size: size_of::<abi::Open>(),
        channel: 1,
        name: abi::Str::new("test"),
        config: abi::Str::new(config),
    };
    let mut instance = std::ptr::null_mut();
    // SAFETY: all arguments are valid for the call.
    let code = unsafe { plugin.open.unwrap()(&HOST, &args, &mut instance, std::ptr::null()) };
    (code, instance)
}

#[test]
fn every_panic_becomes_a_completion_or_a_refusal() {
    let mut plugin = abi::Plugin::EMPTY;
    // SAFETY: the host's table is static, and the plugin's table is writable.
    let code = unsafe { pushgate_plugin_sdk::private::entry::<PanickingChannel>(&HOST, &mut plugin) };
    assert_eq!(code, abi::OK);
    let (code, instance) = open(&plugin, r#"{"open":false}"#);
    assert!(code == abi::REFUSED && instance.is_null());
    let (code, instance) = open(&plugin, r#"{"open":true}"#);
    assert_eq!(code, abi::OK);
    let (mut counted, message) = (7, message("title"));
    // SAFETY: all arguments are valid for the calls; the instance is open.
    unsafe {
        plugin.render.unwrap()(instance, &message, &mut counted, std::ptr::null());
        plugin.probe.unwrap()(instance, 1);
    }
    assert_eq!(counted, 7, "nothing was rendered");
    send(&plugin, instance, "panic", 2);
    send(&plugin, instance, "title", 3);
    // SAFETY: the instance is open, and is closed once.
    unsafe { plugin.close.unwrap()(instance) };
    let expected = vec![(1, vec![abi::BUG]), (2, vec![abi::BUG; 2]), (3, vec![abi::ACCEPTED; 2])];
    assert_eq!(*COMPLETIONS.lock().unwrap(), expected);
}
