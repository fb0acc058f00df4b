//! Merges the four layers: built-in `default.toml`, file, environment and flags. Later ones override earlier ones.
//! figment merges them and keeps the source of each value. It is not part of the public API.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use crate::config::Sources;
use crate::error::ConfigError;
use crate::locate::{KeyPath, Origins, Place, Segment};
use crate::syntax;

/// Text of `default.toml`: the defaults and the documentation of every key.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

const PREFIX: &str = "PUSHGATE_";
/// Variables of the command line's own flags `--key`, `--url` and `--config`, without the prefix.
const COMMAND_LINE_VARIABLES: [&str; 3] = ["KEY", "URL", "CONFIG"];

/// All layers merged into one tree, with the place of each key.
pub(crate) struct Layered {
    pub(crate) value: Value,
    pub(crate) defaults: Value,
    pub(crate) origins: Origins,
}

/// Reads and merges the layers.
pub(crate) fn merge(sources: &Sources<'_>) -> Result<Layered, Vec<ConfigError>> {
    let defaults = syntax::parse(Path::new("default.toml"), DEFAULT_TOML)?;
    let mut figment = Figment::from(Layer::new("default", "", defaults.dict.clone()));
    let mut lines = BTreeMap::new();
    if let Some(path) = sources.file {
        let text = std::fs::read_to_string(path).map_err(|error| vec![unreadable(path, &error)])?;
        let file = syntax::parse(path, &text)?;
        lines = file.lines;
        figment = figment.merge(Layer::new("file", "", file.dict));
    }
    let mut errors = Vec::new();
    let written = data(&figment);
    for (variable, text) in &sources.environment {
        match key_of_variable(variable, &written) {
            Some(Ok(names)) => {
                figment = figment.merge(Layer::new("environment", variable, nested(&names, text)));
            }
            Some(Err(message)) => {
                errors.push(ConfigError::new(Place::Environment(variable.clone()), "", message));
            }
            None => {}
        }
    }
    for (key, text) in &sources.flags {
        match syntax::dotted_key(key) {
            Some(names) => figment = figment.merge(Layer::new("flag", key, nested(&names, text))),
            None => errors.push(ConfigError::new(
                Place::Flag(key.clone()),
                "",
                "not a key; write it dotted, like `server.listen`",
            )),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let value = Value::from(data(&figment));
    let origins = Origins::default();
    let mut locator = Locator { figment: &figment, lines: &lines, file: sources.file, origins };
    locator.visit(&value, &KeyPath::default());
    Ok(Layered { value, defaults: Value::from(defaults.dict), origins: locator.origins })
}

/// Returns the variable that sets a key, such as `PUSHGATE_SERVER__LISTEN`.
pub(crate) fn variable(key: &KeyPath) -> String {
    let names = key.segments().iter().map(|segment| match segment {
        Segment::Key(name) => name.to_uppercase().replace(['-', '.'], "_"),
        Segment::Index(index) => index.to_string(),
    });
    format!("{PREFIX}{}", names.collect::<Vec<_>>().join("__"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    let place = Place::File { path: path.to_owned(), line: None, column: None };
    ConfigError::new(place, "", format!("cannot be read ({error}); give the path of a TOML file in UTF-8"))
}

/// Returns the names of the key that a variable sets. `None` if the variable does not concern the configuration.
///
/// # Errors
/// A message for a `PUSHGATE_` variable without a valid key.
fn key_of_variable(variable: &str, written: &Dict) -> Option<Result<Vec<String>, String>> {
    let rest = variable.strip_prefix(PREFIX)?;
    if COMMAND_LINE_VARIABLES.contains(&rest) || is_set_by_kubernetes(rest) {
        return None;
    }
    let mut names = Vec::new();
    let mut table = Some(written);
    for part in rest.split("__") {
        if part.is_empty() {
            return Some(Err(
                "not a key; write it like PUSHGATE_SERVER__LISTEN, with two underscores a step".into(),
            ));
        }
        let name = matching_name(part, table);
        table = table.and_then(|table| table.get(&name)).and_then(Value::as_dict);
        names.push(name);
    }
    Some(Ok(names))
}

/// Returns `true` for variables that Kubernetes sets in every pod if a service is called `pushgate`.
fn is_set_by_kubernetes(rest: &str) -> bool {
    let port = rest.strip_prefix("PORT_").is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    port || rest == "PORT" || rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT")
}

/// Returns the name that a part of a variable means. Names of lower layers match without regard to case, dashes and dots, which
/// a variable cannot have. Without a single match it is the part in lower case.
fn matching_name(part: &str, table: Option<&Dict>) -> String {
    let plain = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
    let plain_part = plain(part);
    let names = table.into_iter().flat_map(Dict::keys);
    let mut matches = names.filter(|name| plain(name) == plain_part);
    match (matches.next(), matches.next()) {
        (Some(only), None) => only.clone(),
        _ => part.to_lowercase(),
    }
}

fn nested(names: &[String], text: &str) -> Dict {
    let mut value = syntax::value_of(text);
    for name in names.iter().skip(1).rev() {
        value = Value::from(Dict::from([(name.clone(), value)]));
    }
    names.first().map(|name| Dict::from([(name.clone(), value)])).unwrap_or_default()
}

/// Layer for figment. `kind` and `name` identify its source.
struct Layer {
    kind: &'static str,
    name: String,
    dict: Dict,
}

impl Layer {
    fn new(kind: &'static str, name: &str, dict: Dict) -> Self {
        Self { kind, name: name.to_owned(), dict }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.kind).source(Source::Custom(self.name.clone()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// Returns the merged tree. The layers are in memory, so this cannot fail.
fn data(figment: &Figment) -> Dict {
    figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
}

/// Collector of the places of all keys of the merged tree.
struct Locator<'a> {
    figment: &'a Figment,
    lines: &'a BTreeMap<KeyPath, usize>,
    file: Option<&'a Path>,
    origins: Origins,
}

impl Locator<'_> {
    fn visit(&mut self, value: &Value, at: &KeyPath) {
        if let Some(place) = self.place(value, at) {
            self.origins.places.insert(at.clone(), place);
        }
        match value {
            Value::Dict(_, dict) => dict.iter().for_each(|(name, value)| self.visit(value, &at.key(name))),
            Value::Array(_, values) => {
                values.iter().enumerate().for_each(|(i, value)| self.visit(value, &at.index(i)));
            }
            _ => {}
        }
    }

    fn place(&self, value: &Value, at: &KeyPath) -> Option<Place> {
        let in_file =
            |line| Some(Place::File { path: self.file?.to_owned(), line: Some(line), column: None });
        // A table may come from several layers, and then its place is in the file. A list comes from a single layer.
        let is_in_list = at.segments().iter().any(|segment| matches!(segment, Segment::Index(_)));
        if let (Value::Dict(..), false, Some(line)) = (value, is_in_list, self.lines.get(at)) {
            return in_file(*line);
        }
        let metadata = self.figment.get_metadata(value.tag())?;
        let name = metadata.source.as_ref().and_then(Source::custom).unwrap_or_default().to_owned();
        match metadata.name.as_ref() {
            "file" => in_file(*self.lines.get(at)?),
            "environment" => Some(Place::Environment(name)),
            "flag" => Some(Place::Flag(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(variable: &str, written: &str) -> Option<String> {
        let written = syntax::parse(Path::new(""), written).ok()?.dict;
        key_of_variable(variable, &written).and_then(Result::ok).map(|names| names.join("."))
    }

    #[test]
    fn a_variable_matches_keys_without_regard_to_case() {
        let written = "[apps.My-App.channels.fcm]\n[apps.other]";
        let key = names("PUSHGATE_APPS__MY_APP__CHANNELS__FCM__KIND", written);
        assert_eq!(key.as_deref(), Some("apps.My-App.channels.fcm.kind"));
        let key = names("PUSHGATE_APPS__NEW_APP__X", written);
        assert_eq!(key.as_deref(), Some("apps.new_app.x"));
    }

    #[test]
    fn variables_of_the_command_line_and_of_kubernetes_are_ignored() {
        for other in [
            "HOME",
            "PUSHGATE_KEY",
            "PUSHGATE_URL",
            "PUSHGATE_CONFIG",
            "PUSHGATE_SERVICE_HOST",
            "PUSHGATE_SERVICE_PORT_HTTP",
            "PUSHGATE_PORT",
            "PUSHGATE_PORT_8080_TCP_ADDR",
        ] {
            assert!(key_of_variable(other, &Dict::new()).is_none(), "{other}");
        }
    }
}
