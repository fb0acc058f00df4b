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

/// What a command may fail with: a sentence for a human.
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Offline push for IM servers.
#[derive(Parser)]
#[command(
    name = "pushgate",
    version,
    about,
    after_help = "Start here:\n  pushgate demo --once          one notification, end to end, on this machine\n  pushgate emulate              FCM, Web Push and APNs on this machine, to test against\n  pushgate serve --config FILE  the gateway"
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
    /// Run the vendors on this machine, with virtual devices and an inbox page
    #[command(
        after_help = "Examples:\n  pushgate emulate --dir emulator\n  pushgate serve --config emulator/pushgate.toml"
    )]
    Emulate(emulate::EmulateArgs),
    /// Watch one notification travel: HTTP in, storage, selector, push service, a device that shows it
    #[command(
        after_help = "Examples:\n  pushgate demo --once\n  pushgate demo --once --all     a web page, a Firefox and an iPhone at once\n  pushgate demo --once --json\n  pushgate demo                 stays, with an inbox page and a curl line to try"
    )]
    Demo(demo::DemoArgs),
    /// Send one notification through a running gateway and hear what became of it
    #[command(
        after_help = "Examples:\n  pushgate send --app demo --user bob --title Ann --content hello\n  pushgate send --app demo --token fcm:TOKEN --title test --content 'do you hear me?'"
    )]
    Send(send::SendArgs),
    /// Look into the queue of a running gateway
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Look at addresses that were pruned, and restore them
    #[command(subcommand)]
    Devices(devices::Devices),
    /// Check everything that serve does at its start, and probe every credential
    #[command(after_help = "Example:\n  pushgate check --config pushgate.toml")]
    Check(ConfigArgs),
    /// Print every configuration key with its default
    #[command(after_help = "Example:\n  pushgate config > pushgate.toml")]
    Config,
    /// Look at channel plugins, check them, begin one
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    #[command(hide = true)]
    PluginHost(plugin_host::PluginHostArgs),
    /// Make keys: for servers that call the gateway, and for Web Push
    #[command(subcommand)]
    Keys(Keys),
}

#[derive(Subcommand)]
enum Keys {
    /// Make a key: it is shown once, its digest goes into the configuration
    #[command(after_help = "Example:\n  pushgate keys new --app demo --scope send --scope devices")]
    New {
        /// An app the key is good for (again for more; none: all apps)
        #[arg(long = "app")]
        apps: Vec<String>,
        /// What it may do: send, devices, admin (again for more; none: send and devices)
        #[arg(long = "scope", value_parser = ["send", "devices", "admin"])]
        scopes: Vec<String>,
    },
    /// Make a VAPID key pair: the gateway signs with one half, pages subscribe with the other
    #[command(after_help = "Example:\n  pushgate keys vapid")]
    Vapid,
}

/// Where the configuration comes from.
#[derive(Args, Clone)]
struct ConfigArgs {
    /// The TOML file
    #[arg(long, env = "PUSHGATE_CONFIG")]
    config: Option<PathBuf>,
    /// One key, over file and environment: --set server.listen=127.0.0.1:9000
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
        // Before anything is opened: it gives up all it was born with.
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
            // Handled before there was a runtime.
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
    print_line(format!("The key, shown this once:\n\n  {key}\n\nInto the configuration:\n"));
    print_line(format!(
        "[[keys]]\nid = \"{}\"\nhash = \"sha256:{digest}\"\napps = {apps:?}\nscopes = {scopes:?}",
        &digest[..8]
    ));
}
