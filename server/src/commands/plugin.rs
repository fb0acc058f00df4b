//! `pushgate plugin`: inspects a plugin, checks it against the channel contract, and creates a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use pushgate::SystemClock;
use pushgate_config::{Config, PluginNetwork, Sources, process_environment};
use pushgate_plugin_host::{
    Check, CheckReport, DefaultTelemetry, Description, Entries, Finding, Isolation, Limits, Loader,
    PushService, Script, Source, Verdict, run_check,
};

use super::Outcome;
use super::plugin_host::Sha256;
use crate::{assemble, print_line};

/// Subcommands of `pushgate plugin`.
#[derive(Subcommand)]
pub(super) enum Plugin {
    /// Print the description and capability of a plugin; it is loaded in a separate process
    #[command(after_help = "Example:\n  pushgate plugin inspect plugins/libacme.so")]
    Inspect {
        /// Shared library of the plugin
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check a plugin against the contract of channels; without --live no request leaves this machine
    #[command(
        after_help = "Examples:\n  pushgate plugin check libacme.so --config check.toml\n  pushgate plugin check libacme.so --config check.toml --accepted '200 {\"ok\":true}' --dead '410 {}'\n  pushgate plugin check libacme.so --config check.toml --accepted '200 {\"results\":[$EACH]}' --each-accepted '{\"id\":\"$TOKEN\"}' --each-dead '{\"error\":\"gone\"}'\n  pushgate plugin check libacme.so --config check.toml --live DEVICE_TOKEN"
    )]
    Check(CheckArgs),
    /// Create a plugin in Rust that builds and passes the check
    #[command(
        after_help = "Example:\n  pushgate plugin new acme && cd acme && cargo build --release\n  pushgate plugin check target/release/libacme.so --config check.toml"
    )]
    New(NewArgs),
}

/// Plugin to check, and the push service that it is checked with.
#[derive(Args)]
pub(super) struct CheckArgs {
    /// Shared library of the plugin
    file: PathBuf,
    /// Configuration with a channel of the plugin's kind; credentials in it need not be valid without --live
    #[arg(long)]
    config: PathBuf,
    /// Response of the push service to an accepted message: STATUS BODY. $TOKEN is the token, $EACH the entries of a batch
    #[arg(long, default_value = "200 {}", value_parser = scripted_response)]
    accepted: (u16, String),
    /// Response for a dead token; enables the check of the order of outcomes
    #[arg(long, value_parser = scripted_response)]
    dead: Option<(u16, String)>,
    /// Text that replaces $EACH for each token, if one response covers a whole batch
    #[arg(long, value_name = "ENTRY")]
    each_accepted: Option<String>,
    /// Text that replaces $EACH for a dead token; enables the check of the order of outcomes
    #[arg(long, value_name = "ENTRY", requires = "each_accepted", conflicts_with = "dead")]
    each_dead: Option<String>,
    /// Send to this token at the real push service; a device shows the push
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["accepted", "dead", "each_accepted", "each_dead"])]
    live: Option<String>,
    /// Send to this token too, which the push service must report as dead
    #[arg(long, value_name = "TOKEN", requires = "live")]
    gone: Option<String>,
    /// Load the plugin into this process, where a crash ends the check
    #[arg(long)]
    in_process: bool,
}

/// Name and folder of the new plugin.
#[derive(Args)]
pub(super) struct NewArgs {
    /// Kind of channel that it provides: a-z, 0-9 and -, beginning with a letter
    name: String,
    /// Folder of the new plugin [default: its name]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Folder of the SDK [default: plugins/sdk of the source tree around this program or the current folder, else the public
    /// repository]
    #[arg(long)]
    sdk: Option<PathBuf>,
}

/// Parses `STATUS BODY`.
fn scripted_response(text: &str) -> Result<(u16, String), String> {
    let (status, body) = text.split_once(' ').unwrap_or((text, ""));
    match status.parse() {
        Ok(status @ 200..=599) => Ok((status, body.to_owned())),
        _ => Err("write a status and a body, like '200 {}'".to_owned()),
    }
}

/// Parses 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<Sha256, String> {
    let digit =
        |pair: usize| text.get(2 * pair..2 * pair + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(i).ok_or("write 64 hexadecimal digits")?;
    }
    if text.len() == 64 { Ok(Sha256(bytes)) } else { Err("write 64 hexadecimal digits".to_owned()) }
}

pub(super) async fn run(command: Plugin) -> Outcome {
    match command {
        Plugin::Inspect { file, json } => inspect(file, json),
        Plugin::Check(args) => check(args).await,
        Plugin::New(args) => new(args),
    }
}

fn inspect(path: PathBuf, as_json: bool) -> Outcome {
    let loader = Loader::new(Arc::new(SystemClock), Arc::new(DefaultTelemetry::default()));
    let source = Source { path, sha256: None, isolation: Isolation::Process(Limits::default()) };
    let plugin = loader.load(&source)?;
    if as_json {
        print_line(serde_json::to_string_pretty(plugin.description())?);
    } else {
        print_description(plugin.description());
    }
    Ok(())
}

fn print_description(plugin: &Description) {
    let capability = &plugin.capability;
    let tokens: Vec<_> = capability.token_kinds().iter().map(|kind| kind.as_str()).collect();
    let features: Vec<_> = capability.feature_names().collect();
    print_line(format!("kind         {}", plugin.kind));
    print_line(format!("version      {}", plugin.version));
    print_line(format!("interface    {}.{}", plugin.abi.0, plugin.abi.1));
    print_line(format!("description  {}", plugin.description));
    print_line(format!("tokens       {}", tokens.join(", ")));
    print_line(format!("batch        {}", capability.max_batch));
    print_line(format!("bytes        {}", capability.max_bytes));
    print_line(format!("timeout      {}", humantime::format_duration(capability.timeout)));
    print_line(format!("ttl          {}", humantime::format_duration(capability.max_ttl)));
    print_line(format!(
        "features     {}",
        if features.is_empty() { "none".to_owned() } else { features.join(", ") }
    ));
    if let Some(schema) = &plugin.config_schema {
        print_line(format!("configuration\n{schema}"));
    }
}

async fn check(args: CheckArgs) -> Outcome {
    let sources = Sources { file: Some(&args.config), environment: process_environment(), flags: Vec::new() };
    let loaded = Config::load(&sources)?;
    let telemetry = Arc::new(DefaultTelemetry::default());
    let (source, network) = source_to_check(&args, &loaded);
    let loader = Loader::new(Arc::new(SystemClock), Arc::clone(&telemetry) as _);
    let kind = loader.load(&source)?.description().kind.clone();
    let mut channels = loaded.apps.values().flat_map(|app| app.channels.values());
    let channel = channels
        .find(|channel| channel.kind == kind)
        .ok_or_else(|| format!("{}: no channel has the kind \"{kind}\"; add one", args.config.display()))?;
    let is_live = args.live.is_some();
    let service = match args.live {
        Some(live) => {
            let transport = assemble::plugin_transport(channel, network)?;
            PushService::Real { live, gone: args.gone, transport }
        }
        None => {
            let entries = args.each_accepted.map(|accepted| Entries { accepted, dead: args.each_dead });
            let script = Script { accepted: args.accepted, dead: args.dead, entries };
            if let Some(why) = script.find_problem() {
                return Err(format!("{why}: use --accepted and --each-accepted together").into());
            }
            PushService::Scripted(script)
        }
    };
    let config = channel.section.to_json();
    let CheckReport { findings, answers } =
        run_check(loader, telemetry, Check { source, config, service }).await?;
    let broken = findings.into_iter().filter(print_finding).count();
    if is_live {
        print_responses(&answers);
    }
    if broken > 0 { Err(format!("{broken} promises are broken").into()) } else { Ok(()) }
}

/// Prints a finding. Returns `true` if the promise is broken.
fn print_finding(finding: &Finding) -> bool {
    let Finding { promise, verdict } = finding;
    match verdict {
        Verdict::Passed => print_line(format!("ok    {promise}")),
        Verdict::PassedWithNote(note) => print_line(format!("ok    {promise}\n      {note}")),
        Verdict::NotChecked => {
            print_line(format!("-     {promise}: not checked, a real push service cannot be made to fail"))
        }
        Verdict::Failed(why) => print_line(format!("FAIL  {promise}\n      {why}")),
    }
    matches!(verdict, Verdict::Failed(_))
}

/// Prints the responses of a real push service, with their number.
fn print_responses(responses: &[(String, usize)]) {
    if responses.is_empty() {
        print_line(
            "no request went through the gateway's client: the plugin has a client of its own".to_owned(),
        );
    }
    for (response, times) in responses {
        print_line(format!("the push service answered {times} times: {response}"));
    }
}

/// Returns the plugin with its settings of `[[plugins]]`, or with the default settings if the configuration does not list it.
fn source_to_check(args: &CheckArgs, config: &Config) -> (Source, PluginNetwork) {
    let is_same_file = |path: &Path| path.canonicalize().ok() == args.file.canonicalize().ok();
    let configured = config.plugins.iter().find(|plugin| is_same_file(&plugin.path));
    let isolation = Isolation::Process(Limits::default());
    let mut source = configured
        .map_or_else(|| Source { path: args.file.clone(), sha256: None, isolation }, crate::plugins::source);
    if args.in_process {
        source.isolation = Isolation::None;
    }
    (source, configured.map_or(PluginNetwork::Public, |plugin| plugin.network))
}

/// Files of a new plugin, with `acme` in place of its name.
const TEMPLATE: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("../../../plugins/sdk/template/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../../plugins/sdk/template/src/lib.rs")),
    ("src/config.rs", include_str!("../../../plugins/sdk/template/src/config.rs")),
    ("src/channel.rs", include_str!("../../../plugins/sdk/template/src/channel.rs")),
    ("src/encode.rs", include_str!("../../../plugins/sdk/template/src/encode.rs")),
    ("src/decode.rs", include_str!("../../../plugins/sdk/template/src/decode.rs")),
    ("check.toml", include_str!("../../../plugins/sdk/template/check.toml")),
    ("README.md", include_str!("../../../plugins/sdk/template/README.md")),
];

fn new(args: NewArgs) -> Outcome {
    let NewArgs { name, dir, sdk } = args;
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts_with_letter = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_with_letter || name.len() > 64 || name.ends_with('-') || !name.chars().all(is_allowed) {
        return Err(
            format!("\"{name}\" is not a valid kind; write a-z, 0-9 and -, beginning with a letter").into()
        );
    }
    let folder = dir.unwrap_or_else(|| PathBuf::from(&name));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!(
            "{} exists and is not empty; choose another folder with --dir",
            folder.display()
        )
        .into());
    }
    let sdk = match sdk.or_else(find_sdk) {
        Some(path) => format!("path = {:?}", std::path::absolute(path)?.display().to_string()),
        None => format!("git = {:?}", env!("CARGO_PKG_REPOSITORY")),
    };
    for (path, text) in TEMPLATE {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(path, with_name(text, &name).replace("{ SDK }", &format!("{{ {sdk} }}")))?;
    }
    let folder = folder.display();
    print_line(format!(
        "created {folder} with the SDK from {sdk} (choose another with --sdk). Next:\n  cd {folder} && cargo build --release\n  pushgate plugin check target/release/lib{}.so --config check.toml --dead '410 {{}}'",
        name.replace('-', "_")
    ));
    Ok(())
}

/// Finds the SDK in the source tree around this program or the current folder. Returns `None` outside of one.
fn find_sdk() -> Option<PathBuf> {
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    let folders = starts.iter().flatten().flat_map(|start| start.ancestors());
    folders.map(|folder| folder.join("plugins/sdk")).find(|sdk| is_sdk(sdk))
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line == "name = \"pushgate-plugin-sdk\"")
}

/// Replaces `acme` by the name, in the spelling of files, types and variables.
fn with_name(text: &str, name: &str) -> String {
    let camel: String = name.split('-').filter(|part| !part.is_empty()).map(capitalised).collect();
    let crate_name = name.replace('-', "_");
    let replacements = [
        ("libacme", format!("lib{crate_name}")),
        ("ACME", crate_name.to_uppercase()),
        ("Acme", camel),
        ("acme", name.to_owned()),
    ];
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    // A single pass, because a name may itself contain `acme`.
    while let Some(next) = rest.chars().next() {
        let replacement = replacements.iter().find_map(|(from, to)| Some((rest.strip_prefix(from)?, to)));
        if let Some((after, to)) = replacement {
            named.push_str(to);
            rest = after;
        } else {
            named.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    named
}

fn capitalised(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_contains_the_placeholder_is_written_once() {
        let text = "libacme.so, Acme, env:ACME_KEY, kind = \"acme\"";
        assert_eq!(with_name(text, "acmer"), "libacmer.so, Acmer, env:ACMER_KEY, kind = \"acmer\"");
        assert_eq!(with_name(text, "my-acme"), "libmy_acme.so, MyAcme, env:MY_ACME_KEY, kind = \"my-acme\"");
    }
}
