//! A table that belongs to a channel: secrets put in, then read by the channel's own type, with errors as good as ours.

use std::fmt;
use std::path::Path;

use figment::Figment;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use crate::error::{ConfigError, ConfigErrors};
use crate::locate::Source;

/// A channel's own keys. `Debug` shows which there are, never what they hold.
#[derive(Clone)]
pub struct Section {
    path: Vec<String>,
    table: Dict,
    /// `file:line` of each key, found while the text was at hand.
    places: Vec<(String, ConfigError)>,
    fallback: String,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("path", &self.path.join("."))
            .field("keys", &self.table.keys())
            .finish()
    }
}

impl Section {
    pub(crate) fn new(path: Vec<String>, table: Dict, source: Option<&Source>) -> Self {
        let at = |key: &String| {
            let path: Vec<_> = path.iter().chain([key]).cloned().collect();
            (key.clone(), ConfigError::at(source, &path, ""))
        };
        let places = table.keys().map(at).collect();
        let fallback =
            source.and_then(|source| source.place(&path)).unwrap_or_else(|| "configuration".to_owned());
        Self { path, table, places, fallback }
    }

    /// Reads it as the channel's own type.
    ///
    /// # Errors
    /// With file, line, key and what would be right.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigErrors> {
        Figment::from(Serialized::defaults(&self.table)).extract().map_err(|error| {
            let mut errors = ConfigError::of(&error, None, &self.path);
            for one in &mut errors.0 {
                one.settle(&self.path, &self.places, &self.fallback);
            }
            errors
        })
    }

    /// An error about the section as a whole, told by the channel.
    #[must_use]
    pub fn error(&self, why: impl fmt::Display) -> ConfigErrors {
        ConfigError::new(&self.fallback, self.path.join("."), why.to_string()).into()
    }
}

/// Puts in what `env:NAME` and `file:PATH` name, at any depth.
pub(crate) fn resolve(
    value: &mut Value,
    path: &mut Vec<String>,
    folder: &Path,
    source: Option<&Source>,
    errors: &mut Vec<ConfigError>,
) {
    match value {
        Value::Dict(_, table) => {
            for (key, value) in table {
                path.push(key.clone());
                resolve(value, path, folder, source, errors);
                path.pop();
            }
        }
        Value::String(_, text) => {
            let named = if let Some(name) = text.strip_prefix("env:") {
                std::env::var(name)
                    .map_err(|_| format!("the environment has no variable {name}; set it, or name another"))
            } else if let Some(file) = text.strip_prefix("file:") {
                let file = folder.join(file);
                std::fs::read_to_string(&file)
                    .map_err(|error| format!("{} cannot be read: {error}", file.display()))
            } else {
                return;
            };
            match named {
                Ok(secret) => *text = secret.trim_end_matches(['\n', '\r']).to_owned(),
                Err(why) => errors.push(ConfigError::at(source, path, why)),
            }
        }
        _ => {}
    }
}
