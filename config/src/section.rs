//! The part of a channel's table that belongs to the channel: kept as it is until the channel says what it should be.
//! Holds resolved secrets, so it prints keys only, and its errors quote nothing.

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

/// The rest of a channel's table, with references resolved.
#[derive(Clone)]
pub struct Section {
    pub(crate) at: KeyPath,
    pub(crate) dict: Dict,
    pub(crate) origins: Arc<Origins>,
    pub(crate) resolved: BTreeSet<KeyPath>,
}

impl Section {
    /// Reads the section as the channel's own type. Give it `#[serde(deny_unknown_fields)]`, so that a mistyped key is
    /// an error with the nearest known one. A number or boolean that came from a variable, a flag or a reference is
    /// text there, and is read as what the type asks for.
    ///
    /// # Errors
    /// Every key that is wrong, with file and line; no value is quoted, because any of them may be a secret.
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

    /// The section as JSON, for a channel whose type is not known here. **Holds the secrets.** What came from a variable
    /// or a flag is text, unless it was written as a TOML list or table.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json(&Value::from(self.dict.clone()))
    }

    /// The names of the keys that are given, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.dict.keys().map(String::as_str)
    }

    /// An error about a key of the section (dotted, empty for the section itself), placed at its line. For what only
    /// the channel can tell: "not a service account", "unknown kind". Values of the section are cut out of the message.
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

/// A value as JSON.
pub(crate) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(_, text) => text.as_str().into(),
        Value::Char(_, c) => c.to_string().into(),
        Value::Bool(_, yes) => (*yes).into(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            // Integers come from 64 bits: either fits one of the two.
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
