//! `pushgate serve`: runs the gateway until a signal ends it.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use metrics_exporter_prometheus::PrometheusBuilder;
use pushgate_config::{Config, ConfigError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{ConfigArgs, Outcome};
use crate::assemble::{self, SharedResources};
use crate::listener::descriptors;
use crate::plugins::Reloaded;
use crate::{print_line, serve};

pub(super) async fn run(args: ConfigArgs) -> Outcome {
    let config = args.clone().load()?;
    start_logging(&config)?;
    let descriptors = descriptors::raise_limit();
    tracing::debug!(descriptors, "limit of open descriptors");
    // Installed before the address is printed, because a reader of the address may send a signal at once.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    let shared = SharedResources::from_config(&config)?;
    let gateway = assemble::builder_with(&config, &shared)?.start().await?;
    let running = serve::open(&config, gateway, metrics).await?;
    print_line(format!("listening on http://{}", running.address));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(args.clone(), &shared),
        }
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// Reloads plugins and the configuration of their channels. Errors are logged, and the gateway continues unchanged.
fn reload(args: ConfigArgs, shared: &SharedResources) {
    let reloaded = args.load().and_then(|config| assemble::reload(&config, shared));
    match reloaded {
        Ok(Reloaded { replaced, unchanged }) => {
            for why in unchanged {
                tracing::error!(why, "a plugin's channel continues unchanged");
            }
            tracing::info!(replaced, "plugins reloaded; for other changes restart the gateway");
        }
        Err(errors) => {
            tracing::error!(%errors, "the configuration is invalid; everything continues unchanged")
        }
    }
}

/// Parses the configured log filter.
pub(super) fn filter(config: &Config) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(&config.log.level).map_err(|error| config.refuse(&["log", "level"], error.to_string()))
}

/// Starts logging to stderr, because stdout is for output.
fn start_logging(config: &Config) -> Outcome {
    let filter = filter(config)?;
    let has_colors = shows_colors(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(has_colors).with_writer(std::io::stderr);
    match config.log.format {
        pushgate_config::LogFormat::Json => builder.json().init(),
        pushgate_config::LogFormat::Text => builder.init(),
    }
    Ok(())
}

/// Returns `true` if the log is for a terminal and `NO_COLOR` is empty or not set (<https://no-color.org>).
fn shows_colors(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_colors_and_no_color_disables_them() {
        assert!(shows_colors(true, None));
        assert!(shows_colors(true, Some(OsStr::new(""))));
        assert!(!shows_colors(true, Some(OsStr::new("1"))));
        assert!(!shows_colors(false, None));
    }
}
