//! HTTP/2 connection. Each request gets the action that its service and the fault rules decide, on its own stream.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::connection::{Connection, ConnectionState};
use super::frame_io::FrameIo;
use super::{HttpRequest, HttpResponse, MAX_BODY, Peer, ServedPort};
use crate::event::EventKind;
use crate::fault::AfterGoaway;
use crate::service::{ServerAction, next_action};

/// Time for which a half-closed connection is still read. If a socket is closed with unread bytes, TCP discards
/// responses in flight.
const LINGER: Duration = Duration::from_secs(2);

/// Request and response on one stream.
struct StreamHandler {
    port: Arc<ServedPort>,
    peer: Peer,
    connection: Arc<Connection>,
    stream_id: u32,
    sender: SendResponse<Bytes>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    stream: TlsStream<TcpStream>,
    peer: Peer,
    connection: Arc<Connection>,
    port: Arc<ServedPort>,
) {
    // FrameIo announces the limit of streams, because the h2 server cannot change its own later.
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(16 * 1024);
    let context = port.default_service.context();
    let record_refusal = |reason: String| context.record(EventKind::ConnectionRefused { reason });
    let mut server = match builder.handshake(FrameIo::new(stream, Arc::clone(&connection))).await {
        Ok(server) => server,
        Err(error) => return record_refusal(format!("the client does not speak HTTP/2: {error}")),
    };
    let mut handlers = JoinSet::new();
    let mut linger = None;
    loop {
        tokio::select! {
            next = server.accept() => match next {
                Some(Ok((request, sender))) => {
                    let stream_id = sender.stream_id().into();
                    connection.request_received(stream_id);
                    let (port, peer, connection) = (Arc::clone(&port), peer.clone(), Arc::clone(&connection));
                    handlers.spawn(StreamHandler { port, peer, connection, stream_id, sender }.run(request));
                    while handlers.try_join_next().is_some() {}
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "HTTP/2 connection ended with an error");
                    // Other errors were sent by the peer, or mean that the socket is closed.
                    if error.is_library() {
                        record_refusal(format!("the client violated HTTP/2: {error}"));
                    }
                    return;
                }
                None => return,
            },
            // Either frames are pending, which the next poll writes, or the connection has ended.
            () = connection.changed.notified() => {
                for stream in connection.take_malformed() {
                    context.record(EventKind::RequestRefused { stream, reason: "its headers are not valid HTTP/2" });
                }
                match connection.lifecycle() {
                    ConnectionState::Aborted => return,
                    ConnectionState::Closed if linger.is_none() => linger = Some(Box::pin(tokio::time::sleep(LINGER))),
                    _ => {}
                }
            },
            () = async { match &mut linger { Some(linger) => linger.await, None => pending().await } } => return,
        }
    }
}

impl StreamHandler {
    /// Handles the request of the stream to its end.
    async fn run(mut self, request: http::Request<RecvStream>) {
        if self.connection.take_refused(self.stream_id) {
            self.port.default_service.context().record(EventKind::Refused { stream: self.stream_id });
            self.sender.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        let (head, body) = request.into_parts();
        let Some(body) = read_body(body).await else {
            let reason = "its body is longer than 1 MiB, or was cut off";
            self.port
                .default_service
                .context()
                .record(EventKind::RequestRefused { stream: self.stream_id, reason });
            self.sender.send_reset(Reason::CANCEL);
            return;
        };
        if !self.connection.accept_request(self.stream_id) {
            // A stream above the last id of a GOAWAY is ignored until the connection ends.
            return pending().await;
        }
        let request = HttpRequest { head, body, peer: self.peer.clone() };
        let port = Arc::clone(&self.port);
        let service = port.service(&request);
        match next_action(service, &request) {
            ServerAction::Respond(response) => self.send_response(response),
            ServerAction::RespondLater(response, delay) => tokio::select! {
                () = tokio::time::sleep(delay) => self.send_response(response),
                () = self.stream_reset() => {}
            },
            ServerAction::Hang => self.stream_reset().await,
            ServerAction::ResetStream(code) => self.sender.send_reset(Reason::from(code)),
            ServerAction::CloseConnection => self.connection.abort(),
            ServerAction::SendGoaway(goaway, response) => {
                let last = self.connection.send_goaway(&goaway, Some(self.stream_id));
                if let Some(last) = last {
                    service.context().record(EventKind::Goaway { last });
                }
                match response {
                    // The connection closes without a response.
                    Some(_) if goaway.then == AfterGoaway::Abrupt => pending().await,
                    Some(response) => self.send_response(response),
                    None if last.is_none_or(|last| last >= self.stream_id) => {
                        self.sender.send_reset(Reason::REFUSED_STREAM);
                    }
                    None => pending().await,
                }
            }
        }
    }

    /// Waits until the peer resets the stream.
    async fn stream_reset(&mut self) {
        // An error means that the connection has ended.
        let _ = poll_fn(|cx| self.sender.poll_reset(cx)).await;
    }

    fn send_response(&mut self, response: HttpResponse) {
        let (head, body) = response.into_parts();
        // Sending fails only if the peer has reset the stream and needs no response.
        if let Ok(mut stream) = self.sender.send_response(head, body.is_empty())
            && !body.is_empty()
        {
            let _ = stream.send_data(body, true);
        }
    }
}

/// Reads a body to its end. `None` if it exceeds [`MAX_BODY`] or is cut off.
async fn read_body(mut body: RecvStream) -> Option<Bytes> {
    let mut content = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.ok()?;
        if content.len() + chunk.len() > MAX_BODY {
            return None;
        }
        // Returns flow-control capacity to the peer. This fails only on an ended stream, which the next read reports.
        let _ = body.flow_control().release_capacity(chunk.len());
        content.extend_from_slice(&chunk);
    }
    Some(content.freeze())
}
