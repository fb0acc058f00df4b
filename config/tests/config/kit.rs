//! Temporary folder with a `pushgate.toml`, an environment and flags for one test. The real environment is never read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pushgate_config::{Config, ConfigErrors, Sources};
use tempfile::TempDir;

pub(crate) struct Folder {
    folder: TempDir,
    environment: BTreeMap<String, String>,
    flags: Vec<(String, String)>,
}

impl Folder {
    pub(crate) fn with(toml: &str) -> Self {
        let new = Self { folder: TempDir::new().unwrap(), environment: BTreeMap::new(), flags: Vec::new() };
        new.file("pushgate.toml", toml)
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn variable(mut self, name: &str, text: &str) -> Self {
        self.environment.insert(name.into(), text.into());
        self
    }

    pub(crate) fn flag(mut self, key: &str, text: &str) -> Self {
        self.flags.push((key.into(), text.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn load(&self) -> Result<Config, ConfigErrors> {
        let path = self.path("pushgate.toml");
        Config::load(&Sources {
            file: Some(&path),
            environment: self.environment.clone(),
            flags: self.flags.clone(),
        })
    }

    /// Returns the errors of the configuration, without the folder of the file.
    pub(crate) fn errors(&self) -> String {
        self.shown(&self.load().expect_err("loads"))
    }

    pub(crate) fn shown(&self, errors: &ConfigErrors) -> String {
        errors.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}
