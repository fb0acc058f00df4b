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
    /// Port of APNs (0: any)
    #[arg(long, default_value_t = 8446)]
    apns_port: u16,
}

pub(super) async fn run(args: EmulateArgs) -> Outcome {
    let options = Options {
        port: args.port,
        control_port: args.control_port,
        mcs_port: args.mcs_port,
        apns_port: args.apns_port,
        directory: Some(args.dir.clone()),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await?;
    say(format!("vendors    {}", emulator.url()));
    say(format!("browsers   {}", emulator.mcs_url()));
    say(format!("APNs       {}, sandbox {}", emulator.apns().url(), emulator.apns().sandbox_url()));
    say(format!("inbox page {}", emulator.control_url()));
    say(format!("gateway    pushgate serve --config {}/pushgate.toml", args.dir.display()));
    tokio::signal::ctrl_c().await?;
    Ok(())
}
