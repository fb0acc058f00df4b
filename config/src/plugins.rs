//! `[[plugins]]`: files of plugins, their expected hashes and their limits. This module loads no plugin.

use std::ops::RangeInclusive;

use figment::value::Value;

use crate::config::{PluginConfig, PluginIsolation, PluginNetwork};
use crate::fields::{OneOrMany, Size};
use crate::load::{Loader, sha256};
use crate::locate::KeyPath;
use crate::read::Rules;
use crate::schema::{RawIsolation, RawNetwork, RawPlugin};

/// Address space of a plugin's process. Below 256 MiB a process with a few threads does not start.
const MEMORY: RangeInclusive<u64> = 256 * 1024 * 1024..=1024 * 1024 * 1024 * 1024;
const DEFAULT_MEMORY: u64 = 1024 * 1024 * 1024;
/// Open files of a plugin's process, which needs some to start.
const OPEN_FILES: RangeInclusive<u32> = 16..=65_536;
const DEFAULT_OPEN_FILES: u32 = 64;

impl Loader<'_> {
    pub(crate) fn plugins(&mut self, values: Vec<Value>) -> Vec<PluginConfig> {
        let top = KeyPath::from_iter(["plugins"]);
        let mut plugins: Vec<PluginConfig> = Vec::new();
        for (i, value) in values.into_iter().enumerate() {
            let at = top.index(i);
            let rules = Rules { examples: &[("path", "path = \"plugins/libacme.so\"")], ..Rules::default() };
            let Some(raw) = self.reader.read::<RawPlugin>(value, &at, &rules) else { continue };
            let plugin = self.plugin(raw, &at);
            if plugins.iter().any(|other| other.path == plugin.path) {
                self.reader.refuse(
                    &at.key("path"),
                    "is named twice; one [[plugins]] is enough for all its channels",
                );
            }
            plugins.push(plugin);
        }
        plugins
    }

    fn plugin(&mut self, raw: RawPlugin, at: &KeyPath) -> PluginConfig {
        if raw.path.is_empty() {
            self.reader.refuse(&at.key("path"), "is empty; write the path of a shared library");
        }
        let hash = raw.sha256.as_deref().and_then(sha256);
        if raw.sha256.is_some() && hash.is_none() {
            self.reader
                .refuse(&at.key("sha256"), "is not 64 hexadecimal digits; `sha256sum FILE` prints them");
        }
        let isolation = match raw.isolation {
            RawIsolation::None => self.without_limits(&raw, at),
            RawIsolation::Process => self.limits(raw.memory, raw.open_files, raw.environment, at),
        };
        let network = match raw.network {
            RawNetwork::Public => PluginNetwork::Public,
            RawNetwork::Any => PluginNetwork::Any,
        };
        PluginConfig { path: self.references.folder.join(&raw.path), sha256: hash, isolation, network }
    }

    /// Returns `None`, and refuses limits: they have no effect in the gateway's own process.
    fn without_limits(&mut self, raw: &RawPlugin, at: &KeyPath) -> PluginIsolation {
        let limits = [
            ("memory", raw.memory.is_some()),
            ("open_files", raw.open_files.is_some()),
            ("environment", raw.environment.is_some()),
        ];
        for (name, _) in limits.into_iter().filter(|(_, is_set)| *is_set) {
            self.reader.refuse(
                &at.key(name),
                "is for isolation = \"process\"; without isolation nothing is limited",
            );
        }
        PluginIsolation::None
    }

    fn limits(
        &mut self,
        memory: Option<Size>,
        open_files: Option<u32>,
        environment: Option<OneOrMany>,
        at: &KeyPath,
    ) -> PluginIsolation {
        let memory = memory.unwrap_or(Size(DEFAULT_MEMORY)).0;
        self.within(&at.key("memory"), memory, MEMORY, Size);
        let open_files = open_files.unwrap_or(DEFAULT_OPEN_FILES);
        self.within(&at.key("open_files"), open_files, OPEN_FILES, |number| number);
        let mut variables = Vec::new();
        for (i, name) in environment.iter().flat_map(OneOrMany::each) {
            let at = i.map_or_else(|| at.key("environment"), |i| at.key("environment").index(i));
            match self.references.environment.get(name) {
                Some(value) => variables.push((name.to_owned(), value.clone())),
                None => self.reader.refuse(
                    &at,
                    format!("the environment variable `{name}` is not set; set it, or leave it out"),
                ),
            }
        }
        PluginIsolation::Process { memory, open_files, environment: variables }
    }
}
