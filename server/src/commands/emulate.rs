//! `pushgate emulate`: runs emulated push services with virtual devices.

use std::path::PathBuf;

use clap::Args;
use pushgate_emulator::{AppleRules, ConfigurationFile, Emulator, MissingPushType, Options};

use super::Outcome;
use crate::print_line;

/// Options of the emulator.
#[derive(Args)]
pub(super) struct EmulateArgs {
    /// Directory for the CA, credentials and a configuration of the gateway; an existing pushgate.toml is kept
    #[arg(long, default_value = "pushgate-emulator")]
    dir: PathBuf,
    /// Port of the push services (0: any free port)
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Port of control API and inbox page (0: any free port)
    #[arg(long, default_value_t = 8444)]
    control_port: u16,
    /// Port of the push connection of real browsers (0: any free port)
    #[arg(long, default_value_t = 8445)]
    mcs_port: u16,
    /// Port of Apple's push service (0: any free port)
    #[arg(long, default_value_t = 8446)]
    apple_port: u16,
    /// Port of Apple's push service for development, the sandbox (0: any free port)
    #[arg(long, default_value_t = 8447)]
    sandbox_port: u16,
    /// Apply two of Apple's rules that hinder a first try: refuse a push without a push type, and a
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
    for (name, address) in emulator.listen_addresses() {
        print_line(format!("{name:<10} {address}"));
    }
    let file = args.dir.join("pushgate.toml");
    let file = file.display();
    print_line(format!("gateway    pushgate serve --config {file}"));
    print_line(match emulator.configuration() {
        Some(ConfigurationFile::Kept) => format!("           {file} existed and has been kept"),
        Some(ConfigurationFile::Outdated) => format!(
            "           {file} existed and has been kept, but its ports differ from those above; \
             delete it to have it written again"
        ),
        _ => format!("           its key for callers is in {}", args.dir.join("pushgate.key").display()),
    });
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Returns rules without the limit of one provider token per 20 minutes: a restarted client signs another one.
fn lenient_rules() -> AppleRules {
    AppleRules { mint_every_s: 0, ..AppleRules::default() }
}

fn strict_rules() -> AppleRules {
    AppleRules { missing_push_type: MissingPushType::Refused, ..AppleRules::default() }
}
