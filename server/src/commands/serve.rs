//! `pushgate serve`.

use metrics_exporter_prometheus::PrometheusBuilder;
use pushgate_config::{Config, LogConfig};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Outcome;
use crate::{assemble, say, serve};

pub(super) async fn run(config: Config) -> Outcome {
    log(&config.log)?;
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    let gateway = assemble::gateway(&config).await?;
    let running = serve::open(&config, gateway, metrics)
        .await
        .map_err(|error| format!("server.listen = {}: {error}", config.server.listen))?;
    say(format!("listening on http://{}", running.address));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// Logs go to stderr: stdout is for answers.
fn log(log: &LogConfig) -> Outcome {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| format!("log.level: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        pushgate_config::LogFormat::Json => builder.json().init(),
        pushgate_config::LogFormat::Text => builder.init(),
    }
    Ok(())
}
