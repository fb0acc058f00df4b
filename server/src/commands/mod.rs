//! The command line.

mod check;
mod demo;
mod devices;
mod emulate;
mod http;
mod plugin;
mod plugin_host;
mod queue;
mod send;
mod serve;
mod vapid;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pushgate_config::{Config, Sources, process_environment};

use crate::print_line;

/// Result of a command. The error is printed as it is.
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Offline push for IM servers.
#[derive(Parser)]
#[command(
    name = "pushgate",
    version,
    about,
    after_help = "Start here:\n  pushgate demo --once          one notification, end to end, on this machine\n  pushgate emulate              emulated FCM, Web Push and APNs, to test against\n  pushgate serve --config FILE  the gateway"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C
    #[command(
        after_help = "Examples:\n  pushgate serve --config pushgate.toml\n  pushgate serve --config pushgate.toml --set server.listen=0.0.0.0:8080\n  PUSHGATE_LOG__LEVEL=debug pushgate serve --config pushgate.toml"
    )]
    Serve(ConfigArgs),
    /// Run emulated push services on this machine, with virtual devices and an inbox page
    #[command(
        after_help = "Examples:\n  pushgate emulate --dir emulator\n  pushgate serve --config emulator/pushgate.toml"
    )]
    Emulate(emulate::EmulateArgs),
    /// Send one notification end to end on this machine and print its timeline
    #[command(
        after_help = "Examples:\n  pushgate demo --once\n  pushgate demo --once --all     a web page, a Firefox and an iPhone at once\n  pushgate demo --once --json\n  pushgate demo                 keeps running, with an inbox page and a curl command"
    )]
    Demo(demo::DemoArgs),
    /// Send one notification through a running gateway and print its status
    #[command(
        after_help = "Examples:\n  pushgate send --app demo --user bob --title Ann --content hello\n  pushgate send --app demo --token fcm:TOKEN --title test --content 'do you hear me?'"
    )]
    Send(send::SendArgs),
    /// Inspect the queue of a running gateway
    #[command(subcommand)]
    Queue(queue::Queue),
    /// List pruned addresses, and restore them
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Check the configuration as serve does at startup, and probe every credential
    #[command(after_help = "Example:\n  pushgate check --config pushgate.toml")]
    Check(ConfigArgs),
    /// Print every configuration key with its default
    #[command(after_help = "Example:\n  pushgate config > pushgate.toml")]
    Config,
    /// Inspect, check and create channel plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    #[command(hide = true)]
    PluginHost(plugin_host::PluginHostArgs),
    /// Generate keys: for servers that call the gateway, and for Web Push
    #[command(subcommand)]
    Keys(Keys),
}

#[derive(Subcommand)]
enum Keys {
    /// Generate a server key: it is shown once, its digest goes into the configuration
    #[command(after_help = "Example:\n  pushgate keys new --app demo --scope send --scope devices")]
    New {
        /// App that the key is valid for; repeat for several [default: all apps]
        #[arg(long = "app")]
        apps: Vec<String>,
        /// Scope of the key: send, devices or admin; repeat for several [default: send, devices]
        #[arg(long = "scope", value_parser = ["send", "devices", "admin"])]
        scopes: Vec<String>,
    },
    /// Generate a VAPID key pair: the gateway signs with the private key, pages subscribe with the public key
    #[command(after_help = "Example:\n  pushgate keys vapid")]
    Vapid,
}

/// Sources of the configuration.
#[derive(Args, Clone)]
struct ConfigArgs {
    /// Configuration file in TOML
    #[arg(long, env = "PUSHGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Set one key; overrides file and environment: --set server.listen=127.0.0.1:9000
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl ConfigArgs {
    fn load(self) -> Result<Config, pushgate_config::ConfigErrors> {
        Config::load(&Sources {
            file: self.config.as_deref(),
            environment: process_environment(),
            flags: self.set,
        })
    }
}

pub(crate) fn run() -> ExitCode {
    let command = match Cli::parse().command {
        // Runs before anything is opened, because it closes all inherited descriptors.
        Command::PluginHost(args) => return plugin_host::run(args),
        other => other,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Emulate(args) => emulate::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Queue(command) => queue::run(command).await,
            Command::Devices(command) => devices::run(command).await,
            Command::Check(args) => check::run(args.load()?).await,
            Command::Config => {
                print_line(pushgate_config::DEFAULT_TOML.trim_end());
                Ok(())
            }
            Command::Keys(Keys::New { apps, scopes }) => {
                new_key(apps, scopes);
                Ok(())
            }
            Command::Keys(Keys::Vapid) => vapid::run(),
            Command::Plugin(command) => plugin::run(command).await,
            // Handled above, before the runtime was created.
            Command::PluginHost(_) => Ok(()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

fn failed(error: &(dyn std::error::Error + Send + Sync)) -> ExitCode {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes());
    ExitCode::FAILURE
}

fn new_key(apps: Vec<String>, scopes: Vec<String>) {
    let (key, digest) = crate::keys::new_key();
    let apps = if apps.is_empty() { vec!["*".to_owned()] } else { apps };
    let scopes = if scopes.is_empty() { vec!["send".to_owned(), "devices".to_owned()] } else { scopes };
    print_line(format!("The key, shown only once:\n\n  {key}\n\nAdd to the configuration:\n"));
    print_line(format!(
        "[[keys]]\nid = \"{}\"\nhash = \"sha256:{digest}\"\napps = {apps:?}\nscopes = {scopes:?}",
        &digest[..8]
    ));
}
