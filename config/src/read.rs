//! Deserializes a value and reports all of its errors. After each error the wrong key is set to its default or removed, and
//! the value is deserialized again.

use std::collections::BTreeSet;
use std::sync::Arc;

use figment::error::{Actual, Kind};
use figment::value::Value;
use serde::de::DeserializeOwned;

use crate::error::ConfigError;
use crate::locate::{KeyPath, Origins, Place, Segment};
use crate::nearest::nearest;
use crate::redact::scrub;
use crate::{layers, syntax};

/// Largest number of errors of one table. It bounds the loop.
const MAX_ERRORS: usize = 256;

/// Rules for reading a table.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rules<'a> {
    /// Table of defaults for wrong keys. `None` removes them instead.
    pub(crate) defaults: Option<&'a Value>,
    /// `true` if values may be secrets, which errors must not quote.
    pub(crate) secret: bool,
    /// Further keys of the same table for hints, which other code reads.
    pub(crate) also_known: &'a [&'a str],
    /// Examples for errors about missing keys, by name.
    pub(crate) examples: &'a [(&'a str, &'a str)],
    /// Keys whose text came from a reference. Such a text may be converted to a number.
    pub(crate) resolved: Option<&'a BTreeSet<KeyPath>>,
}

/// Reader of tables that collects all errors.
pub(crate) struct Reader {
    pub(crate) origins: Arc<Origins>,
    pub(crate) errors: Vec<ConfigError>,
    /// Dotted keys of other tables, for hints about a key in the wrong table.
    pub(crate) elsewhere: Vec<String>,
}

/// Continuation after an error.
enum AfterError {
    Retry,
    Stop,
}

impl Reader {
    pub(crate) const fn new(origins: Arc<Origins>) -> Self {
        Self { origins, errors: Vec::new(), elsewhere: Vec::new() }
    }

    pub(crate) fn refuse(&mut self, at: &KeyPath, message: impl Into<String>) {
        self.errors.push(ConfigError::new(self.origins.place(at), at, message));
    }

    /// Deserializes the value. Errors are added to `errors`, also if defaults in place of wrong keys give a value.
    ///
    /// `None` means that no value could be read.
    pub(crate) fn read<T: DeserializeOwned>(
        &mut self,
        mut value: Value,
        at: &KeyPath,
        rules: &Rules<'_>,
    ) -> Option<T> {
        let mut faulty = BTreeSet::new();
        for _ in 0..MAX_ERRORS {
            let error = match value.deserialize::<T>() {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            match self.handle_error(&mut value, at, rules, &error, &mut faulty) {
                AfterError::Retry => {}
                AfterError::Stop => return None,
            }
        }
        None
    }

    fn handle_error(
        &mut self,
        value: &mut Value,
        at: &KeyPath,
        rules: &Rules<'_>,
        error: &figment::Error,
        faulty: &mut BTreeSet<Vec<String>>,
    ) -> AfterError {
        let key = key_path(value, at, &error.path);
        if let Kind::MissingField(name) = &error.kind {
            let mut path = error.path.clone();
            path.push(name.to_string());
            // A key that was removed because of an error has been reported already.
            if !faulty.contains(&path) {
                let example = rules.examples.iter().find(|(known, _)| known == name);
                let example =
                    example.map(|(_, example)| format!("; write it like {example}")).unwrap_or_default();
                self.refuse(&key.key(name), format!("is missing{example}"));
            }
            return AfterError::Stop;
        }
        let is_reference = rules.resolved.is_some_and(|resolved| resolved.contains(&key));
        let from_text =
            is_reference || matches!(self.origins.place(&key), Place::Environment(_) | Place::Flag(_));
        if from_text
            && matches!(&error.kind, Kind::InvalidType(Actual::Str(_), _))
            && let Some(place) = get_mut(value, &error.path)
            && let Some(number) = place.as_str().and_then(syntax::scalar)
        {
            *place = number;
            return AfterError::Retry;
        }
        let message = self.message(&key, &error.kind, rules, value);
        self.refuse(&key, message);
        let first = faulty.insert(error.path.clone());
        let default = rules.defaults.filter(|_| first).and_then(|value| get(value, &error.path));
        match (default, error.path.is_empty()) {
            (_, true) => return AfterError::Stop,
            (Some(default), false) => replace(value, &error.path, default.clone()),
            (None, false) => remove(value, &error.path, faulty),
        }
        AfterError::Retry
    }

    fn message(&self, key: &KeyPath, kind: &Kind, rules: &Rules<'_>, value: &Value) -> String {
        match kind {
            Kind::UnknownField(name, known) => {
                let known: Vec<&str> = known.iter().chain(rules.also_known).copied().collect();
                self.unknown_key(key, name, &known)
            }
            Kind::UnknownVariant(variant, known) => {
                let near = nearest(variant, known.iter().copied());
                not_one_of(if rules.secret { None } else { Some(variant) }, near, known)
            }
            Kind::InvalidType(actual, expected) => {
                let nest = match self.origins.place(key) {
                    Place::Environment(variable) if expected.starts_with("struct ") => {
                        format!("; name a key in it with two underscores, like {variable}__…")
                    }
                    _ => String::new(),
                };
                format!(
                    "found {}, expected {}{nest}",
                    describe_value(actual, rules.secret),
                    describe_type(expected)
                )
            }
            Kind::InvalidValue(actual, expected) => {
                let value = describe_value(actual, rules.secret);
                match range(expected) {
                    Some(range) => format!("{value} is out of range; write {range}"),
                    None => format!("{value} is not {expected}"),
                }
            }
            Kind::InvalidLength(length, expected) => format!("found {length} elements, expected {expected}"),
            Kind::DuplicateField(name) => format!("`{name}` is set a second time; keep one of the two"),
            Kind::Message(message) if rules.secret => scrub(message, value),
            Kind::Message(message) => message.clone(),
            other => other.to_string(),
        }
    }

    /// Returns the message about an unknown key, with a hint at the nearest known key of any table.
    pub(crate) fn unknown_key(&self, key: &KeyPath, name: &str, known: &[&str]) -> String {
        let environment = matches!(self.origins.place(key), Place::Environment(_));
        let parent = key.parent().unwrap_or_default();
        let near = nearest(name, known.iter().copied()).map(|known| parent.key(known));
        let elsewhere = || {
            let same = |path: &&String| path.rsplit('.').next() == Some(name);
            let whole = key.to_string();
            let path = self.elsewhere.iter().find(same).map(String::as_str);
            let path = path.or_else(|| {
                // One underscore instead of two, as in `PUSHGATE_SERVER_LISTEN`.
                let paths = self.elsewhere.iter().map(String::as_str);
                nearest(&whole.replace('.', "_"), paths.filter(|_| environment))
            });
            path.map(|path| path.split('.').collect::<KeyPath>())
        };
        match (near.as_ref(), near.clone().or_else(elsewhere)) {
            (_, Some(meant)) if environment => {
                format!("unknown key; did you mean {}?", layers::variable(&meant))
            }
            (Some(meant), _) => {
                format!("unknown key; did you mean `{}`?", meant.name().unwrap_or_default())
            }
            (None, Some(meant)) => format!("unknown key; did you mean `{meant}`?"),
            (None, None) => format!("unknown key; known here: {}", list(known, '`')),
        }
    }
}

/// Returns a message such as `"infoo" is unknown; did you mean "info"?`.
pub(crate) fn not_one_of(value: Option<&str>, near: Option<&str>, known: &[&str]) -> String {
    let value = value.map(|value| format!("{value:?} ")).unwrap_or_default();
    match near {
        Some(near) => format!("{value}is unknown; did you mean \"{near}\"?"),
        None => format!("{value}is unknown; write {}", list(known, '"')),
    }
}

pub(crate) fn list(words: &[&str], quote: char) -> String {
    let mut words: Vec<String> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
    match (words.pop(), words.is_empty()) {
        (None, _) => "nothing".to_owned(),
        (Some(only), true) => only,
        (Some(last), false) => format!("{} or {last}", words.join(", ")),
    }
}

/// Describes a value for an error. Secrets are described by their type.
fn describe_value(actual: &Actual, secret: bool) -> String {
    match actual {
        Actual::Str(_) if secret => "a string".to_owned(),
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) if secret => "a number".to_owned(),
        Actual::Bool(_) if secret => "a boolean".to_owned(),
        Actual::Str(text) => format!("{text:?}"),
        Actual::Unsigned(number) => format!("the number {number}"),
        Actual::Signed(number) => format!("the number {number}"),
        Actual::Float(number) => format!("the number {number}"),
        Actual::Bool(yes) => yes.to_string(),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Translates serde's description of a type for operators.
fn describe_type(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        text if text.starts_with("struct ") => "a table".to_owned(),
        text => range(text).unwrap_or_else(|| text.to_owned()),
    }
}

fn range(expected: &str) -> Option<String> {
    let max = match expected {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "i8" | "i16" | "i32" | "i64" | "isize" => return Some("a whole number".to_owned()),
        "u64" | "usize" => return Some("a whole number from 0".to_owned()),
        text if text.starts_with("a nonzero ") => return Some("a whole number from 1".to_owned()),
        _ => return None,
    };
    Some(format!("a whole number from 0 to {max}"))
}

/// Converts figment's path, which writes list indexes as texts.
fn key_path(value: &Value, at: &KeyPath, path: &[String]) -> KeyPath {
    let mut current = Some(value);
    let mut key = at.clone();
    for part in path {
        let (segment, inner) = match current {
            Some(Value::Array(_, values)) => {
                let place = part.parse().unwrap_or_default();
                (Segment::Index(place), values.get(place))
            }
            Some(Value::Dict(_, dict)) => (Segment::Key(part.clone()), dict.get(part)),
            _ => (Segment::Key(part.clone()), None),
        };
        key = key.join(segment);
        current = inner;
    }
    key
}

fn get<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Dict(_, dict) => dict.get(part),
        Value::Array(_, values) => values.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn get_mut<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Dict(_, dict) => dict.get_mut(part),
        Value::Array(_, values) => values.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn replace(value: &mut Value, path: &[String], new: Value) {
    if let Some(place) = get_mut(value, path) {
        *place = new;
    }
}

/// Removes a key. For an element of a list the whole list is removed, because removing it would shift the indexes of others.
fn remove(value: &mut Value, path: &[String], faulty: &mut BTreeSet<Vec<String>>) {
    let Some((last, parent)) = path.split_last() else { return };
    match get_mut(value, parent) {
        Some(Value::Dict(_, dict)) => {
            dict.remove(last);
        }
        _ => {
            faulty.insert(parent.to_vec());
            remove(value, parent, faulty);
        }
    }
}
