//! What the server is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// A small IM server that embeds the gateway.
#[derive(Debug, Clone, Parser)]
#[command(
    after_help = "Two tabs chat, one closes, and the notification comes:\n  cargo run -p pushgate-im-server"
)]
pub struct Options {
    /// Where to listen; browsers take service workers from http on localhost only
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where messages, devices and the VAPID key are kept
    #[arg(long, default_value = "im-server-data")]
    pub data: PathBuf,
    /// A contact for the push services: mailto: or https:
    #[arg(long, default_value = "mailto:admin@example.com")]
    pub contact: String,
    /// A service account of a Firebase project, to push to FCM tokens as well
    #[arg(long)]
    pub service_account: Option<PathBuf>,
    /// Trust this authority alone, PEM (for an emulator)
    #[arg(long)]
    pub roots: Option<PathBuf>,
    /// Connect somewhere else for a host, as curl does: HOST=ADDRESS:PORT (for an emulator)
    #[arg(long, value_parser = connect_to)]
    pub connect_to: Vec<(String, SocketAddr)>,
    /// How long a client may take to say that it has a message before it is pushed as well
    #[arg(long, default_value_t = 5)]
    pub ack_seconds: u64,
    /// After how much silence a connection is taken for dead
    #[arg(long, default_value_t = 30)]
    pub silence_seconds: u64,
}

impl Options {
    /// How long a client may take to acknowledge.
    #[must_use]
    pub const fn ack(&self) -> Duration {
        Duration::from_secs(self.ack_seconds)
    }

    /// After how much silence a connection is dead.
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
