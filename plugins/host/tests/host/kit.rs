//! What the tests work with: plugins compiled on the spot, and a host that remembers what it heard.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use parking_lot::Mutex;
use pushgate::{ChannelName, Clock, Delivery, PushChannel, SystemClock, TokenKind, Transport};
use pushgate_kit::sample;
use pushgate_kit::transport::ScriptedTransport;
use pushgate_plugin_host::{
    Death, Isolation, Level, LoadError, Loader, Misuse, Opening, Plugin, Source, Telemetry, Told,
};
use tempfile::TempDir;
use tokio::sync::watch;

const INCLUDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../abi/include");
const ROGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rogue.c");
const TELEGRAM: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/telegram/telegram.c"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/telegram/json.c"),
];

/// A folder with a plugin in it that was built from C.
pub(crate) struct Built {
    folder: TempDir,
}

impl Built {
    /// The rogue plugin, built with these definitions.
    pub(crate) fn rogue(definitions: &[&str]) -> Self {
        Self::with_header(definitions, Path::new(INCLUDE))
    }

    /// The same, built against the header in that folder.
    pub(crate) fn with_header(definitions: &[&str], include: &Path) -> Self {
        let definitions: Vec<_> = definitions.iter().map(|definition| format!("-D{definition}")).collect();
        Self::from(&[ROGUE], include, &definitions)
    }

    /// The sample in C.
    pub(crate) fn telegram() -> Self {
        let strict = ["-std=c99", "-pedantic"].map(str::to_owned);
        Self::from(&TELEGRAM, Path::new(INCLUDE), &strict)
    }

    fn from(sources: &[&str], include: &Path, arguments: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = Command::new("cc")
            .args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"])
            .arg("-pthread")
            .arg(format!("-I{}", include.display()))
            .args(arguments)
            .args(sources)
            .arg("-o")
            .arg(folder.path().join("plugin.so"))
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("plugin.so")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

/// The sample in Rust: cargo builds it with these tests and puts it beside them.
pub(crate) fn webhook() -> PathBuf {
    let name =
        format!("{}pushgate_plugin_webhook{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    std::env::current_exe().unwrap().with_file_name(name)
}

/// A source without a hash, in this process.
pub(crate) fn source(path: PathBuf) -> Source {
    Source { path, sha256: None, isolation: Isolation::None }
}

/// Remembers what it was told.
#[derive(Default)]
pub(crate) struct Ear {
    told: Told,
    pub(crate) lines: Mutex<Vec<String>>,
    misused: watch::Sender<()>,
}

impl Ear {
    pub(crate) fn misuses(&self, what: Misuse) -> u64 {
        self.told.misuses(what)
    }

    /// Waits until that has been done so often.
    pub(crate) async fn heard(&self, what: Misuse, times: u64) {
        let mut misused = self.misused.subscribe();
        misused.wait_for(|()| self.misuses(what) >= times).await.unwrap();
    }
}

impl Telemetry for Ear {
    fn log(&self, plugin: &str, channel: &str, level: Level, text: &str) {
        self.lines.lock().push(format!("{plugin}/{channel} {level:?} {text}"));
    }
    fn count(&self, plugin: &str, channel: &str, name: &str, by: u64) {
        self.lines.lock().push(format!("{plugin}/{channel} {name} +{by}"));
    }
    fn record(&self, plugin: &str, channel: &str, name: &str, value: f64) {
        self.lines.lock().push(format!("{plugin}/{channel} {name} {value}"));
    }
    fn misused(&self, plugin: &str, what: Misuse) {
        self.told.misused(plugin, what);
        self.misused.send_replace(());
    }
    fn rose(&self, _plugin: &str, _channel: &str) {}
    fn died(&self, _plugin: &str, _channel: &str, _death: &Death<'_>) {}
}

/// A loader, what it hears, and what its channels send through.
pub(crate) struct Bench {
    pub(crate) loader: Loader,
    pub(crate) ear: Arc<Ear>,
    pub(crate) transport: Arc<ScriptedTransport>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Loader::new)
    }

    /// With a loader that is made in this way.
    pub(crate) fn with(make: fn(Arc<dyn Clock>, Arc<dyn Telemetry>) -> Loader) -> Self {
        let ear = Arc::new(Ear::default());
        let telemetry: Arc<dyn Telemetry> = Arc::clone(&ear) as _;
        let loader = make(Arc::new(SystemClock), telemetry);
        Self { loader, ear, transport: Arc::new(ScriptedTransport::new()) }
    }

    /// A channel of the rogue plugin, in that mode.
    pub(crate) fn open(&self, plugin: &Plugin, mode: &str) -> Result<Arc<dyn PushChannel>, LoadError> {
        self.configured(plugin, serde_json::json!({ "mode": mode }))
    }

    pub(crate) fn configured(
        &self,
        plugin: &Plugin,
        config: serde_json::Value,
    ) -> Result<Arc<dyn PushChannel>, LoadError> {
        plugin.open(Opening {
            name: ChannelName::new("acme").unwrap(),
            config,
            transport: Arc::clone(&self.transport) as Arc<dyn Transport>,
        })
    }
}

/// A delivery to so many addresses, whose tokens are `token-0`, `token-1` …
pub(crate) fn delivery(addresses: usize) -> Delivery {
    let addresses = (0..addresses).map(|i| sample::address("acme", TokenKind::Token, &format!("token-{i}")));
    sample::delivery(sample::message(), addresses)
}
