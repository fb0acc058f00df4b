//! Parses TOML into figment values, with the line of every key. Syntax errors show the line, but never a secret on it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use figment::value::{Dict, Value};
use toml::de::{DeTable, DeValue};

use crate::error::ConfigError;
use crate::locate::{KeyPath, Place};

/// Values of a file, and the line of every key.
pub(crate) struct Parsed {
    pub(crate) dict: Dict,
    pub(crate) lines: BTreeMap<KeyPath, usize>,
}

/// Parses a whole file. `path` is for errors.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Parsed, Vec<ConfigError>> {
    let text_map = TextMap::new(path, text);
    let (document, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        return Err(text_map.syntax_errors(&faults));
    }
    let mut converter = Converter { text: &text_map, lines: BTreeMap::new(), errors: Vec::new() };
    let dict = converter.table(document.get_ref(), &KeyPath::default());
    if converter.errors.is_empty() {
        Ok(Parsed { dict, lines: converter.lines })
    } else {
        Err(converter.errors)
    }
}

/// Returns the value of a variable or flag: a list, table or quoted text in TOML syntax, or else the text itself.
///
/// Numbers stay texts, so that a password of digits stays a password. They are converted where a key needs a number.
pub(crate) fn value_of(text: &str) -> Value {
    let is_composite = text.trim_start().starts_with(['[', '{', '"', '\'']);
    let parsed = if is_composite { inline_value(text) } else { None };
    parsed.unwrap_or_else(|| Value::from(text))
}

/// Returns the number or boolean that the text is in TOML. `None` for any other text.
pub(crate) fn scalar(text: &str) -> Option<Value> {
    inline_value(text).filter(|value| matches!(value, Value::Num(..) | Value::Bool(..)))
}

/// Splits a dotted key as TOML does, such as `apps."com.example".routes`. `None` if it is not a key.
pub(crate) fn dotted_key(text: &str) -> Option<Vec<String>> {
    let line = format!("{text} = 0");
    if text.contains(['\n', '=', '#']) {
        return None;
    }
    let document = DeTable::parse(&line).ok()?;
    let mut names = Vec::new();
    let mut table = Some(document.get_ref());
    while let Some((name, value)) = table.and_then(|table| table.iter().next()) {
        names.push(name.get_ref().to_string());
        table = value.get_ref().as_table();
    }
    Some(names)
}

fn inline_value(text: &str) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    let text_map = TextMap::new(Path::new(""), text);
    let mut converter = Converter { text: &text_map, lines: BTreeMap::new(), errors: Vec::new() };
    let value = converter.value(parsed.get_ref(), &KeyPath::default(), 0);
    converter.errors.is_empty().then_some(value)
}

/// Converter from parsed TOML to figment's values. It collects the lines of keys.
struct Converter<'a> {
    text: &'a TextMap<'a>,
    lines: BTreeMap<KeyPath, usize>,
    errors: Vec<ConfigError>,
}

impl Converter<'_> {
    fn table(&mut self, table: &DeTable<'_>, at: &KeyPath) -> Dict {
        let mut dict = Dict::new();
        for (name, value) in table {
            let path = at.key(name.get_ref());
            let line = self.text.line(name.span().start);
            self.lines.insert(path.clone(), line);
            dict.insert(name.get_ref().to_string(), self.value(value.get_ref(), &path, line));
        }
        dict
    }

    fn value(&mut self, value: &DeValue<'_>, at: &KeyPath, line: usize) -> Value {
        match value {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Boolean(yes) => Value::from(*yes),
            // No built-in key is a date. Plugins receive dates as texts.
            DeValue::Datetime(at) => Value::from(at.to_string()),
            DeValue::Integer(digits) => {
                if let Ok(number) = i64::from_str_radix(digits.as_str(), digits.radix()) {
                    return Value::from(number);
                }
                if let Ok(number) = u64::from_str_radix(digits.as_str(), digits.radix()) {
                    return Value::from(number);
                }
                self.refuse(at, line, "the number is too large; TOML's integers have 64 bits")
            }
            DeValue::Float(digits) => match digits.as_str().parse::<f64>() {
                Ok(number) => Value::from(number),
                Err(_) => self.refuse(at, line, "not a number"),
            },
            DeValue::Array(elements) => {
                let mut values = Vec::new();
                for (i, element) in elements.iter().enumerate() {
                    let path = at.index(i);
                    let line = self.text.line(element.span().start);
                    self.lines.insert(path.clone(), line);
                    values.push(self.value(element.get_ref(), &path, line));
                }
                Value::from(values)
            }
            DeValue::Table(table) => Value::from(self.table(table, at)),
        }
    }

    fn refuse(&mut self, at: &KeyPath, line: usize, message: &str) -> Value {
        self.errors.push(ConfigError::new(self.text.place(line, None), at, message));
        Value::from(0)
    }
}

/// Index of the lines of a text.
struct TextMap<'a> {
    path: &'a Path,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> TextMap<'a> {
    fn new(path: &'a Path, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { path, text, starts }
    }

    /// Returns the line of a byte offset, counted from 1.
    fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    fn place(&self, line: usize, column: Option<usize>) -> Place {
        Place::File { path: self.path.to_owned(), line: Some(line), column }
    }

    /// Returns the first error of each line. Further errors of a line mostly follow from the first.
    fn syntax_errors(&self, faults: &[toml::de::Error]) -> Vec<ConfigError> {
        let mut errors: BTreeMap<usize, ConfigError> = BTreeMap::new();
        for fault in faults {
            let span = fault.span().unwrap_or(self.text.len()..self.text.len());
            let line = self.line(span.start);
            errors.entry(line).or_insert_with(|| self.syntax_error(line, span, fault.message()));
        }
        errors.into_values().collect()
    }

    fn syntax_error(&self, line: usize, span: Range<usize>, message: &str) -> ConfigError {
        let start = self.starts[line - 1];
        let column = self.text.get(start..span.start).map_or(0, |before| before.chars().count());
        let mut message = message.trim_end_matches(", expected nothing").to_owned();
        if message == "duplicate key" {
            let name = self.text.get(span).unwrap_or_default();
            message = format!("`{name}` is set a second time; keep one of the two");
        } else if self.is_bare(line) {
            // The parser reports `127.0.0.1:8080` as an invalid number, but only the quotes are missing.
            message += "; text must stand in quotes";
        }
        if let Some(shown) = self.redacted_line(line) {
            let number = line.to_string();
            let caret = column.min(shown.chars().count());
            message += &format!("\n  {number} | {shown}\n  {:w$} | {:caret$}^", "", "", w = number.len());
        }
        ConfigError::new(self.place(line, Some(column + 1)), "", message)
    }

    fn line_text(&self, line: usize) -> &str {
        let end = self.starts.get(line).copied().unwrap_or(self.text.len());
        self.text[self.starts[line - 1]..end].trim_end()
    }

    /// Returns `true` if the line sets a key to a value that is not a quoted text, a list or a table.
    fn is_bare(&self, line: usize) -> bool {
        let value = self.line_text(line).split_once('=').map(|(_, value)| value.trim_start());
        value.is_some_and(|value| !value.is_empty() && !value.starts_with(['"', '\'', '[', '{', '=']))
    }

    /// Returns the line for an error, without secrets. Outside of tables without secrets, the value is left out.
    ///
    /// `None` means that the line may be a part of a text that spans lines.
    fn redacted_line(&self, line: usize) -> Option<String> {
        let shown = self.line_text(line).replace('\t', " ");
        let is_header = |text: &&str| text.trim_start().starts_with('[');
        if is_header(&shown.as_str()) {
            // A line with quotes may be a list inside a text.
            return (!shown.contains(['"', '\''])).then_some(shown);
        }
        let mut above = (1..line).rev().map(|line| self.line_text(line));
        let table = above.find(is_header).unwrap_or(&shown).trim_matches(['[', ']', ' ']);
        let name = table.split(['.', ']', '=', ' ']).next().unwrap_or_default();
        if ["server", "log", "storage"].contains(&name) {
            return Some(shown);
        }
        let (key, value) = shown.split_once('=')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | ' ');
        // The last line of a base64 text ends in `=`, like a key without a value.
        let is_key = key.len() <= 64 && key.chars().all(plain) && !value.trim_matches(['=', ' ']).is_empty();
        is_key.then(|| format!("{key}= …"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        let errors = parse(Path::new("p.toml"), text).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_broken_line_is_shown_with_line_and_column() {
        assert_eq!(
            errors("[server]\nlisten = 127.0.0.1:8080\n"),
            "p.toml:2:15: invalid float; text must stand in quotes\n  \
             2 | listen = 127.0.0.1:8080\n    |               ^"
        );
    }

    #[test]
    fn a_broken_line_of_a_channel_is_shown_without_its_value() {
        for line in ["api_key = s3cret", "api_key = \"s3cret", "  api_key=s3cret"] {
            let text = errors(&format!("[apps.demo.channels.acme]\n{line}\n"));
            assert!(text.contains("api_key") && text.contains("= …"), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
        let text = errors("[apps.demo.channels.acme]\nkey = \"\"\"\nMIIEvQ==\n");
        assert!(!text.is_empty() && !text.contains("MIIEvQ"), "{text}");
    }

    #[test]
    fn a_key_that_is_set_twice_is_refused() {
        assert_eq!(
            errors("[log]\nlevel = \"info\"\nlevel = \"warn\"\n"),
            "p.toml:3:1: `level` is set a second time; keep one of the two\n  3 | level = \"warn\"\n    | ^"
        );
    }

    #[test]
    fn every_broken_line_is_reported() {
        let text = errors("[server]\nlisten = x:1\n[log]\nlevel = a b\n");
        assert!(text.contains("p.toml:2:10") && text.contains("p.toml:4:"), "{text}");
    }

    #[test]
    fn a_number_beyond_64_bits_names_its_key() {
        assert_eq!(
            errors("[a]\nb = 99999999999999999999999\n"),
            "p.toml:2: a.b: the number is too large; TOML's integers have 64 bits"
        );
    }

    #[test]
    fn a_dotted_key_is_read_as_toml_reads_it() {
        assert_eq!(dotted_key("apps.\"com.example\".routes").unwrap(), ["apps", "com.example", "routes"]);
        assert_eq!(dotted_key("two words"), None);
        assert_eq!(dotted_key("a = 1\nb"), None);
        assert_eq!(dotted_key(""), None);
    }

    #[test]
    fn the_text_of_a_variable_stays_text_unless_it_is_written_as_a_list_or_table() {
        assert_eq!(value_of("0123").as_str(), Some("0123"));
        assert_eq!(value_of("[::]:8080").as_str(), Some("[::]:8080"));
        assert_eq!(value_of("\"[1]\"").as_str(), Some("[1]"));
        assert_eq!(value_of("[\"a\", \"b\"]").as_array().map(<[_]>::len), Some(2));
        assert!(value_of("{ a = 1 }").as_dict().is_some());
    }
}
