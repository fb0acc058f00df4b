//! What is wrong, where, and what would be right. Never quotes a value that may be a secret.

use std::fmt;

use figment::error::Kind;

use crate::locate::Source;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    place: String,
    key: String,
    why: String,
}

/// All that was found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigError {
    pub(crate) fn new(place: impl fmt::Display, key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { place: place.to_string(), key: key.into(), why: why.into() }
    }

    /// At a key path, with the line of the file if it stands there.
    #[must_use]
    pub(crate) fn at(source: Option<&Source>, path: &[String], why: impl Into<String>) -> Self {
        let place = source.and_then(|source| source.place(path));
        Self::new(place.unwrap_or_else(|| "environment, flags or defaults".to_owned()), path.join("."), why)
    }

    pub(crate) fn of(error: &figment::Error, source: Option<&Source>, prefix: &[String]) -> ConfigErrors {
        let one = |error: figment::Error| {
            let mut path: Vec<String> = prefix.iter().chain(&error.path).cloned().collect();
            let why = match &error.kind {
                Kind::UnknownField(name, known) => {
                    if path.last() != Some(name) {
                        path.push(name.clone());
                    }
                    match nearest(name, known) {
                        Some(known) => format!("unknown key; did you mean `{known}`?"),
                        None => format!("unknown key; known here: {}", known.join(", ")),
                    }
                }
                Kind::UnknownVariant(_, known) => format!("not one of {}", known.join(", ")),
                Kind::MissingField(name) => {
                    path.push(name.clone().into_owned());
                    "missing; it has no default".to_owned()
                }
                // The value itself may be a secret.
                Kind::InvalidType(_, expected) => format!("wrong type; it should be {expected}"),
                Kind::InvalidValue(_, expected) => format!("not a good value; it should be {expected}"),
                other => other.to_string(),
            };
            // A missing key stands nowhere: the line is that of its table.
            let at =
                if matches!(error.kind, Kind::MissingField(_)) { &path[..path.len() - 1] } else { &path[..] };
            Self { key: path.join("."), ..Self::at(source, at, why) }
        };
        ConfigErrors(error.clone().into_iter().map(one).collect())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(one: ConfigError) -> Self {
        Self(vec![one])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.why)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}

/// The known name that is at most a third of its letters away.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, name) = known.iter().map(|name| (distance(given, name), *name)).min()?;
    (distance <= given.len().max(3) / 3 + 1).then_some(name)
}

/// Levenshtein's distance, by bytes: keys are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let swap = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = swap.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl ConfigError {
    /// Gives an error of a section the place its key was found at while the text was at hand.
    pub(crate) fn settle(&mut self, prefix: &[String], places: &[(String, Self)], fallback: &str) {
        let key = self.key.strip_prefix(&format!("{}.", prefix.join("."))).unwrap_or_default();
        let first = key.split('.').next().unwrap_or_default();
        let found = places.iter().find(|(name, _)| name == first).map(|(_, at)| at.place.clone());
        self.place = found.unwrap_or_else(|| fallback.to_owned());
    }
}
