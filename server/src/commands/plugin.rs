//! `pushgate plugin`: look at a plugin.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use pushgate::SystemClock;
use pushgate_plugin_host::{Description, Isolation, Limits, Loader, Source, Told};

use super::Outcome;
use super::plugin_host::Sha256;
use crate::say;

/// What can be done with a plugin.
#[derive(Subcommand)]
pub(super) enum Plugin {
    /// Print what a plugin is and can do; it is loaded in a process of its own
    #[command(after_help = "Example:\n  pushgate plugin inspect plugins/libacme.so")]
    Inspect {
        /// The shared library
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Result<Sha256, String> {
    let digit =
        |pair: usize| text.get(2 * pair..2 * pair + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = digit(i).ok_or("write 64 hexadecimal digits")?;
    }
    if text.len() == 64 { Ok(Sha256(bytes)) } else { Err("write 64 hexadecimal digits".to_owned()) }
}

pub(super) fn run(command: Plugin) -> Outcome {
    match command {
        Plugin::Inspect { file, json } => inspect(file, json),
    }
}

fn inspect(path: PathBuf, as_json: bool) -> Outcome {
    let loader = Loader::new(Arc::new(SystemClock), Arc::new(Told::default()));
    let source = Source { path, sha256: None, isolation: Isolation::Process(Limits::default()) };
    let plugin = loader.load(&source)?;
    if as_json {
        say(serde_json::to_string_pretty(plugin.description())?);
    } else {
        tell(plugin.description());
    }
    Ok(())
}

fn tell(plugin: &Description) {
    let capability = &plugin.capability;
    let tokens: Vec<_> = capability.token_kinds().iter().map(|kind| kind.as_str()).collect();
    let features: Vec<_> = capability.feature_names().collect();
    say(format!("kind         {}", plugin.kind));
    say(format!("version      {}", plugin.version));
    say(format!("interface    {}.{}", plugin.abi.0, plugin.abi.1));
    say(format!("description  {}", plugin.description));
    say(format!("tokens       {}", tokens.join(", ")));
    say(format!("batch        {}", capability.max_batch));
    say(format!("bytes        {}", capability.max_bytes));
    say(format!("timeout      {}", humantime::format_duration(capability.timeout)));
    say(format!("ttl          {}", humantime::format_duration(capability.max_ttl)));
    say(format!(
        "features     {}",
        if features.is_empty() { "none".to_owned() } else { features.join(", ") }
    ));
    if let Some(schema) = &plugin.config_schema {
        say(format!("configuration\n{schema}"));
    }
}
