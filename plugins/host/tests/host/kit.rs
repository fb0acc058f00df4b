//! Helpers of the tests: plugins that are compiled during the test, and a loader with recording telemetry.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use parking_lot::Mutex;
use pushgate::{ChannelName, Clock, Delivery, PushChannel, SystemClock, TokenKind, Transport};
use pushgate_kit::sample;
use pushgate_kit::transport::ScriptedTransport;
use pushgate_plugin_host::{
    Death, DefaultTelemetry, Isolation, Level, LoadError, Loader, Misuse, OpenOptions, Plugin, Source,
    Telemetry,
};
use tempfile::TempDir;
use tokio::sync::watch;

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../abi/include");
const ROGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rogue.c");
const TELEGRAM: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/telegram/telegram.c"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/telegram/json.c"),
];

/// Temporary directory with a plugin that was compiled from C.
pub(crate) struct BuiltPlugin {
    directory: TempDir,
}

impl BuiltPlugin {
    /// Compiles the rogue plugin with these macro definitions.
    pub(crate) fn rogue(definitions: &[&str]) -> Self {
        Self::with_header(definitions, Path::new(INCLUDE))
    }

    /// Compiles the rogue plugin against the header in the directory `include`.
    pub(crate) fn with_header(definitions: &[&str], include: &Path) -> Self {
        let definitions: Vec<_> = definitions.iter().map(|definition| format!("-D{definition}")).collect();
        Self::build(&[ROGUE], include, &definitions)
    }

    /// Compiles the C sample, as strict C99.
    pub(crate) fn telegram() -> Self {
        let strict = ["-std=c99", "-pedantic"].map(str::to_owned);
        Self::build(&TELEGRAM, Path::new(INCLUDE), &strict)
    }

    fn build(sources: &[&str], include: &Path, arguments: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let built = Command::new("cc")
            .args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"])
            .arg("-pthread")
            .arg(format!("-I{}", include.display()))
            .args(arguments)
            .args(sources)
            .arg("-o")
            .arg(directory.path().join("plugin.so"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("plugin.so")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

/// Returns the path of the Rust sample, which cargo builds next to these tests.
pub(crate) fn webhook() -> PathBuf {
    let name =
        format!("{}pushgate_plugin_webhook{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    std::env::current_exe().unwrap().with_file_name(name)
}

/// Returns a source without a hash that runs in this process.
pub(crate) fn source(path: PathBuf) -> Source {
    Source { path, sha256: None, isolation: Isolation::None }
}

/// Telemetry that records log lines, metrics and misuses.
#[derive(Default)]
pub(crate) struct RecordingTelemetry {
    default: DefaultTelemetry,
    pub(crate) lines: Mutex<Vec<String>>,
    misused: watch::Sender<()>,
}

impl RecordingTelemetry {
    pub(crate) fn misuses(&self, misuse: Misuse) -> u64 {
        self.default.misuses(misuse)
    }

    /// Waits until the misuse was recorded so often.
    pub(crate) async fn wait_for_misuse(&self, misuse: Misuse, times: u64) {
        let mut misused = self.misused.subscribe();
        misused.wait_for(|()| self.misuses(misuse) >= times).await.unwrap();
    }
}

impl Telemetry for RecordingTelemetry {
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str) {
        self.lines.lock().push(format!("{plugin}/{channel} {level:?} {text}"));
    }
    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64) {
        self.lines.lock().push(format!("{plugin}/{channel} {name} +{by}"));
    }
    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64) {
        self.lines.lock().push(format!("{plugin}/{channel} {name} {value}"));
    }
    fn record_misuse(&self, plugin: &str, misuse: Misuse) {
        self.default.record_misuse(plugin, misuse);
        self.misused.send_replace(());
    }
    fn record_start(&self, _plugin: &str, _channel: &str) {}
    fn record_death(&self, _plugin: &str, _channel: &str, _death: &Death<'_>) {}
}

/// Loader, its telemetry and the transport of its channels.
pub(crate) struct Bench {
    pub(crate) loader: Loader,
    pub(crate) telemetry: Arc<RecordingTelemetry>,
    pub(crate) transport: Arc<ScriptedTransport>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Loader::new)
    }

    /// Returns a bench whose loader `make` creates.
    pub(crate) fn with(make: fn(Arc<dyn Clock>, Arc<dyn Telemetry>) -> Loader) -> Self {
        let telemetry = Arc::new(RecordingTelemetry::default());
        let loader = make(Arc::new(SystemClock), Arc::clone(&telemetry) as Arc<dyn Telemetry>);
        Self { loader, telemetry, transport: Arc::new(ScriptedTransport::new()) }
    }

    /// Opens a channel of the rogue plugin in this mode.
    pub(crate) fn open(&self, plugin: &Plugin, mode: &str) -> Result<Arc<dyn PushChannel>, LoadError> {
        self.open_with_config(plugin, serde_json::json!({ "mode": mode }))
    }

    pub(crate) fn open_with_config(
        &self,
        plugin: &Plugin,
        config: serde_json::Value,
    ) -> Result<Arc<dyn PushChannel>, LoadError> {
        plugin.open(OpenOptions {
            name: ChannelName::new("acme").unwrap(),
            config,
            transport: Arc::clone(&self.transport) as Arc<dyn Transport>,
        })
    }
}

/// Returns a delivery to so many addresses with the tokens `token-0`, `token-1` and so on.
pub(crate) fn delivery(addresses: usize) -> Delivery {
    let addresses = (0..addresses).map(|i| sample::address("acme", TokenKind::Token, &format!("token-{i}")));
    sample::delivery(sample::message(), addresses)
}
