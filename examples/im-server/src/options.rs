//! Command-line options of the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Small IM server that embeds the gateway.
#[derive(Debug, Clone, Parser)]
#[command(
    after_help = "Two tabs chat, one closes, and the notification comes:\n  cargo run -p pushgate-im-server"
)]
pub struct Options {
    /// Address to listen on; browsers accept service workers over http on localhost only
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder for messages, devices and the VAPID key
    #[arg(long, default_value = "im-server-data")]
    pub data: PathBuf,
    /// Contact for the push services: mailto: or https:
    #[arg(long, default_value = "mailto:admin@example.com")]
    pub contact: String,
    /// Service account of a Firebase project, to push to FCM tokens as well
    #[arg(long)]
    pub service_account: Option<PathBuf>,
    /// Only certificate authority to trust, PEM (for an emulator)
    #[arg(long)]
    pub roots: Option<PathBuf>,
    /// Connect somewhere else for a host, as curl does: HOST=ADDRESS:PORT (for an emulator)
    #[arg(long, value_parser = connect_to)]
    pub connect_to: Vec<(String, SocketAddr)>,
    /// Seconds for a client to acknowledge a message before it is pushed as well
    #[arg(long, default_value_t = 5)]
    pub ack_seconds: u64,
    /// Seconds without a frame after which a connection counts as dead
    #[arg(long, default_value_t = 30)]
    pub silence_seconds: u64,
}

impl Options {
    /// Returns the time for a client to acknowledge a message.
    #[must_use]
    pub const fn ack(&self) -> Duration {
        Duration::from_secs(self.ack_seconds)
    }

    /// Returns the time without a frame after which a connection counts as dead.
    #[must_use]
    pub const fn silence(&self) -> Duration {
        Duration::from_secs(self.silence_seconds)
    }
}

fn connect_to(text: &str) -> Result<(String, SocketAddr), String> {
    let (host, address) = text.split_once('=').ok_or("HOST=ADDRESS:PORT")?;
    let address = address.parse().map_err(|_| "after the = comes an address and a port, 127.0.0.1:8443")?;
    Ok((host.to_owned(), address))
}
