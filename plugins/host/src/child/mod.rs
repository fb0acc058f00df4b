//! Plugins in child processes. The parent never loads the library. It starts its own program as `plugin-host` and exchanges
//! frames with it over inherited sockets. The parent keeps each delivery until its outcomes arrive, and restarts a child
//! that dies.

mod channel;
mod frame;
mod link;
mod process;
mod render;
mod start;
mod supervise;

pub(crate) use channel::ChildChannel;
pub use process::HostProcess;
pub(crate) use start::Starter;

/// Resource limits and environment of a child process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum address space in bytes: libraries, heap and stacks together.
    pub memory: u64,
    /// Maximum number of open files.
    pub open_files: u64,
    /// Complete environment: names and values. Nothing is inherited.
    pub environment: Vec<(String, String)>,
}

impl Limits {
    /// Default of [`Limits::memory`]: 1 GiB, which suffices for most plugins.
    pub const MEMORY: u64 = 1024 * 1024 * 1024;
    /// Default of [`Limits::open_files`]. The gateway opens the sockets, so a plugin needs few files.
    pub const OPEN_FILES: u64 = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Self::MEMORY, open_files: Self::OPEN_FILES, environment: Vec::new() }
    }
}
