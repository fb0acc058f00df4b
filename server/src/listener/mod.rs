//! The API's listener: accepts connections up to a limit, and ends all of them by one deadline.
//!
//! It never waits for a client: one that sends no complete request gives its place to the next.

mod connections;
pub mod descriptors;
mod refuse;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use pushgate_config::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use connections::{Connections, Timeouts};
use refuse::Refusals;
use serve::Signals;

pub(crate) use connections::Connection;

/// First and longest pause after `accept` failed, for example because the process has no free descriptor.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Signals by which a shutdown ends requests.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled when the shutdown begins: a request whose body is not complete is refused.
    pub closing: CancellationToken,
    /// Cancelled shortly before the deadline: a request that is still served is answered with 503.
    pub cut: CancellationToken,
}

/// A bound listener.
pub(crate) struct Bound {
    listener: TcpListener,
    max_connections: usize,
    timeouts: Timeouts,
    protocols: auto::Builder<TokioExecutor>,
}

/// A listener that accepts connections. Dropping it closes all of them at once.
pub(crate) struct Listener {
    shutdown: Shutdown,
    abort: CancellationToken,
    tasks: TaskTracker,
    _abort_on_drop: DropGuard,
}

impl Bound {
    /// Binds the configured address.
    ///
    /// # Errors
    /// When the address is in use or not of this machine, or when the process may not open enough descriptors.
    pub(crate) async fn bind(config: &ServerConfig) -> io::Result<Self> {
        let max_connections = descriptors::max_connections(config.max_connections)?;
        let listener = TcpListener::bind(config.listen).await.map_err(|error| refused(config, &error))?;
        Ok(Self {
            listener,
            max_connections,
            timeouts: Timeouts { header: config.header_timeout, idle: config.idle_timeout },
            protocols: serve::protocols(config.max_header),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Begins to accept connections.
    pub(crate) fn serve(self, router: Router, shutdown: Shutdown) -> Listener {
        let abort = CancellationToken::new();
        let tasks = TaskTracker::new();
        let signals = Signals { closing: shutdown.closing.clone(), abort: abort.clone() };
        let accepting = Accepting {
            connections: Connections::new(self.max_connections, self.timeouts, signals.closing.clone()),
            refusals: Refusals::default(),
            router,
            protocols: self.protocols,
            signals,
            tasks: tasks.clone(),
        };
        tasks.spawn(accepting.run(self.listener));
        Listener { shutdown, _abort_on_drop: abort.clone().drop_guard(), abort, tasks }
    }
}

fn refused(config: &ServerConfig, error: &io::Error) -> io::Error {
    let listen = config.listen;
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "server.listen = {listen} is in use; stop the other process or choose another port (--set server.listen=IP:PORT)"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "server.listen = {listen} is no address of this machine; 0.0.0.0 or [::] is every interface"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("server.listen = {listen} is not permitted: {error}; choose a port above 1023")
        }
        _ => format!("server.listen = {listen}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

impl Listener {
    /// Stops accepting, closes connections without a request, and waits for requests until the deadline. Requests that are
    /// served then are answered with 503 a moment before it.
    pub(crate) async fn close(self, deadline: Instant) {
        self.shutdown.closing.cancel();
        self.tasks.close();
        let left = deadline.saturating_duration_since(Instant::now());
        let to_answer = (left / 10).min(Duration::from_secs(1));
        if tokio::time::timeout_at(deadline - to_answer, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!("the grace period ends; requests still open are refused");
        self.shutdown.cut.cancel();
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Everything the accept loop needs.
struct Accepting {
    connections: Arc<Connections>,
    refusals: Refusals,
    router: Router,
    protocols: auto::Builder<TokioExecutor>,
    signals: Signals,
    tasks: TaskTracker,
}

impl Accepting {
    async fn run(self, listener: TcpListener) {
        let signals = self.signals.clone();
        tokio::select! {
            biased;
            () = signals.closing.cancelled() => {}
            () = signals.abort.cancelled() => {}
            () = self.accept_all(&listener) => {}
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let mut pause = FIRST_PAUSE;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    self.admit(stream, peer).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    let has_evicted = self.connections.evict();
                    tracing::error!(%error, has_evicted, pause_ms = pause.as_millis(), "no connection can be accepted");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(slot) = self.connections.slot().await else {
            metrics::counter!("pushgate_connections_refused_total").increment(1);
            self.refusals.refuse(stream, &self.tasks);
            return;
        };
        // Without it the connection only is a little slower.
        let _ = stream.set_nodelay(true);
        let connection = self.connections.open(peer);
        let (router, protocols) = (self.router.clone(), self.protocols.clone());
        let signals = self.signals.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            serve::serve(stream, connection, router, protocols, signals).await;
        });
    }
}

/// Returns `true` if the error concerns the connection that was to be accepted, and says nothing of the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
