//! A plugin in a process of its own. The parent never loads the library; it starts itself again as `plugin-host`, speaks
//! frames over inherited sockets, keeps every delivery until its outcomes have come, and starts the child anew when it dies.

mod frame;
mod inside;
mod link;
mod outside;
mod render;
mod start;
mod supervise;

pub use inside::Role;
pub(crate) use outside::Isolated;
pub(crate) use start::Starter;

/// What a child may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Address space, in bytes: libraries, heap and stacks together.
    pub memory: u64,
    /// Open files.
    pub open_files: u64,
    /// Its whole environment: names and values.
    pub environment: Vec<(String, String)>,
}

impl Limits {
    /// What most plugins need.
    pub const MEMORY: u64 = 1024 * 1024 * 1024;
    /// Sockets are the gateway's; a plugin has few files of its own.
    pub const OPEN_FILES: u64 = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: Self::MEMORY, open_files: Self::OPEN_FILES, environment: Vec::new() }
    }
}
