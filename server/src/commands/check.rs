//! `pushgate check`: is the configuration right, and does each vendor know us?

use std::time::Duration;

use pushgate_config::Config;

use super::Outcome;
use crate::{assemble, say};

/// The longest one probe may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(config: Config) -> Outcome {
    let mut bad = 0;
    let shared = assemble::Shared::of(&config)?;
    for (app, configured) in &config.apps {
        for (name, one) in &configured.channels {
            let channel = assemble::channel(app, name, one, &shared)?;
            let place = format!("apps.{app}.channels.{name} ({})", one.kind);
            match tokio::time::timeout(PATIENCE, channel.probe()).await {
                Ok(Ok(probe)) => {
                    let until = probe.expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
                    say(format!("ok    {place}: {}{until}", probe.identity));
                }
                Ok(Err(fault)) => {
                    bad += 1;
                    say(format!("FAIL  {place}: {fault}\n      {}", fault.row().advice));
                }
                Err(_) => {
                    bad += 1;
                    say(format!("FAIL  {place}: no answer within {PATIENCE:?}"));
                }
            }
        }
    }
    if config.keys.is_empty() {
        say("note  there are no [[keys]]: nobody can call this gateway. `pushgate keys new` makes one");
    }
    if bad > 0 { Err(format!("{bad} of the channels cannot send").into()) } else { Ok(()) }
}
