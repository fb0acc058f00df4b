//! A TOML text, parsed twice: into values, and into places, so that an error can name its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::ConfigError;

/// A named TOML text.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    text: String,
    value: toml::Table,
}

impl Source {
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let value = text.parse::<toml::Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            ConfigError::new(format!("{name}:{line}"), "", format!("not TOML: {}", error.message()))
        })?;
        Ok(Self { name: name.to_owned(), text: text.to_owned(), value })
    }

    pub(crate) const fn value(&self) -> &toml::Table {
        &self.value
    }

    /// `file:line` of a key path, if it stands in this text.
    pub(crate) fn place(&self, path: &[String]) -> Option<String> {
        let root = DeTable::parse(&self.text).ok()?;
        let at = offset(root.get_ref(), path)?;
        Some(format!("{}:{}", self.name, line_of(&self.text, at)))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn offset(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    if rest.is_empty() {
        return Some(key.span().start);
    }
    within(value, rest).or_else(|| Some(key.span().start))
}

fn within(value: &Spanned<DeValue<'_>>, path: &[String]) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) => offset(table, path),
        DeValue::Array(items) => {
            let (first, rest) = path.split_first()?;
            let item = items.get(first.parse::<usize>().ok()?)?;
            if rest.is_empty() { Some(item.span().start) } else { within(item, rest) }
        }
        _ => None,
    }
}
