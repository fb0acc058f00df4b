//! `pushgate plugin-host`: host process of one plugin. The gateway starts it; it is not a command for people.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pushgate_plugin_host::HostProcess;

/// Arguments from the gateway. Everything else comes over the sockets.
#[derive(Args)]
pub(super) struct PluginHostArgs {
    /// Path of the plugin
    path: PathBuf,
    /// Expected SHA-256 of the file
    #[arg(long, value_parser = super::plugin::sha256)]
    sha256: Option<Sha256>,
    /// Limit of the address space, in bytes
    #[arg(long)]
    memory: u64,
    /// Limit of open files
    #[arg(long)]
    open_files: u64,
}

/// SHA-256 hash as an argument.
#[derive(Clone, Copy)]
pub(super) struct Sha256(pub(super) [u8; 32]);

pub(super) fn run(args: PluginHostArgs) -> ExitCode {
    let PluginHostArgs { path, sha256, memory, open_files } = args;
    HostProcess { path, sha256: sha256.map(|hash| hash.0), memory, open_files }.run()
}
