//! Refusal of a body: path of the field, what is wrong with it, what it may be. Values are never quoted.

use std::fmt;

use pushgate_config::nearest;
use serde::de::{self, Expected, Unexpected};

/// Largest length of a quoted member name, in characters.
const MAX_QUOTED: usize = 64;
/// Largest number of names that an error lists.
const MAX_LISTED: usize = 32;

/// Error in a body.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Path of the value from the top of the body. `None` until the enclosing reader sets it.
    path: Option<String>,
    /// Member of that value with the error. `None` means the value itself.
    member: Option<String>,
    /// Description that follows the path.
    text: String,
    /// `true` if the body is not JSON.
    syntax: bool,
}

impl Refusal {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { path: None, member: None, text: text.into(), syntax: false }
    }

    /// Returns a refusal of a body that is not JSON. Only the position is taken from the parser's message.
    pub(super) fn syntax(parser: &str) -> Self {
        let position = parser.rfind(" at line ").map_or("", |at| &parser[at..]);
        let reason = if parser.starts_with("EOF") { ": it ends too early" } else { "" };
        Self { syntax: true, ..Self::new(format!("the body is not valid JSON{position}{reason}")) }
    }

    pub(super) fn about(self, member: &str) -> Self {
        Self { member: Some(quoted(member)), ..self }
    }

    /// Sets the path, unless a value further inside has set it.
    pub(super) fn at(self, path: impl FnOnce() -> String) -> Self {
        if self.path.is_some() || self.syntax {
            return self;
        }
        let mut full = path();
        if let Some(member) = &self.member {
            if !full.is_empty() {
                full.push('.');
            }
            full.push_str(member);
        }
        Self { path: Some(full), ..self }
    }

    /// Returns `true` if the body is not JSON at all.
    pub(crate) const fn is_syntax(&self) -> bool {
        self.syntax
    }

    /// Returns the path of the field. `None` means the whole body.
    pub(crate) fn field(&self) -> Option<&str> {
        self.path.as_deref().filter(|path| !path.is_empty())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field() {
            Some(field) => write!(f, "{field}: {}", self.text),
            None if self.syntax => f.write_str(&self.text),
            None => write!(f, "the body {}", self.text),
        }
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}, not {}", allowed(expected), kind(given)))
    }

    fn invalid_value(_given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}", allowed(expected)))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("must be {}", one_of(variant, known)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let hint = match nearest(field, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none here".to_owned(),
            None => format!("known here: {}", list(known)),
        };
        Self::new(format!("is not a known field; {hint}")).about(field)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing").about(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::duplicate(field)
    }
}

impl Refusal {
    pub(super) fn duplicate(member: &str) -> Self {
        Self::new("is given twice; keep one of the two").about(member)
    }
}

/// Lists the values of an enumeration, with a hint at the one nearest to the given value.
pub(super) fn one_of(given: &str, known: &[&'static str]) -> String {
    let hint = nearest(given, known.iter().copied());
    let hint = hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("one of {}{hint}", list(known))
}

/// Formats names in backquotes, separated by commas.
pub(crate) fn list(names: &[&str]) -> String {
    let more = if names.len() > MAX_LISTED { ", …" } else { "" };
    let shown: Vec<_> = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    shown.join(", ") + more
}

/// Translates serde's description of an expected type into JSON terms.
fn allowed(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a boolean" => "true or false".to_owned(),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => format!("a whole number from 0 to {}", u64::MAX),
        "i64" => "a whole number".to_owned(),
        "a sequence" => "an array".to_owned(),
        "a map" => "an object".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => other.to_owned(),
    }
}

pub(super) fn kind(given: Unexpected<'_>) -> &'static str {
    match given {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "such a number",
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "this",
    }
}

/// Returns the name of a member, cut to [`MAX_QUOTED`] characters and without control characters.
pub(super) fn quoted(name: &str) -> String {
    let printable = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    name.chars().take(MAX_QUOTED).map(printable).collect()
}
