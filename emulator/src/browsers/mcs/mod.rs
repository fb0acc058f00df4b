//! Mobile Connection Server (MCS): the TLS connection over which a Chromium gets its pushes.

mod frame;
mod stanza;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::registry::{ConnectionCommand, DeviceConnection, DeviceRegistry, Identity};
use frame::{Decoder, Frame};
use stanza::Login;

/// Time within which a client must log in.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Error that ends a connection.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the TLS connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("the client sent a message that is not MCS")]
    Malformed,
    #[error("the client sent no login in time")]
    LoginTimeout,
}

impl From<super::protobuf::Malformed> for ConnectionError {
    fn from(_: super::protobuf::Malformed) -> Self {
        Self::Malformed
    }
}

/// Serves browsers until the future is dropped. Dropping it ends all connections.
pub(super) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, registry: Arc<DeviceRegistry>) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, registry) = (acceptor.clone(), Arc::clone(&registry));
        connections.spawn(async move {
            if let Err(error) = connection(tcp, acceptor, &registry).await {
                tracing::debug!(%error, "MCS connection ended with an error");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    registry: &DeviceRegistry,
) -> Result<(), ConnectionError> {
    tcp.set_nodelay(true)?;
    // Browsers abort one or two handshakes right after their start.
    let mut frames = FrameStream { stream: acceptor.accept(tcp).await?, decoder: Decoder::default() };
    let first = tokio::time::timeout(LOGIN_TIMEOUT, frames.read())
        .await
        .map_err(|_| ConnectionError::LoginTimeout)??;
    let Some(first) = first else { return Ok(()) };
    if first.tag != frame::LOGIN_REQUEST {
        return Err(ConnectionError::Malformed);
    }
    let login = Login::parse(&first.body)?;
    let identity = Identity { id: login.android_id, secret: login.security_token };
    let Ok(connection) = registry.log_in(identity, &login.received) else {
        return frames.write_first(&login.refusal()).await;
    };
    let session = Session { registry, identity, connection: connection.number, received: 1, sent: 1 };
    frames.write_first(&login.response(registry.now_ms())).await?;
    session.run(frames, connection).await
}

/// Stream of frames over TLS.
struct FrameStream {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
}

impl FrameStream {
    /// Returns the next frame. `None` at the end of the stream.
    async fn read(&mut self) -> Result<Option<Frame>, ConnectionError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            // Cancelling the future here loses nothing, because the read bytes are in the decoder.
            match self.stream.read(&mut buffer).await? {
                0 => return Ok(None),
                length => self.decoder.push(&buffer[..length]),
            }
        }
    }

    /// Writes the version and the first frame.
    async fn write_first(&mut self, frame: &Frame) -> Result<(), ConnectionError> {
        let mut bytes = vec![frame::VERSION];
        frame.write(&mut bytes);
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectionError> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }
}

/// Session of a device that has logged in. Dropping it logs the device out.
struct Session<'a> {
    registry: &'a DeviceRegistry,
    identity: Identity,
    connection: u64,
    /// Number of frames from the device, including its login.
    received: u64,
    /// Number of frames to the device, including the response to its login.
    sent: u64,
}

impl Session<'_> {
    async fn run(
        mut self,
        mut frames: FrameStream,
        mut connection: DeviceConnection,
    ) -> Result<(), ConnectionError> {
        loop {
            let mut out = Vec::new();
            while let Some(push) = self.registry.next_push(self.identity, self.connection, self.sent + 1) {
                self.write_frame(&stanza::data(&push, self.received), &mut out);
            }
            frames.write(&out).await?;
            tokio::select! {
                frame = frames.read() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    let mut out = Vec::new();
                    if self.handle_frame(&frame, &mut out)? == SessionState::Closed {
                        return Ok(());
                    }
                    frames.write(&out).await?;
                }
                command = connection.commands.recv() => match command {
                    Some(ConnectionCommand::Wake) => {}
                    Some(ConnectionCommand::Close) => {
                        let mut out = Vec::new();
                        self.write_frame(&Frame::new(frame::CLOSE, Vec::new()), &mut out);
                        frames.write(&out).await?;
                        return Ok(frames.stream.shutdown().await?);
                    }
                    // The command channel is closed because a later connection has replaced this one.
                    Some(ConnectionCommand::Cut) | None => return Ok(()),
                },
            }
        }
    }

    /// Appends a frame to a buffer and counts it.
    fn write_frame(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        self.sent += 1;
        frame.write(out);
    }

    /// Handles a frame of the device. Its response is appended to the buffer.
    fn handle_frame(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<SessionState, ConnectionError> {
        self.received += 1;
        if let Some(number) = stanza::acknowledged(frame)? {
            self.registry.acknowledge_frames(self.identity, self.connection, number);
        }
        match frame.tag {
            frame::PING => self.write_frame(&stanza::heartbeat_ack(self.received), out),
            frame::CLOSE => return Ok(SessionState::Closed),
            // Acknowledgements and status messages of browsers need no response.
            _ => {}
        }
        Ok(SessionState::Open)
    }
}

#[derive(PartialEq, Eq)]
enum SessionState {
    Open,
    Closed,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.registry.log_out(self.identity, self.connection);
    }
}
