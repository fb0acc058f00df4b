//! `pushgate check`: does everything that `serve` does before it listens, and probes the credentials at each push service.

use std::time::Duration;

use pushgate::app::App;
use pushgate::{AppId, PushChannel};
use pushgate_config::{Config, ConfigErrors, StorageKind};
use pushgate_sqlite::{SqliteStore, Usable};

use super::{Outcome, serve};
use crate::plugins::ABSENT_KIND;
use crate::{assemble, print_line};

/// Timeout of one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(config: Config) -> Outcome {
    let mut errors = ConfigErrors::default();
    errors.extend(serve::filter(&config).err());
    errors.extend(crate::serve::user_keys(&config).err());
    check_storage(&config, &mut errors);
    let mut failed_channels = 0;
    match assemble::SharedResources::from_config(&config) {
        Err(more) => errors.extend(more),
        Ok(shared) => {
            errors.extend(shared.plugin_problems(&config));
            let assembled = assemble::apps(&config, &shared);
            errors.extend(assembled.errors);
            for (id, app) in &assembled.apps {
                failed_channels += probe_all(&config, (id, app), &mut errors).await;
            }
        }
    }
    if config.keys.is_empty() {
        print_line(
            "note  there are no [[keys]], so nobody can call this gateway; `pushgate keys new` generates one",
        );
    }
    errors.into_result()?;
    if failed_channels > 0 {
        return Err(format!("{failed_channels} of the channels cannot send").into());
    }
    Ok(())
}

/// Probes the channels of an app. Returns the number of channels that cannot send.
async fn probe_all(config: &Config, (id, app): (&AppId, &App), errors: &mut ConfigErrors) -> usize {
    let mut failed_channels = 0;
    for (name, installed) in app.channels() {
        let Some(configured) = config.apps.get(id).and_then(|app| app.channels.get(name)) else { continue };
        let channel = &installed.channel;
        if channel.info().kind == ABSENT_KIND {
            let why = "no loaded plugin provides this kind; correct the errors of [[plugins]]";
            errors.push(configured.section.refuse("kind", why));
            continue;
        }
        let place = format!("apps.{id}.channels.{name} ({})", configured.kind);
        if let Err(why) = probe(&**channel, &place).await {
            failed_channels += 1;
            print_line(format!("FAIL  {place}: {why}"));
        }
    }
    failed_channels
}

async fn probe(channel: &dyn PushChannel, place: &str) -> Result<(), String> {
    match tokio::time::timeout(PROBE_TIMEOUT, channel.probe()).await {
        Ok(Ok(probe)) => {
            let until = probe.expires_at.map(|at| format!(", until {at}")).unwrap_or_default();
            print_line(format!("ok    {place}: {}{until}", probe.identity));
            Ok(())
        }
        Ok(Err(fault)) => Err(format!("{fault}\n      {}", fault.info().advice)),
        Err(_) => Err(format!("no answer within {PROBE_TIMEOUT:?}")),
    }
}

/// Checks that `serve` could open the database. Does not change it.
fn check_storage(config: &Config, errors: &mut ConfigErrors) {
    let StorageKind::Sqlite { path } = &config.storage.kind else { return };
    match SqliteStore::check(path) {
        Ok(Usable::Free) => {}
        Ok(Usable::InUse) => {
            print_line(format!("note  {} is in use, as it is while a gateway runs on it", path.display()));
        }
        Err(error) => errors.push(config.refuse(&["storage", "path"], error.to_string())),
    }
}
