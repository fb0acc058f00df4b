//! Errors of loading a plugin or opening a channel. The texts tell the operator what to do, and contain no configuration
//! values.

use std::path::PathBuf;

/// Error of loading a plugin or opening one of its channels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// Path of the plugin.
        path: PathBuf,
        /// Error of the system.
        why: String,
    },
    /// The file's hash differs from the configured one.
    #[error(
        "{} has the SHA-256 {found}, which is not the configured one: install the expected file, or configure the new hash",
        path.display()
    )]
    HashMismatch {
        /// Path of the plugin.
        path: PathBuf,
        /// SHA-256 of the file, in hexadecimal.
        found: String,
    },
    /// The file is not a shared library for this machine.
    #[error("{} {why}", path.display())]
    NotALibrary {
        /// Path of the plugin.
        path: PathBuf,
        /// Predicate of the sentence that begins with the path, such as "is empty".
        why: String,
    },
    /// The system's loader refuses the library.
    #[error("{} cannot be loaded: {why}", path.display())]
    Link {
        /// Path of the plugin.
        path: PathBuf,
        /// Error of the loader.
        why: String,
    },
    /// The library exports no known entry function.
    #[error("{} is not a plugin: it does not export pushgate_plugin_v1", path.display())]
    MissingEntry {
        /// Path of the plugin.
        path: PathBuf,
    },
    /// The plugin was built for another major version of the interface.
    #[error(
        "{} was built for version {plugin} of the plugin interface, but this gateway has version {gateway}: get a build of the plugin for version {gateway}",
        path.display()
    )]
    VersionMismatch {
        /// Path of the plugin.
        path: PathBuf,
        /// Major version of the plugin.
        plugin: u32,
        /// Major version of this gateway.
        gateway: u32,
    },
    /// The plugin's table breaks the contract.
    #[error("{} breaks the plugin contract: {why}", path.display())]
    InvalidTable {
        /// Path of the plugin.
        path: PathBuf,
        /// Violation of the contract.
        why: String,
    },
    /// The plugin refuses the configuration. The text is the plugin's own.
    #[error("{0}")]
    Refused(String),
    /// The child process of a plugin cannot start or has ended too early.
    #[error("{} cannot run in a child process: {why}", path.display())]
    Child {
        /// Path of the plugin.
        path: PathBuf,
        /// Cause.
        why: String,
    },
}
