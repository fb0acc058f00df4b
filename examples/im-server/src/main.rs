//! Starts the IM server. `cargo run -p pushgate-im-server`, then open the address it prints in two tabs.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use pushgate_im_server::{Options, Running};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // As a sentence: returned from `main` it would be printed as a value of Rust.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let has_colors =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    tracing_subscriber::fmt().with_ansi(has_colors).with_writer(std::io::stderr).init();
    let running = Running::start(Options::parse()).await?;
    tracing::info!("open http://localhost:{} in two tabs", running.address.port());
    tokio::signal::ctrl_c().await?;
    running.stop().await;
    Ok(())
}
