//! `pushgate check`: does everything that `serve` does before it listens, and asks each push service whether it knows us.

use std::time::Duration;

use pushgate::app::App;
use pushgate::{AppId, PushChannel};
use pushgate_config::{Config, ConfigErrors, StorageKind};
use pushgate_sqlite::{SqliteStore, Usable};

use super::{Outcome, serve};
use crate::plugins::ABSENT_KIND;
use crate::{assemble, print_line};

/// The longest one probe may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(config: Config) -> Outcome {
    let mut errors = ConfigErrors::default();
    errors.extend(serve::filter(&config).err());
    errors.extend(crate::serve::user_keys(&config).err());
    storage(&config, &mut errors);
    let mut bad = 0;
    match assemble::Shared::of(&config) {
        Err(more) => errors.extend(more),
        Ok(shared) => {
            errors.extend(shared.plugin_problems(&config));
            let assembled = assemble::apps(&config, &shared);
            errors.extend(assembled.errors);
            for (id, app) in &assembled.apps {
                bad += probe_all(&config, (id, app), &mut errors).await;
            }
        }
    }
    if config.keys.is_empty() {
        print_line(
            "note  there are no [[keys]]: nobody can call this gateway. `pushgate keys new` makes one",
        );
    }
    errors.into_result()?;
    if bad > 0 { Err(format!("{bad} of the channels cannot send").into()) } else { Ok(()) }
}

/// Probes the channels of an app, and returns the number of those that cannot send.
async fn probe_all(config: &Config, (id, app): (&AppId, &App), errors: &mut ConfigErrors) -> usize {
    let mut bad = 0;
    for (name, installed) in app.channels() {
        let Some(configured) = config.apps.get(id).and_then(|app| app.channels.get(name)) else { continue };
        let channel = &installed.channel;
        if channel.info().kind == ABSENT_KIND {
            let why = "no plugin that could be loaded brings this kind; mend what is wrong with [[plugins]]";
            errors.push(configured.section.refuse("kind", why));
            continue;
        }
        let place = format!("apps.{id}.channels.{name} ({})", configured.kind);
        if let Err(why) = probe(&**channel, &place).await {
            bad += 1;
            print_line(format!("FAIL  {place}: {why}"));
        }
    }
    bad
}

async fn probe(channel: &dyn PushChannel, place: &str) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, channel.probe()).await {
        Ok(Ok(probe)) => {
            let until = probe.expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
            print_line(format!("ok    {place}: {}{until}", probe.identity));
            Ok(())
        }
        Ok(Err(fault)) => Err(format!("{fault}\n      {}", fault.row().advice)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// Checks that `serve` could open the database. Changes nothing in it.
fn storage(config: &Config, errors: &mut ConfigErrors) {
    let StorageKind::Sqlite { path } = &config.storage.kind else { return };
    match SqliteStore::check(path) {
        Ok(Usable::Free) => {}
        Ok(Usable::InUse) => {
            print_line(format!("note  {} is in use, as it is while a gateway runs on it", path.display()));
        }
        Err(error) => errors.push(config.refuse(&["storage", "path"], error.to_string())),
    }
}
