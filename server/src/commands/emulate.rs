//! `pushgate emulate`.

use std::path::PathBuf;

use clap::Args;
use pushgate_emulator::{Emulator, Options};

use super::Outcome;
use crate::say;

/// How the emulator is started.
#[derive(Args)]
pub(super) struct EmulateArgs {
    /// Where CA, credentials and a configuration for the gateway are written
    #[arg(long, default_value = "pushgate-emulator")]
    dir: PathBuf,
    /// Port of the vendor side (0: any)
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Port of control API and inbox page (0: any)
    #[arg(long, default_value_t = 8444)]
    control_port: u16,
    /// Port of the push connection of real browsers (0: any)
    #[arg(long, default_value_t = 8445)]
    mcs_port: u16,
    /// Port of Apple's push service (0: any)
    #[arg(long, default_value_t = 8446)]
    apple_port: u16,
}

pub(super) async fn run(args: EmulateArgs) -> Outcome {
    let options = Options {
        port: args.port,
        control_port: args.control_port,
        mcs_port: args.mcs_port,
        apple_port: args.apple_port,
        directory: Some(args.dir.clone()),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await?;
    for (what, place) in emulator.places() {
        say(format!("{what:<10} {place}"));
    }
    say(format!("gateway    pushgate serve --config {}/pushgate.toml", args.dir.display()));
    tokio::signal::ctrl_c().await?;
    Ok(())
}
