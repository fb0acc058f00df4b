//! `pushgate plugin-host`: what the gateway starts for a plugin in a process of its own. Not for people.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pushgate_plugin_host::HostProcess;

/// What the parent says on the command line; the rest comes over the sockets.
#[derive(Args)]
pub(super) struct PluginHostArgs {
    /// The plugin
    path: PathBuf,
    /// What the file must be
    #[arg(long, value_parser = super::plugin::sha256)]
    sha256: Option<Sha256>,
    /// Address space in bytes
    #[arg(long)]
    memory: u64,
    /// Open files
    #[arg(long)]
    open_files: u64,
}

/// 32 bytes, as an argument.
#[derive(Clone, Copy)]
pub(super) struct Sha256(pub(super) [u8; 32]);

pub(super) fn run(args: PluginHostArgs) -> ExitCode {
    let PluginHostArgs { path, sha256, memory, open_files } = args;
    HostProcess { path, sha256: sha256.map(|hash| hash.0), memory, open_files }.run()
}
