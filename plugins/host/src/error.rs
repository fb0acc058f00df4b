//! Why a plugin cannot be used, in sentences an operator can act on. No value of a configuration is in any of them.

use std::path::PathBuf;

/// Why a plugin cannot be loaded, or one of its channels cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The file is not the one that was meant.
    #[error("{} has the SHA-256 {found}, and not the one configured: the file was changed or is another", path.display())]
    OtherFile {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: String,
    },
    /// The file is no shared library for this machine.
    #[error("{} {why}", path.display())]
    NoLibrary {
        /// Which file.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// The system's loader refuses it.
    #[error("{} cannot be loaded: {why}", path.display())]
    Link {
        /// Which file.
        path: PathBuf,
        /// What the loader says.
        why: String,
    },
    /// It exports no entry that we know.
    #[error("{} is no plugin: it does not export pushgate_plugin_v1", path.display())]
    NoEntry {
        /// Which file.
        path: PathBuf,
    },
    /// It was built for another major version of the interface.
    #[error(
        "{} was built for version {theirs} of the plugin interface, this gateway speaks version {ours}: get a build of the plugin for version {ours}",
        path.display()
    )]
    OtherMajor {
        /// Which file.
        path: PathBuf,
        /// What the plugin speaks.
        theirs: u32,
        /// What we speak.
        ours: u32,
    },
    /// Its table is not what the contract says.
    #[error("{} breaks the plugin contract: {why}", path.display())]
    BadTable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The plugin refuses a configuration, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The child process of a plugin cannot be had.
    #[error("{} cannot be run in a process of its own: {why}", path.display())]
    Child {
        /// Which file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}
