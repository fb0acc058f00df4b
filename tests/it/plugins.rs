//! Channel plugins through the gateway: isolated, crashing, exchanged while it runs, refused.

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

use crate::house::PATIENCE;

/// The program that children are started from.
const PUSHGATE: &str = env!("CARGO_BIN_EXE_pushgate");
const PLUGINS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins");

/// Compiles a plugin into the folder.
fn compile(compiler: &str, arguments: &[&str], sources: &[&str], folder: &Path) -> PathBuf {
    let plugin = folder.join("plugin.so");
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

/// The plugin that keeps no promise.
fn rogue(folder: &Path) -> PathBuf {
    compile("cc", &[], &["host/tests/rogue.c"], folder)
}

/// What has become of children.
#[derive(Debug, Default)]
struct Lives {
    risen: usize,
    died: usize,
    /// How long the last one that died is left alone.
    wait: Duration,
}

/// Hears of children.
#[derive(Default)]
struct Ear {
    told: DefaultTelemetry,
    lives: watch::Sender<Lives>,
}

impl Telemetry for Ear {
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str) {
        self.told.log(plugin, channel, level, text);
    }
    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64) {
        self.told.count(plugin, channel, name, by);
    }
    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64) {
        self.told.record(plugin, channel, name, value);
    }
    fn record_misuse(&self, plugin: &str, what: Misuse) {
        self.told.record_misuse(plugin, what);
    }
    fn record_start(&self, _plugin: &str, _channel: &str) {
        self.lives.send_modify(|lives| lives.risen += 1);
    }
    fn record_death(&self, _plugin: &str, _channel: &str, death: &Death<'_>) {
        self.lives.send_modify(|lives| {
            lives.died += 1;
            lives.wait = death.restart_delay;
        });
    }
}

/// Plugins in processes of their own, and what their channels send through.
struct Bench {
    folder: tempfile::TempDir,
    loader: Loader,
    ear: Arc<Ear>,
    transport: Arc<ScriptedTransport>,
}

impl Bench {
    fn new() -> Self {
        let ear = Arc::new(Ear::default());
        let loader = Loader::new(Arc::new(SystemClock), Arc::clone(&ear) as _).with_child_program(PUSHGATE);
        let transport = Arc::new(ScriptedTransport::new());
        Self { folder: tempfile::tempdir().unwrap(), loader, ear, transport }
    }

    /// Waits until that is so of its children.
    async fn lives(&self, are: impl FnMut(&Lives) -> bool) {
        let mut lives = self.ear.lives.subscribe();
        timeout(PATIENCE, lives.wait_for(are)).await.expect("in time").unwrap();
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

    /// A channel of the rogue plugin, in that mode.
    fn open(&self, mode: &str) -> Result<Arc<dyn PushChannel>, LoadError> {
        let config = serde_json::json!({ "mode": mode });
        self.open_with(rogue(self.folder.path()), Limits::default(), config)
    }
}

/// A delivery to so many addresses, whose tokens are `token-0`, `token-1` …
fn delivery(addresses: usize) -> Delivery {
    let addresses = (0..addresses).map(|i| sample::address("acme", TokenKind::Token, &format!("token-{i}")));
    sample::delivery(sample::message(), addresses)
}
