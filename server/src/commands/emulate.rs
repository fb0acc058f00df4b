//! `pushgate emulate`.

use std::path::PathBuf;

use clap::Args;
use pushgate_emulator::{AppleRules, ConfigurationFile, Emulator, MissingPushType, Options};

use super::Outcome;
use crate::print_line;

/// How the emulator is started.
#[derive(Args)]
pub(super) struct EmulateArgs {
    /// Where CA, credentials and a configuration for the gateway are written; a pushgate.toml that is there is kept
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
    /// Port of Apple's push service for development, the sandbox (0: any)
    #[arg(long, default_value_t = 8447)]
    sandbox_port: u16,
    /// Refuse two things that Apple refuses, and that get in the way of a first try: a push without a push type, and a
    /// key's second provider token within 20 minutes
    #[arg(long)]
    strict_apple: bool,
}

pub(super) async fn run(args: EmulateArgs) -> Outcome {
    let options = Options {
        port: args.port,
        control_port: args.control_port,
        mcs_port: args.mcs_port,
        apple_port: args.apple_port,
        sandbox_port: args.sandbox_port,
        apple_rules: if args.strict_apple { strict_rules() } else { lenient_rules() },
        directory: Some(args.dir.clone()),
        ..Options::default()
    };
    let emulator = Emulator::start(options).await?;
    for (what, place) in emulator.listen_addresses() {
        print_line(format!("{what:<10} {place}"));
    }
    let file = args.dir.join("pushgate.toml");
    let file = file.display();
    print_line(format!("gateway    pushgate serve --config {file}"));
    print_line(match emulator.configuration() {
        Some(ConfigurationFile::Kept) => format!("           {file} was there already and has been kept"),
        Some(ConfigurationFile::Outdated) => format!(
            "           {file} was there already and has been kept, but it does not fit the ports above; \
             delete it to have it written anew"
        ),
        _ => format!("           its key for callers is in {}", args.dir.join("pushgate.key").display()),
    });
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// A client that is started again signs another provider token, which Apple would refuse for 20 minutes.
fn lenient_rules() -> AppleRules {
    AppleRules { mint_every_s: 0, ..AppleRules::default() }
}

fn strict_rules() -> AppleRules {
    AppleRules { missing_push_type: MissingPushType::Refused, ..AppleRules::default() }
}
