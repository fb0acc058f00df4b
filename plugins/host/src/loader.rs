//! Loading of plugins from files, and opening of their channels. Files with the same content are loaded once.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use pushgate::{ChannelName, Clock, PushChannel, Transport};

use crate::child::{ChildChannel, Limits, Starter};
use crate::description::Description;
use crate::error::LoadError;
use crate::in_process::InProcessChannel;
use crate::library::{HostContext, Library};
use crate::table::InterfaceVersion;
use crate::telemetry::Telemetry;

/// Maximum size of a plugin's file, in bytes. Large plugins have some tens of MiB.
const MAX_FILE: u64 = 512 * 1024 * 1024;

/// File of a plugin and the place where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Path of the file. Library search paths are not used.
    pub path: PathBuf,
    /// Expected SHA-256 of the file. `None` accepts any.
    pub sha256: Option<[u8; 32]>,
    /// Process in which the plugin runs.
    pub isolation: Isolation,
}

/// Process in which a plugin runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// This process. Fastest, but a crash of the plugin ends the gateway.
    None,
    /// One child process for each channel. A crash, hang or leak does not affect the gateway.
    Process(Limits),
}

/// Loader of plugins. Keep one until the process ends, because loaded libraries are never unloaded.
pub struct Loader {
    host: HostContext,
    /// Program that is started as a child process.
    program: PathBuf,
    kinds: Mutex<BTreeSet<&'static str>>,
    loaded: Mutex<HashMap<[u8; 32], Result<&'static Library, LoadError>>>,
}

impl Loader {
    /// Returns a loader whose plugins use this clock and report to this telemetry. Child processes run this program's own
    /// file.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self::with_version(InterfaceVersion::CURRENT, clock, telemetry)
    }

    /// Returns a loader that claims a later minor version with a longer table. For tests of compatibility.
    #[doc(hidden)]
    #[must_use]
    pub fn with_future_version(clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self::with_version(InterfaceVersion::FUTURE, clock, telemetry)
    }

    fn with_version(version: InterfaceVersion, clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        // The running file, even if another file has replaced it under the same name.
        let program = Path::new("/proc/self/exe");
        let program = if program.exists() { Ok(program.to_owned()) } else { std::env::current_exe() };
        Self {
            host: HostContext { clock, telemetry, version },
            program: program.unwrap_or_else(|_| PathBuf::from("pushgate")),
            kinds: Mutex::default(),
            loaded: Mutex::default(),
        }
    }

    /// Sets the program of child processes. Its `plugin-host` command must call [`crate::HostProcess::run`].
    #[must_use]
    pub fn with_child_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Loads a plugin. Content that was loaded before is not loaded again, even under another name. A changed file is.
    ///
    /// # Errors
    /// [`LoadError`] if the file cannot be read, is not the configured one or is not a valid plugin.
    pub fn load(&self, source: &Source) -> Result<Plugin, LoadError> {
        let limits = match &source.isolation {
            Isolation::None => return Ok(Plugin { backend: Backend::InProcess(self.library(source)?) }),
            Isolation::Process(limits) => limits.clone(),
        };
        // The child checks the bytes that it loads. The parent's check returns the precise error.
        if source.sha256.is_some() {
            read_as_configured(source)?;
        }
        let starter = Starter {
            program: self.program.clone(),
            path: source.path.clone(),
            sha256: source.sha256,
            limits,
            telemetry: Arc::clone(&self.host.telemetry),
        };
        // Reads the description. The child process ends when `Started` is dropped.
        let description = starter.start("")?.description;
        let kind = self.intern_kind(&description.kind);
        Ok(Plugin { backend: Backend::Child(Arc::new(ChildPlugin { starter, description, kind })) })
    }

    /// Returns the file's library in this process. Loads it if its content is new.
    pub(crate) fn library(&self, source: &Source) -> Result<&'static Library, LoadError> {
        let (image, hash) = read_as_configured(source)?;
        let mut loaded = self.loaded.lock();
        loaded.entry(hash).or_insert_with(|| Library::load(&source.path, &image, self.host.clone())).clone()
    }

    /// Returns the kind with a static lifetime. Each distinct kind is leaked once.
    fn intern_kind(&self, kind: &str) -> &'static str {
        let mut kinds = self.kinds.lock();
        if let Some(interned) = kinds.get(kind) {
            return interned;
        }
        let interned: &'static str = Box::leak(kind.to_owned().into_boxed_str());
        kinds.insert(interned);
        interned
    }
}

/// Plugin that can open channels. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    InProcess(&'static Library),
    Child(Arc<ChildPlugin>),
}

/// Plugin that only child processes load.
struct ChildPlugin {
    starter: Starter,
    description: Description,
    kind: &'static str,
}

/// Options of opening a channel.
pub struct OpenOptions {
    /// Name of the channel within its app.
    pub name: ChannelName,
    /// Configuration of the channel as JSON, including its secrets.
    pub config: serde_json::Value,
    /// Transport of the channel's requests.
    pub transport: Arc<dyn Transport>,
}

impl Plugin {
    /// Returns the plugin's description of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        match &self.backend {
            Backend::InProcess(library) => &library.description,
            Backend::Child(child) => &child.description,
        }
    }

    /// Opens a channel. Must be called within a tokio runtime, which runs the channel's requests and timers.
    ///
    /// # Errors
    /// [`LoadError::Refused`] with the plugin's own message if it refuses the configuration, [`LoadError::Child`] if its
    /// child process cannot start.
    pub fn open(&self, options: OpenOptions) -> Result<Arc<dyn PushChannel>, LoadError> {
        match &self.backend {
            Backend::InProcess(library) => Ok(Arc::new(InProcessChannel::open(library, options)?)),
            Backend::Child(child) => {
                let (starter, description) = (child.starter.clone(), child.description.clone());
                Ok(Arc::new(ChildChannel::open(starter, description, child.kind, options)?))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |why: String| LoadError::Unreadable { path: path.to_owned(), why };
    let mut image = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut image))
        .map_err(|error| unreadable(error.to_string()))?;
    if image.len() as u64 > MAX_FILE {
        return Err(unreadable(format!("it is larger than {} MiB", MAX_FILE >> 20)));
    }
    Ok(image)
}

/// Returns the file and its SHA-256.
///
/// # Errors
/// [`LoadError::HashMismatch`] if the source names another hash.
fn read_as_configured(source: &Source) -> Result<(Vec<u8>, [u8; 32]), LoadError> {
    let image = read(&source.path)?;
    let hash = sha256(&image);
    if source.sha256.is_some_and(|expected| expected != hash) {
        return Err(LoadError::HashMismatch { path: source.path.clone(), found: hexadecimal(&hash) });
    }
    Ok((image, hash))
}

fn sha256(image: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, image).as_ref());
    hash
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
