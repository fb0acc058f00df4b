//! Channel plugins in the gateway: in child processes, with crashes, replaced at run time, and refused.

mod isolation;
mod kills;
mod samples;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pushgate::{ChannelName, Delivery, PushChannel, SystemClock, TokenKind, Transport};
use pushgate_kit::sample;
use pushgate_kit::transport::ScriptedTransport;
use pushgate_plugin_host::{
    Death, DefaultTelemetry, Isolation, Level, Limits, LoadError, Loader, Misuse, OpenOptions, Source,
    Telemetry,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::setup::MAX_WAIT;

/// Program that is started as a child process.
const PUSHGATE: &str = env!("CARGO_BIN_EXE_pushgate");
const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins");

/// Compiles a plugin into the directory. Returns its path.
fn compile(compiler: &str, arguments: &[&str], sources: &[&str], directory: &Path) -> PathBuf {
    let plugin = directory.join("plugin.so");
    let built = Command::new(compiler)
        .args(["-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread"])
        .arg(format!("-I{PLUGINS}/abi/include"))
        .args(arguments)
        .args(sources.iter().map(|source| format!("{PLUGINS}/{source}")))
        .arg("-o")
        .arg(&plugin)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    plugin
}

/// Compiles the plugin that violates the contract. Returns its path.
fn rogue(directory: &Path) -> PathBuf {
    compile("cc", &[], &["host/tests/rogue.c"], directory)
}

/// Events of child processes.
#[derive(Debug, Default)]
struct ChildEvents {
    started: usize,
    died: usize,
    /// Delay of the restart after the last death.
    restart_delay: Duration,
}

/// Telemetry that records the events of child processes.
#[derive(Default)]
struct RecordingTelemetry {
    default: DefaultTelemetry,
    events: watch::Sender<ChildEvents>,
}

impl Telemetry for RecordingTelemetry {
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str) {
        self.default.log(plugin, channel, level, text);
    }
    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64) {
        self.default.count(plugin, channel, name, by);
    }
    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64) {
        self.default.record(plugin, channel, name, value);
    }
    fn record_misuse(&self, plugin: &str, misuse: Misuse) {
        self.default.record_misuse(plugin, misuse);
    }
    fn record_start(&self, _plugin: &str, _channel: &str) {
        self.events.send_modify(|events| events.started += 1);
    }
    fn record_death(&self, _plugin: &str, _channel: &str, death: &Death<'_>) {
        self.events.send_modify(|events| {
            events.died += 1;
            events.restart_delay = death.restart_delay;
        });
    }
}

/// Loader of plugins in child processes, and the transport of their channels.
struct Bench {
    directory: tempfile::TempDir,
    loader: Loader,
    telemetry: Arc<RecordingTelemetry>,
    transport: Arc<ScriptedTransport>,
}

impl Bench {
    fn new() -> Self {
        let telemetry = Arc::new(RecordingTelemetry::default());
        let loader =
            Loader::new(Arc::new(SystemClock), Arc::clone(&telemetry) as _).with_child_program(PUSHGATE);
        let transport = Arc::new(ScriptedTransport::new());
        Self { directory: tempfile::tempdir().unwrap(), loader, telemetry, transport }
    }

    /// Waits until the events of the children meet the condition.
    async fn wait_for_events(&self, condition: impl FnMut(&ChildEvents) -> bool) {
        let mut events = self.telemetry.events.subscribe();
        timeout(MAX_WAIT, events.wait_for(condition)).await.expect("in time").unwrap();
    }

    fn open_with(
        &self,
        path: PathBuf,
        limits: Limits,
        config: Value,
    ) -> Result<Arc<dyn PushChannel>, LoadError> {
        let source = Source { path, sha256: None, isolation: Isolation::Process(limits) };
        self.loader.load(&source)?.open(OpenOptions {
            name: ChannelName::new("acme").unwrap(),
            config,
            transport: Arc::clone(&self.transport) as Arc<dyn Transport>,
        })
    }

    /// Opens a channel of the rogue plugin in this mode.
    fn open(&self, mode: &str) -> Result<Arc<dyn PushChannel>, LoadError> {
        let config = serde_json::json!({ "mode": mode });
        self.open_with(rogue(self.directory.path()), Limits::default(), config)
    }
}

/// Returns a delivery to so many addresses with the tokens `token-0`, `token-1` and so on.
fn delivery(addresses: usize) -> Delivery {
    let addresses = (0..addresses).map(|i| sample::address("acme", TokenKind::Token, &format!("token-{i}")));
    sample::delivery(sample::message(), addresses)
}
