//! One HTTP/2 connection: every request meets what it meets, on its own stream.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::frames::Frames;
use super::line::{End, Line};
use super::{Asked, LARGEST_BODY, Peer, Port, Reply};
use crate::event::What;
use crate::fault::Then;
use crate::rig::{Met, meet};

/// How long a closed connection is read on. Closed at once with unread bytes, TCP would take back answers on their way.
const LINGER: Duration = Duration::from_secs(2);

/// One stream of a connection.
struct Exchange {
    port: Arc<Port>,
    peer: Peer,
    line: Arc<Line>,
    id: u32,
    respond: SendResponse<Bytes>,
}

pub(super) async fn serve(stream: TlsStream<TcpStream>, peer: Peer, line: Arc<Line>, port: Arc<Port>) {
    // The limit of streams is the line's, not the server's, which could not change it.
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(16 * 1024);
    let rig = port.keeper.rig();
    let refused = |reason: String| rig.tell(What::ConnectionRefused { reason });
    let mut connection = match builder.handshake(Frames::new(stream, Arc::clone(&line))).await {
        Ok(connection) => connection,
        Err(error) => return refused(format!("the client does not speak HTTP/2: {error}")),
    };
    let mut exchanges = JoinSet::new();
    let mut linger = None;
    loop {
        tokio::select! {
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    let id = respond.stream_id().into();
                    line.accepted(id);
                    let (port, peer, line) = (Arc::clone(&port), peer.clone(), Arc::clone(&line));
                    exchanges.spawn(Exchange { port, peer, line, id, respond }.run(request));
                    while exchanges.try_join_next().is_some() {}
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "connection ended");
                    // Other errors are the peer's own, or the end of the socket.
                    if error.is_library() {
                        refused(format!("the client broke HTTP/2: {error}"));
                    }
                    return;
                }
                None => return,
            },
            // There is something to write, which the next turn does; or the connection has come to its end.
            () = line.rung.notified() => {
                for stream in line.take_malformed() {
                    rig.tell(What::RequestRefused { stream, reason: "its headers are not valid HTTP/2" });
                }
                match line.end() {
                    End::Cut => return,
                    End::Closed if linger.is_none() => linger = Some(Box::pin(tokio::time::sleep(LINGER))),
                    _ => {}
                }
            },
            () = async { match &mut linger { Some(linger) => linger.await, None => pending().await } } => return,
        }
    }
}

impl Exchange {
    async fn run(mut self, request: http::Request<RecvStream>) {
        if self.line.refuses(self.id) {
            self.port.keeper.rig().tell(What::Refused { stream: self.id });
            self.respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let (head, body) = request.into_parts();
        let Some(body) = read(body).await else {
            let reason = "its body is longer than 1 MiB, or was broken off";
            self.port.keeper.rig().tell(What::RequestRefused { stream: self.id, reason });
            self.respond.send_reset(Reason::CANCEL);
            return;
        };
        if !self.line.admits(self.id) {
            // Above the GOAWAY's last stream: ignored until the connection ends.
            return pending().await;
        }
        let asked = Asked { head, body, peer: self.peer.clone() };
        let port = Arc::clone(&self.port);
        let site = port.site(&asked);
        match meet(site, &asked) {
            Met::Answer(reply) => self.answer(reply),
            Met::Late(reply, by) => tokio::select! {
                () = tokio::time::sleep(by) => self.answer(reply),
                () = self.given_up() => {}
            },
            Met::Hang => self.given_up().await,
            Met::Reset(code) => self.respond.send_reset(Reason::from(code)),
            Met::Close => self.line.cut(),
            Met::Away(goaway, reply) => {
                let last = self.line.send_away(&goaway, Some(self.id));
                if let Some(last) = last {
                    site.rig().tell(What::Goaway { last });
                }
                match reply {
                    // Cut off, nobody learns what became of it.
                    Some(_) if goaway.then == Then::Abrupt => pending().await,
                    Some(reply) => self.answer(reply),
                    None if last.is_none_or(|last| last >= self.id) => {
                        self.respond.send_reset(Reason::REFUSED_STREAM);
                    }
                    None => pending().await,
                }
            }
        }
    }

    /// The peer has reset the stream.
    async fn given_up(&mut self) {
        // An error means that the connection is gone.
        let _ = poll_fn(|cx| self.respond.poll_reset(cx)).await;
    }

    fn answer(&mut self, reply: Reply) {
        let (head, body) = reply.parts();
        // A stream that the peer has reset meanwhile takes no answer, and needs none.
        if let Ok(mut stream) = self.respond.send_response(head, body.is_empty())
            && !body.is_empty()
        {
            let _ = stream.send_data(body, true);
        }
    }
}

/// The body to its end; none when it is longer than any message, or broken off.
async fn read(mut body: RecvStream) -> Option<Bytes> {
    let mut all = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        if all.len() + chunk.len() > LARGEST_BODY {
            return None;
        }
        // Gives the window back; it fails only on a stream that has ended, which the next read tells.
        let _ = body.flow_control().release_capacity(chunk.len());
        all.extend_from_slice(&chunk);
    }
    Some(all.freeze())
}
