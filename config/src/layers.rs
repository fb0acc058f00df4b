//! The four layers, later over earlier: built-in `default.toml`, file, environment, flags. figment merges them and
//! remembers which value came from which; nothing outside this crate sees figment.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use crate::config::Sources;
use crate::error::ConfigError;
use crate::locate::{KeyPath, Origins, Place, Segment};
use crate::syntax;

/// The defaults, and the reference of every key: the file a user reads.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

const PREFIX: &str = "PUSHGATE_";
/// Read by the command line as defaults of its own flags: `--key`, `--url`, `--config`.
const OF_THE_COMMAND_LINE: [&str; 3] = ["KEY", "URL", "CONFIG"];

/// All layers in one tree, and where each key came from.
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
        match names_of_variable(variable, &written) {
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

/// The variable that sets a key: `PUSHGATE_SERVER__LISTEN`.
pub(crate) fn variable(key: &KeyPath) -> String {
    let names = key.segments().iter().map(|segment| match segment {
        Segment::Key(name) => name.to_uppercase().replace(['-', '.'], "_"),
        Segment::Index(place) => place.to_string(),
    });
    format!("{PREFIX}{}", names.collect::<Vec<_>>().join("__"))
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    let place = Place::File { path: path.to_owned(), line: None, column: None };
    ConfigError::new(place, "", format!("cannot be read ({error}); give the path of a TOML file in UTF-8"))
}

/// The names a variable stands for; none when it is not about the configuration, an error when it is but has no key.
fn names_of_variable(variable: &str, written: &Dict) -> Option<Result<Vec<String>, String>> {
    let rest = variable.strip_prefix(PREFIX)?;
    if OF_THE_COMMAND_LINE.contains(&rest) || is_of_kubernetes(rest) {
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
        let name = written_as(part, table);
        table = table.and_then(|table| table.get(&name)).and_then(Value::as_dict);
        names.push(name);
    }
    Some(Ok(names))
}

/// A cluster gives every pod such variables when a service is called `pushgate`; none of them is meant for us.
fn is_of_kubernetes(rest: &str) -> bool {
    let port = rest.strip_prefix("PORT_").is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    port || rest == "PORT" || rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT")
}

/// Variables are upper case and have no dashes or dots: a name that stands in a lower layer and differs only in those is
/// the one that is meant.
fn written_as(part: &str, table: Option<&Dict>) -> String {
    let plain = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
    let wanted = plain(part);
    let names = table.into_iter().flat_map(Dict::keys);
    let mut alike = names.filter(|name| plain(name) == wanted);
    match (alike.next(), alike.next()) {
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

/// One layer as figment takes it: `kind` and `name` say where it came from.
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

/// The merged tree. Our layers cannot fail, so there is always one.
fn data(figment: &Figment) -> Dict {
    figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
}

/// Notes the place of every key of the merged tree.
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
        // A table of several layers is looked for where a reader would look: in the file. Lists are never of several.
        let listed = at.segments().iter().any(|segment| matches!(segment, Segment::Index(_)));
        if let (Value::Dict(..), false, Some(line)) = (value, listed, self.lines.get(at)) {
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
        names_of_variable(variable, &written).and_then(Result::ok).map(|names| names.join("."))
    }

    #[test]
    fn a_variable_means_the_key_that_is_written_in_any_case() {
        let written = "[apps.My-App.channels.fcm]\n[apps.other]";
        let found = names("PUSHGATE_APPS__MY_APP__CHANNELS__FCM__KIND", written);
        assert_eq!(found.as_deref(), Some("apps.My-App.channels.fcm.kind"));
        let found = names("PUSHGATE_APPS__NEW_APP__X", written);
        assert_eq!(found.as_deref(), Some("apps.new_app.x"));
    }

    #[test]
    fn variables_of_the_command_line_and_of_a_cluster_are_none_of_ours() {
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
            assert!(names_of_variable(other, &Dict::new()).is_none(), "{other}");
        }
    }
}
