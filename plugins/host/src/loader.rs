//! From a file to a plugin, and from a plugin to channels. Loads the same content once, however often it is asked for.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use pushgate::{ChannelName, Clock, PushChannel, Transport};

use crate::channel::Plugged;
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
}

/// Loads plugins. Keep one for the life of the process: what it has loaded is never unloaded.
pub struct Loader {
    ours: Ours,
    loaded: Mutex<HashMap<[u8; 32], Result<&'static Library, LoadError>>>,
}

impl Loader {
    /// One whose plugins have this clock and are heard here.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self { ours: Ours { clock, telemetry, speech: Speech::NOW }, loaded: Mutex::default() }
    }

    /// One that claims to be of a later minor version, with a longer table. For the test that a plugin does not mind.
    #[doc(hidden)]
    #[must_use]
    pub fn of_a_later_version(clock: Arc<dyn Clock>, telemetry: Arc<dyn Telemetry>) -> Self {
        Self { ours: Ours { clock, telemetry, speech: Speech::LATER }, loaded: Mutex::default() }
    }

    /// Loads a plugin. A file that was loaded before, under whatever name, is not loaded again; a file that changed is.
    ///
    /// # Errors
    /// [`LoadError`], in a sentence for the operator.
    pub fn load(&self, source: &Source) -> Result<Plugin, LoadError> {
        let image = read(&source.path)?;
        let found = sha256(&image);
        if source.sha256.is_some_and(|expected| expected != found) {
            return Err(LoadError::OtherFile { path: source.path.clone(), found: hexadecimal(&found) });
        }
        let mut loaded = self.loaded.lock();
        let library = loaded
            .entry(found)
            .or_insert_with(|| Library::load(&source.path, &image, self.ours.clone()))
            .clone()?;
        Ok(Plugin { way: Way::InProcess(library) })
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
        }
    }

    /// Opens a channel. Must be called within a tokio runtime, which the channel's requests and timers run on.
    ///
    /// # Errors
    /// [`LoadError::Refused`] with the plugin's own words about the configuration.
    pub fn open(&self, opening: Opening) -> Result<Arc<dyn PushChannel>, LoadError> {
        match &self.way {
            Way::InProcess(library) => Ok(Arc::new(Plugged::open(library, opening)?)),
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

fn sha256(image: &[u8]) -> [u8; 32] {
    let mut found = [0; 32];
    found.copy_from_slice(digest(&SHA256, image).as_ref());
    found
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
