//! Keys of a channel's table that the channel defines. They stay untyped until the channel parses them.
//! A section contains resolved secrets, so `Debug` prints only keys, and errors quote no values.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use crate::error::{ConfigError, ConfigErrors};
use crate::locate::{KeyPath, Origins};
use crate::read::{Reader, Rules};
use crate::redact::scrub;
use crate::schema::CHANNEL_KEYS;

/// Keys of a channel's table that the channel defines, with references resolved.
#[derive(Clone)]
pub struct Section {
    pub(crate) at: KeyPath,
    pub(crate) dict: Dict,
    pub(crate) origins: Arc<Origins>,
    pub(crate) resolved: BTreeSet<KeyPath>,
}

impl Section {
    /// Parses the section into the channel's own type.
    ///
    /// The type should have `#[serde(deny_unknown_fields)]`, so that a misspelled key is an error with a hint. Texts of variables,
    /// flags and references are converted to numbers and booleans where the type needs them.
    ///
    /// # Errors
    /// All wrong keys, with file and line. No value is quoted, because it may be a secret.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigErrors> {
        let mut reader = Reader::new(Arc::clone(&self.origins));
        let rules = Rules {
            secret: true,
            also_known: CHANNEL_KEYS,
            resolved: Some(&self.resolved),
            ..Rules::default()
        };
        let value = reader.read(Value::from(self.dict.clone()), &self.at, &rules);
        ConfigErrors::from(reader.errors).into_result()?;
        value.ok_or_else(|| self.refuse("", "cannot be read").into())
    }

    /// Returns the section as JSON, for a channel of unknown type. **It contains the secrets.**
    ///
    /// Values from variables and flags are texts, unless they were written as a TOML list or table.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json(&Value::from(self.dict.clone()))
    }

    /// Returns the names of the keys in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.dict.keys().map(String::as_str)
    }

    /// Returns an error about a key of the section with its file and line. An empty key means the section itself.
    ///
    /// It is for errors that only the channel detects. Values of the section are removed from the message.
    #[must_use]
    pub fn refuse(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let names = key.split('.').filter(|name| !name.is_empty());
        let at = names.fold(self.at.clone(), |at, name| at.key(name));
        let message = scrub(&message.into(), &Value::from(self.dict.clone()));
        ConfigError::new(self.origins.place(&at), at, message)
    }
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Section({} with ", self.at)?;
        f.debug_set().entries(self.dict.keys()).finish()?;
        f.write_str(")")
    }
}

/// Converts a value to JSON.
pub(crate) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(_, text) => text.as_str().into(),
        Value::Char(_, c) => c.to_string().into(),
        Value::Bool(_, yes) => (*yes).into(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            // TOML integers have 64 bits, so one of the two conversions succeeds.
            (Some(n), _) if n < 0 => i64::try_from(n).ok().into(),
            (Some(n), _) => u64::try_from(n).ok().into(),
            (None, n) => match (number.to_u128(), n) {
                (Some(n), _) => u64::try_from(n).ok().into(),
                (None, n) => n.into(),
            },
        },
        Value::Empty(..) => serde_json::Value::Null,
        Value::Dict(_, dict) => dict.iter().map(|(name, value)| (name.clone(), json(value))).collect(),
        Value::Array(_, values) => values.iter().map(json).collect(),
    }
}
