//! Channel plugins through the gateway: isolated, crashing, exchanged while it runs, refused.

mod isolation;
mod kills;
mod samples;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use pushgate::{ChannelName, Delivery, PushChannel, SystemClock, TokenKind, Transport};
use pushgate_kit::sample;
use pushgate_kit::transport::ScriptedTransport;
use pushgate_plugin_host::{Isolation, Limits, LoadError, Loader, Opening, Source, Told};
use serde_json::Value;

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

/// Plugins in processes of their own, and what their channels send through.
struct Bench {
    folder: tempfile::TempDir,
    loader: Loader,
    transport: Arc<ScriptedTransport>,
}

impl Bench {
    fn new() -> Self {
        let loader = Loader::new(Arc::new(SystemClock), Arc::new(Told::default())).children_from(PUSHGATE);
        Self { folder: tempfile::tempdir().unwrap(), loader, transport: Arc::new(ScriptedTransport::new()) }
    }

    fn open_with(
        &self,
        path: PathBuf,
        limits: Limits,
        config: Value,
    ) -> Result<Arc<dyn PushChannel>, LoadError> {
        let source = Source { path, sha256: None, isolation: Isolation::Process(limits) };
        self.loader.load(&source)?.open(Opening {
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
