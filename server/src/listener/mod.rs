//! The API's listener: accepts connections up to a limit, and ends all of them by one deadline.
//!
//! A client cannot block it: a connection without a complete request is closed when a new one needs its slot.

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

/// Bounds of the pause after `accept` failed, for example because the process has no free descriptor.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Signals of a shutdown to requests in progress.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled when the shutdown begins: a request whose body is not complete is refused.
    pub closing: CancellationToken,
    /// Cancelled shortly before the deadline: a request that is still served is answered with 503.
    pub cut: CancellationToken,
}

/// Bound listener that does not accept connections yet.
pub(crate) struct Bound {
    listener: TcpListener,
    max_connections: usize,
    timeouts: Timeouts,
    protocols: auto::Builder<TokioExecutor>,
}

/// Listener that accepts connections. Dropping it closes all of them at once.
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
    /// When the address is in use or not available on this machine, or when the process may not open enough descriptors.
    pub(crate) async fn bind(config: &ServerConfig) -> io::Result<Self> {
        let max_connections = descriptors::max_connections(config.max_connections)?;
        let listener = TcpListener::bind(config.listen).await.map_err(|error| bind_error(config, &error))?;
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

    /// Starts to accept connections.
    pub(crate) fn serve(self, router: Router, shutdown: Shutdown) -> Listener {
        let abort = CancellationToken::new();
        let tasks = TaskTracker::new();
        let signals = Signals { closing: shutdown.closing.clone(), abort: abort.clone() };
        let accept_loop = AcceptLoop {
            connections: Connections::new(self.max_connections, self.timeouts, signals.closing.clone()),
            refusals: Refusals::default(),
            router,
            protocols: self.protocols,
            signals,
            tasks: tasks.clone(),
        };
        tasks.spawn(accept_loop.run(self.listener));
        Listener { shutdown, _abort_on_drop: abort.clone().drop_guard(), abort, tasks }
    }
}

/// Describes why the configured address cannot be bound, and what to do.
fn bind_error(config: &ServerConfig, error: &io::Error) -> io::Error {
    let listen = config.listen;
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "server.listen = {listen} is in use; stop the other process or choose another port (--set server.listen=IP:PORT)"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "server.listen = {listen} is not an address of this machine; use 0.0.0.0 or [::] for every interface"
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
    /// Stops accepting, closes connections without a request, and waits for requests until the deadline.
    ///
    /// Requests that are still in progress are answered with 503 shortly before the deadline.
    pub(crate) async fn close(self, deadline: Instant) {
        self.shutdown.closing.cancel();
        self.tasks.close();
        let remaining = deadline.saturating_duration_since(Instant::now());
        let response_time = (remaining / 10).min(Duration::from_secs(1));
        if tokio::time::timeout_at(deadline - response_time, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!("grace period ends; requests in progress are refused");
        self.shutdown.cut.cancel();
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

/// State of the accept loop.
struct AcceptLoop {
    connections: Arc<Connections>,
    refusals: Refusals,
    router: Router,
    protocols: auto::Builder<TokioExecutor>,
    signals: Signals,
    tasks: TaskTracker,
}

impl AcceptLoop {
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
        let mut pause = MIN_PAUSE;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = MIN_PAUSE;
                    self.open(stream, peer).await;
                }
                Err(error) if is_connection_error(&error) => {}
                Err(error) => {
                    let has_evicted = self.connections.evict();
                    tracing::error!(%error, has_evicted, pause_ms = pause.as_millis(), "accept failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
        }
    }

    /// Serves a connection in a task, or refuses it if no slot is free.
    async fn open(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(slot) = self.connections.slot().await else {
            metrics::counter!("pushgate_connections_refused_total").increment(1);
            self.refusals.refuse(stream, &self.tasks);
            return;
        };
        // On failure the connection works, only slower.
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

/// Returns `true` if the error concerns only the connection that was to be accepted. The next `accept` may succeed.
fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
