//! References to secrets: replaces `env:NAME` and `file:PATH` by the text that they name.
//! Errors name the reference, never the text.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use figment::value::Value;

use crate::locate::KeyPath;

/// Largest referenced file, in bytes. Credentials have a few KiB, and reading `file:/dev/zero` must end.
const MAX_FILE: u64 = 1024 * 1024;

/// Environment and folder of references, and the files that were read.
pub(crate) struct References<'a> {
    /// Environment variables.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Folder of the configuration file. Relative paths start here.
    pub(crate) folder: &'a Path,
    /// All files that were read.
    pub(crate) files: BTreeSet<PathBuf>,
}

/// Key of a reference that cannot be resolved, with the error message.
pub(crate) type Unresolved = (KeyPath, String);

impl References<'_> {
    /// Replaces every reference in the value and adds its key to `replaced`. Returns the references that cannot be resolved.
    pub(crate) fn resolve(
        &mut self,
        value: &mut Value,
        at: &KeyPath,
        replaced: &mut BTreeSet<KeyPath>,
    ) -> Vec<Unresolved> {
        match value {
            Value::Dict(_, dict) => dict
                .iter_mut()
                .flat_map(|(name, value)| self.resolve(value, &at.key(name), replaced))
                .collect(),
            Value::Array(_, values) => values
                .iter_mut()
                .enumerate()
                .flat_map(|(i, value)| self.resolve(value, &at.index(i), replaced))
                .collect(),
            Value::String(_, text) => match self.text(text) {
                None => Vec::new(),
                Some(Ok(resolved)) => {
                    *text = resolved;
                    replaced.insert(at.clone());
                    Vec::new()
                }
                Some(Err(why)) => vec![(at.clone(), why)],
            },
            _ => Vec::new(),
        }
    }

    /// Returns the text that a reference names. `None` if the text is not a reference.
    fn text(&mut self, text: &str) -> Option<Result<String, String>> {
        if let Some(text) = text.strip_prefix("literal:") {
            return Some(Ok(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix("env:") {
            return Some(self.variable(name));
        }
        text.strip_prefix("file:").map(|path| self.file(path))
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        match self.environment.get(name) {
            Some(text) if !text.is_empty() => Ok(text.clone()),
            Some(_) => Err(format!("the environment variable `{name}` is empty; give it the secret")),
            None => Err(format!(
                "the environment variable `{name}` is not set; set it, or write `literal:env:…` to mean the text itself"
            )),
        }
    }

    fn file(&mut self, path: &str) -> Result<String, String> {
        let path = self.folder.join(path);
        let shown = path.display();
        let text = read(&path).map_err(|why| {
            format!(
                "the file `{shown}` {why}; a relative path starts at the folder of the configuration file"
            )
        })?;
        // Editors add a line break at the end of a file.
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(format!("the file `{shown}` is empty; put the secret there"));
        }
        let text = text.to_owned();
        self.files.insert(path);
        Ok(text)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read ({error})");
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {} KiB", MAX_FILE / 1024));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}
