//! Configuration: defaults, file, environment and flags, with errors that name file, line, key and what would be right.
//! Figment stays in here.

mod error;
mod locate;
mod schema;
mod section;

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Serialized};

pub use error::{ConfigError, ConfigErrors};
pub use schema::{
    AppConfig, ChannelConfig, Config, KeyConfig, Log, LogFormat, Scope, Server, Storage, StorageKind,
    TransportConfig,
};
pub use section::Section;

use locate::Source;

/// The defaults, commented: what `pushgate config` prints and what a new user reads.
pub const DEFAULT: &str = include_str!("default.toml");

/// Variables of the command line's own, which are no configuration keys.
const NOT_KEYS: [&str; 3] = ["url", "key", "config"];

/// Where configuration comes from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; none for defaults, environment and flags alone.
    pub file: Option<PathBuf>,
    /// Whether `PUSHGATE_…` variables count.
    pub environment: bool,
    /// `(key path, value)` from `--set`.
    pub flags: Vec<(String, String)>,
}

impl Config {
    /// Reads everything and checks it.
    ///
    /// # Errors
    /// [`ConfigErrors`]: all that is wrong in one section at a time, each with its place and what would be right.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let defaults = Source::parse("default.toml", DEFAULT)?;
        let mut figment = Figment::from(Serialized::defaults(defaults.value()));
        let mut file = None;
        if let Some(path) = &sources.file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::new(path.display(), "", format!("cannot be read: {error}")))?;
            let source = Source::parse(&path.display().to_string(), &text)?;
            figment = figment.merge(Serialized::defaults(source.value()));
            file = Some(source);
        }
        if sources.environment {
            figment = figment.merge(Env::prefixed("PUSHGATE_").ignore(&NOT_KEYS).split("__"));
        }
        for (key, value) in &sources.flags {
            figment = figment.merge(Serialized::default(key, flag_value(value)));
        }
        let folder = sources.file.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
        schema::read(&figment, file.as_ref(), folder)
    }
}

/// `true`, `5` and `["a"]` are what they look like; everything else is text.
fn flag_value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
