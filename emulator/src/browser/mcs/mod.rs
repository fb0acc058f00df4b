//! Mobile Connection Server: the one TLS connection over which a real browser gets its pushes.

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

use super::post::{Identity, Line, Order, Post};
use frame::{Decoder, Frame};
use stanza::Login;

/// A client that does not log in within this has no business here.
const LOGIN_PATIENCE: Duration = Duration::from_secs(30);

/// Why a connection ends before its time.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("the client sent what is not MCS")]
    Malformed,
    #[error("no login came")]
    Silent,
}

impl From<super::protobuf::Malformed> for Ended {
    fn from(_: super::protobuf::Malformed) -> Self {
        Self::Malformed
    }
}

/// Serves browsers until dropped; connections end with it.
pub(super) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, post: Arc<Post>) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, post) = (acceptor.clone(), Arc::clone(&post));
        connections.spawn(async move {
            if let Err(error) = connection(tcp, acceptor, &post).await {
                tracing::debug!(%error, "MCS connection ended");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(tcp: TcpStream, acceptor: TlsAcceptor, post: &Post) -> Result<(), Ended> {
    tcp.set_nodelay(true)?;
    // Browsers break off one or two handshakes right after their start.
    let mut wire = Wire { stream: acceptor.accept(tcp).await?, decoder: Decoder::default() };
    let first = tokio::time::timeout(LOGIN_PATIENCE, wire.read()).await.map_err(|_| Ended::Silent)??;
    let Some(first) = first else { return Ok(()) };
    if first.tag != frame::LOGIN_REQUEST {
        return Err(Ended::Malformed);
    }
    let login = Login::read(&first.body)?;
    let who = Identity { id: login.android_id, secret: login.security_token };
    let Ok(line) = post.log_in(who, &login.received) else {
        return wire.greet(&login.refused()).await;
    };
    let session = Session { post, who, line: line.number, received: 1, sent: 1 };
    wire.greet(&login.welcome(post.now_ms())).await?;
    session.run(wire, line).await
}

/// Frames over TLS.
struct Wire {
    stream: TlsStream<TcpStream>,
    decoder: Decoder,
}

impl Wire {
    /// The next frame; none at the end of the stream.
    async fn read(&mut self) -> Result<Option<Frame>, Ended> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame));
            }
            // Nothing is lost when a caller stops waiting here: what was read is in the decoder.
            match self.stream.read(&mut buffer).await? {
                0 => return Ok(None),
                length => self.decoder.take(&buffer[..length]),
            }
        }
    }

    /// The first frame, behind the version.
    async fn greet(&mut self, frame: &Frame) -> Result<(), Ended> {
        let mut bytes = vec![frame::VERSION];
        frame.write(&mut bytes);
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }
}

/// A device that has logged in; it is offline again when this is dropped.
struct Session<'a> {
    post: &'a Post,
    who: Identity,
    line: u64,
    /// Frames from the device, its login among them.
    received: u64,
    /// Frames to the device, the answer to its login among them.
    sent: u64,
}

impl Session<'_> {
    async fn run(mut self, mut wire: Wire, mut line: Line) -> Result<(), Ended> {
        loop {
            let mut out = Vec::new();
            while let Some(letter) = self.post.next(self.who, self.line, self.sent + 1) {
                self.send(&stanza::push(&letter, self.received), &mut out);
            }
            wire.write(&out).await?;
            tokio::select! {
                frame = wire.read() => {
                    let Some(frame) = frame? else { return Ok(()) };
                    let mut out = Vec::new();
                    if self.take(&frame, &mut out)? == Next::End {
                        return Ok(());
                    }
                    wire.write(&out).await?;
                }
                order = line.orders.recv() => match order {
                    Some(Order::Wake) => {}
                    Some(Order::Close) => {
                        let mut out = Vec::new();
                        self.send(&Frame::new(frame::CLOSE, Vec::new()), &mut out);
                        wire.write(&out).await?;
                        return Ok(wire.stream.shutdown().await?);
                    }
                    // Nobody gives orders any more: a later connection has taken over.
                    Some(Order::Cut) | None => return Ok(()),
                },
            }
        }
    }

    fn send(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        self.sent += 1;
        frame.write(out);
    }

    fn take(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<Next, Ended> {
        self.received += 1;
        if let Some(number) = stanza::acknowledged(frame)? {
            self.post.acknowledge(self.who, self.line, number);
        }
        match frame.tag {
            frame::PING => self.send(&stanza::heartbeat_ack(self.received), out),
            frame::CLOSE => return Ok(Next::End),
            // Acknowledgements, and what browsers say of themselves, need no answer.
            _ => {}
        }
        Ok(Next::GoOn)
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.post.log_out(self.who, self.line);
    }
}
