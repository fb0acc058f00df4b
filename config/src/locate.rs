//! Paths of keys and the places that set them: line, variable or flag. This module has no values, so it cannot leak a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Step into a table or a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// Path from the top of the configuration to a key, such as `apps.demo.routes[0].channels`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct KeyPath(Vec<Segment>);

impl KeyPath {
    pub(crate) fn key(&self, name: &str) -> Self {
        self.join(Segment::Key(name.to_owned()))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.join(Segment::Index(index))
    }

    pub(crate) fn join(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    /// Returns the name of the last step. `None` at the top, and for an element of a list.
    pub(crate) fn name(&self) -> Option<&str> {
        match self.0.last()? {
            Segment::Key(name) => Some(name),
            Segment::Index(_) => None,
        }
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }
}

impl<'a> FromIterator<&'a str> for KeyPath {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        Self(names.into_iter().map(|name| Segment::Key(name.to_owned())).collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(name) => {
                    let dot = if i == 0 { "" } else { "." };
                    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                    if !name.is_empty() && name.chars().all(bare) {
                        write!(f, "{dot}{name}")?;
                    } else {
                        write!(f, "{dot}{name:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Place that set a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Built-in `default.toml`. Errors about missing keys have this place.
    Default,
    /// Configuration file.
    File {
        /// Path that was given to [`Config::load`](crate::Config::load).
        path: PathBuf,
        /// Line, counted from 1. `None` for the whole file.
        line: Option<usize>,
        /// Column in characters, counted from 1. Only syntax errors have one.
        column: Option<usize>,
    },
    /// Environment variable of this name.
    Environment(String),
    /// Flag `--set KEY=…`.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("configuration"),
            Self::File { path, line, column } => {
                write!(f, "{}", path.display())?;
                line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
                column.map_or(Ok(()), |column| write!(f, ":{column}"))
            }
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Flag(key) => write!(f, "--set {key}=…"),
        }
    }
}

/// Places of all keys of a loaded configuration.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) places: BTreeMap<KeyPath, Place>,
}

impl Origins {
    /// Returns the place of the key, or of the nearest enclosing table that has one.
    pub(crate) fn place(&self, key: &KeyPath) -> Place {
        let mut next = Some(key.clone());
        while let Some(path) = next {
            if let Some(place) = self.places.get(&path) {
                return place.clone();
            }
            next = path.parent();
        }
        Place::Default
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_path_reads_as_toml_would_write_it() {
        let path = KeyPath::from_iter(["apps", "com.example", "routes"]).index(1).key("channels");
        assert_eq!(path.to_string(), r#"apps."com.example".routes[1].channels"#);
    }

    #[test]
    fn a_missing_key_has_the_place_of_its_table() {
        let line = |n| Place::File { path: "p.toml".into(), line: Some(n), column: None };
        let origins = Origins { places: [(KeyPath::from_iter(["keys"]).index(0), line(4))].into() };
        assert_eq!(origins.place(&KeyPath::from_iter(["keys"]).index(0).key("hash")), line(4));
        assert_eq!(origins.place(&KeyPath::from_iter(["apps"])), Place::Default);
    }
}
