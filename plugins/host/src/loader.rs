//! From a file to a plugin, and from a plugin to channels. Loads the same content once, however often it is asked for.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use pushgate::{ChannelName, Clock, PushChannel, Transport};

use crate::channel::Plugged;
use crate::child::{Isolated, Limits, Starter};
use crate::description::Description;
use crate::error::LoadError;
use crate::library::{Library, Ours};
use crate::table::Speech;
use crate::telemetry::Telemetry;

/// The largest file taken for a plugin, in bytes; a large one is some tens of MiB.
const MOST_FILE: u64 = 512 * 1024 * 1024;

/// Which plugin, and how it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file. Never a search path.
    pub path: PathBuf,
    /// What it must be, where that is known.
    pub sha256: Option<[u8; 32]>,
    /// Where it runs.
    pub isolation: Isolation,
}

/// Where a plugin runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// In this process: quickest, and a crash is ours.
    None,
    /// In a child process for each channel: a crash, a hang or a leak stays there.
    Process(Limits),
}

/// Loads plugins. Keep one for the life of the process: what it has loaded is never unloaded.
pub struct Loader {
    ours: Ours,
    /// What is started for a plugin in a process of its own.
    program: PathBuf,
    kinds: Mutex<BTreeSet<&'static str>>,
    loaded: Mutex<HashMap<[u8; 32], Result<&'static Library, LoadError>>>,
}

impl Loader {
    /// One whose plugins have this clock and are heard here. Children are started from this program's own file.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self::speaking(Speech::NOW, clock, telemetry)
    }

    /// One that claims to be of a later minor version, with a longer table. For the test that a plugin does not mind.
    #[doc(hidden)]
    #[must_use]
    pub fn of_a_later_version(clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self::speaking(Speech::LATER, clock, telemetry)
    }

    fn speaking(speech: Speech, clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        // The file this process runs, even when another has taken its name since.
        let program = Path::new("/proc/self/exe");
        let program = if program.exists() { Ok(program.to_owned()) } else { std::env::current_exe() };
        Self {
            ours: Ours { clock, telemetry, speech },
            program: program.unwrap_or_else(|_| PathBuf::from("pushgate")),
            kinds: Mutex::default(),
            loaded: Mutex::default(),
        }
    }

    /// Starts children from this program, which must answer to `plugin-host` with [`crate::Role::play`].
    #[must_use]
    pub fn children_from(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Loads a plugin. A file that was loaded before, under whatever name, is not loaded again; a file that changed is.
    ///
    /// # Errors
    /// [`LoadError`], in a sentence for the operator.
    pub fn load(&self, source: &Source) -> Result<Plugin, LoadError> {
        let limits = match &source.isolation {
            Isolation::None => return Ok(Plugin { way: Way::InProcess(self.library(source)?) }),
            Isolation::Process(limits) => limits.clone(),
        };
        // The child checks the file that it maps; the parent's check names the cause.
        if source.sha256.is_some() {
            read_as_configured(source)?;
        }
        let starter = Starter {
            program: self.program.clone(),
            path: source.path.clone(),
            sha256: source.sha256,
            limits,
            telemetry: Arc::clone(&self.ours.telemetry),
        };
        // It says what it is, and ends.
        let description = starter.start("")?.description;
        let kind = self.kept(&description.kind);
        Ok(Plugin { way: Way::Child(Arc::new(Apart { starter, description, kind })) })
    }

    /// The library of that file, in this process.
    pub(crate) fn library(&self, source: &Source) -> Result<&'static Library, LoadError> {
        let (image, found) = read_as_configured(source)?;
        let mut loaded = self.loaded.lock();
        loaded.entry(found).or_insert_with(|| Library::load(&source.path, &image, self.ours.clone())).clone()
    }

    /// The kind for as long as core wants it; kept once, however often a plugin is loaded.
    fn kept(&self, kind: &str) -> &'static str {
        let mut kinds = self.kinds.lock();
        if let Some(kept) = kinds.get(kind) {
            return kept;
        }
        let kept: &'static str = Box::leak(kind.to_owned().into_boxed_str());
        kinds.insert(kept);
        kept
    }
}

/// A plugin that can open channels. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    way: Way,
}

#[derive(Clone)]
enum Way {
    InProcess(&'static Library),
    Child(Arc<Apart>),
}

/// A plugin that this process never loads.
struct Apart {
    starter: Starter,
    description: Description,
    kind: &'static str,
}

/// What a channel is opened with.
pub struct Opening {
    /// Its name within the app.
    pub name: ChannelName,
    /// Its table as JSON, with secrets in it.
    pub config: serde_json::Value,
    /// What its requests go through.
    pub transport: Arc<dyn Transport>,
}

impl Plugin {
    /// What it says about itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        match &self.way {
            Way::InProcess(library) => &library.description,
            Way::Child(apart) => &apart.description,
        }
    }

    /// Opens a channel. Must be called within a tokio runtime, which the channel's requests and timers run on.
    ///
    /// # Errors
    /// [`LoadError::Refused`] with the plugin's own words about the configuration.
    pub fn open(&self, opening: Opening) -> Result<Arc<dyn PushChannel>, LoadError> {
        match &self.way {
            Way::InProcess(library) => Ok(Arc::new(Plugged::open(library, opening)?)),
            Way::Child(apart) => {
                let (starter, description) = (apart.starter.clone(), apart.description.clone());
                Ok(Arc::new(Isolated::open(starter, description, apart.kind, opening)?))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |why: String| LoadError::Unreadable { path: path.to_owned(), why };
    let mut image = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_FILE + 1).read_to_end(&mut image))
        .map_err(|error| unreadable(error.to_string()))?;
    if image.len() as u64 > MOST_FILE {
        return Err(unreadable(format!("it is larger than {} MiB", MOST_FILE >> 20)));
    }
    Ok(image)
}

/// Returns the file and its SHA-256.
///
/// # Errors
/// [`LoadError::OtherFile`] if the source names another hash.
fn read_as_configured(source: &Source) -> Result<(Vec<u8>, [u8; 32]), LoadError> {
    let image = read(&source.path)?;
    let hash = sha256(&image);
    if source.sha256.is_some_and(|expected| expected != hash) {
        return Err(LoadError::OtherFile { path: source.path.clone(), found: hexadecimal(&hash) });
    }
    Ok((image, hash))
}

fn sha256(image: &[u8]) -> [u8; 32] {
    let mut found = [0; 32];
    found.copy_from_slice(digest(&SHA256, image).as_ref());
    found
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
