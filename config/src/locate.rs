//! Where a key was written: its path, and the line, variable or flag it came from. Holds no values, so it cannot leak one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// One step into a table or a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// The way from the top of the configuration to a key: `apps.demo.routes[0].channels`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct KeyPath(Vec<Segment>);

impl KeyPath {
    pub(crate) fn key(&self, name: &str) -> Self {
        self.join(Segment::Key(name.to_owned()))
    }

    pub(crate) fn index(&self, place: usize) -> Self {
        self.join(Segment::Index(place))
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

    /// The name of the last step; none at the top and for an element of a list.
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
                Segment::Index(place) => write!(f, "[{place}]")?,
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

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the `default.toml` that is built in: a key that should have been given was given nowhere.
    Default,
    /// In the configuration file.
    File {
        /// As it was given to [`Config::load`](crate::Config::load).
        path: PathBuf,
        /// From 1; none when it is about the whole file.
        line: Option<usize>,
        /// From 1, in characters; only for errors of syntax.
        column: Option<usize>,
    },
    /// In this environment variable.
    Environment(String),
    /// In the flag `--set KEY=…`.
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

/// Where every key of a loaded configuration was written.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    pub(crate) places: BTreeMap<KeyPath, Place>,
}

impl Origins {
    /// The place of the key, or of the nearest table around it that was written anywhere.
    pub(crate) fn place(&self, key: &KeyPath) -> Place {
        let mut at = Some(key.clone());
        while let Some(path) = at {
            if let Some(place) = self.places.get(&path) {
                return place.clone();
            }
            at = path.parent();
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
    fn what_was_not_written_is_placed_at_the_table_around_it() {
        let line = |n| Place::File { path: "p.toml".into(), line: Some(n), column: None };
        let origins = Origins { places: [(KeyPath::from_iter(["keys"]).index(0), line(4))].into() };
        assert_eq!(origins.place(&KeyPath::from_iter(["keys"]).index(0).key("hash")), line(4));
        assert_eq!(origins.place(&KeyPath::from_iter(["apps"])), Place::Default);
    }
}
