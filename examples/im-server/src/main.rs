//! Starts the IM server. `cargo run -p pushgate-im-server`, then open the address it prints in two tabs.

use clap::Parser;
use pushgate_im_server::{Options, Running};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let running = Running::start(Options::parse()).await?;
    tracing::info!("open http://localhost:{} in two tabs", running.address.port());
    tokio::signal::ctrl_c().await?;
    running.stop().await;
    Ok(())
}
