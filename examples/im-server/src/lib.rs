//! Small IM server that embeds the gateway: WebSocket, login, presence, stored messages, groups, calls, and a page.
//!
//! An example to read from top to bottom. It deliberately omits passwords, contacts, history, and more than one node.

mod calls;
mod hub;
mod mailbox;
mod options;
mod page;
mod push;
mod session;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

pub use options::Options;

/// Running server.
pub struct Running {
    /// Address that the server listens on.
    pub address: SocketAddr,
    hub: Arc<hub::Hub>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Running {
    /// Opens the files, starts the gateway, and listens.
    ///
    /// # Errors
    /// Returns an error if a file cannot be opened, a key is invalid, or the port is in use.
    pub async fn start(options: Options) -> Result<Self, Box<dyn std::error::Error>> {
        std::fs::create_dir_all(&options.data)?;
        let listener =
            TcpListener::bind(options.listen).await.map_err(|error| refused(options.listen, &error))?;
        let address = listener.local_addr()?;
        let hub = hub::Hub::open(&options).await?;
        let router = page::router(Arc::clone(&hub));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, hub, serving })
    }

    /// Closes all connections. Accepted messages without a push are pushed after the next start.
    pub async fn stop(self) {
        self.serving.abort();
        self.hub.close().await;
    }
}

/// Adds advice to the error of an address that cannot be bound.
fn refused(listen: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "--listen {listen} is in use; stop the other process or choose another port (--listen IP:PORT)"
            )
        }
        _ => format!("--listen {listen}: {error}"),
    }
}
