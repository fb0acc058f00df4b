//! I/O adapter between the h2 server and its socket, at the level of whole frames.
//! It writes additional frames between those of the server, reports opened and ended streams to the [`Connection`], and
//! half-closes the socket at the end. It reads frame heads only. Header compression and flow control belong to the
//! server, so it must not drop a frame that affects them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Connection, ConnectionState, MAX_CONCURRENT_STREAMS};

/// Length of the connection preface `PRI * HTTP/2.0…` (RFC 9113 §3.4), in bytes.
const PREFACE_LENGTH: usize = 24;
/// Maximum of buffered outgoing bytes. Above it the server waits for the socket.
const MAX_UNWRITTEN: usize = 256 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
/// Flag END_STREAM of DATA and HEADERS, and ACK of SETTINGS.
const END_STREAM_OR_ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Socket that mixes the connection's own frames with those of the server.
pub(super) struct FrameIo<Io> {
    io: Io,
    connection: Arc<Connection>,
    outgoing_bytes: BytesMut,
    outgoing_position: FramePosition,
    /// `true` once the server's SETTINGS are written. No frame may precede them.
    settings_sent: bool,
    scratch: Box<[u8]>,
    incoming_bytes: BytesMut,
    incoming_position: FramePosition,
    /// `true` once the peer has acknowledged the server's own SETTINGS. The server knows of no others.
    settings_acknowledged: bool,
}

/// Position in a stream of frames.
#[derive(Default)]
struct FramePosition {
    head: [u8; 9],
    /// Number of bytes of the head that have been read.
    head_length: usize,
    /// Number of bytes of the payload that are still to come.
    remaining: usize,
    /// `true` within a header block, which no other frame may interrupt (RFC 9113 §4.3).
    in_header_block: bool,
}

struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FramePosition {
    /// Returns `true` where another frame may be inserted.
    fn is_at_boundary(&self) -> bool {
        self.head_length == 0 && self.remaining == 0 && !self.in_header_block
    }

    /// Takes bytes of the current payload. `None` if a head is next.
    fn payload<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        if self.remaining == 0 {
            return None;
        }
        let (taken, rest) = bytes.split_at(self.remaining.min(bytes.len()));
        self.remaining -= taken.len();
        *bytes = rest;
        Some(taken)
    }

    /// Takes bytes of a head. Returns the head when it is complete.
    fn head(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let (taken, rest) = bytes.split_at((self.head.len() - self.head_length).min(bytes.len()));
        self.head[self.head_length..self.head_length + taken.len()].copy_from_slice(taken);
        self.head_length += taken.len();
        *bytes = rest;
        if self.head_length < self.head.len() {
            return None;
        }
        self.head_length = 0;
        let mut head = self.head.as_slice();
        let length = usize::try_from(head.get_uint(3)).unwrap_or(usize::MAX);
        let (kind, flags) = (head.get_u8(), head.get_u8());
        let stream = head.get_u32() & 0x7fff_ffff;
        self.remaining = length;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_header_block = flags & END_HEADERS == 0;
        }
        Some(FrameHead { length, kind, flags, stream })
    }
}

impl<Io> FrameIo<Io> {
    pub(super) fn new(io: Io, connection: Arc<Connection>) -> Self {
        Self {
            io,
            connection,
            outgoing_bytes: BytesMut::new(),
            outgoing_position: FramePosition::default(),
            settings_sent: false,
            scratch: vec![0; 16 * 1024].into(),
            incoming_bytes: BytesMut::new(),
            incoming_position: FramePosition { remaining: PREFACE_LENGTH, ..FramePosition::default() },
            settings_acknowledged: false,
        }
    }

    /// Buffers bytes of the server, with pending frames of the connection in between.
    fn buffer_outgoing(&mut self, mut bytes: &[u8]) {
        let connection = Arc::clone(&self.connection);
        let mut inner = connection.inner.lock();
        while !bytes.is_empty() {
            if let Some(payload) = self.outgoing_position.payload(&mut bytes) {
                self.outgoing_bytes.extend_from_slice(payload);
                continue;
            }
            if self.outgoing_position.is_at_boundary() && self.settings_sent {
                self.outgoing_bytes.unsplit(inner.injected.split());
            }
            let Some(head) = self.outgoing_position.head(&mut bytes) else { continue };
            if self.settings_sent {
                self.outgoing_bytes.extend_from_slice(&self.outgoing_position.head);
            } else {
                self.write_settings_head(&head, inner.limit);
                self.settings_sent = true;
            }
            let ends_stream = matches!(head.kind, DATA | HEADERS) && head.flags & END_STREAM_OR_ACK != 0;
            if ends_stream {
                inner.stream_ended(head.stream);
            } else if head.kind == RST_STREAM && inner.stream_reset(head.stream) {
                self.connection.changed.notify_one();
            }
        }
    }

    /// Writes the head of the server's first frame, its SETTINGS, and the connection's stream limit as the first
    /// setting.
    fn write_settings_head(&mut self, head: &FrameHead, limit: u32) {
        self.outgoing_bytes.put_uint(head.length as u64 + 6, 3);
        self.outgoing_bytes.extend_from_slice(&self.outgoing_position.head[3..]);
        self.outgoing_bytes.put_u16(MAX_CONCURRENT_STREAMS);
        self.outgoing_bytes.put_u32(limit);
    }

    /// Buffers bytes of the peer for the server. Drops acknowledgements of SETTINGS that the server did not send.
    fn buffer_incoming(&mut self, count: usize) {
        let mut inner = self.connection.inner.lock();
        let mut bytes = &self.scratch[..count];
        while !bytes.is_empty() {
            if let Some(payload) = self.incoming_position.payload(&mut bytes) {
                self.incoming_bytes.extend_from_slice(payload);
                continue;
            }
            let Some(head) = self.incoming_position.head(&mut bytes) else { continue };
            let is_acknowledgement = head.kind == SETTINGS && head.flags & END_STREAM_OR_ACK != 0;
            if is_acknowledgement && self.settings_acknowledged {
                continue;
            }
            self.settings_acknowledged |= is_acknowledgement;
            match head.kind {
                HEADERS => inner.open(head.stream),
                RST_STREAM => inner.stream_ended(head.stream),
                _ => {}
            }
            self.incoming_bytes.extend_from_slice(&self.incoming_position.head);
        }
    }
}

impl<Io: AsyncWrite + Unpin> FrameIo<Io> {
    /// Writes the buffered bytes, and closes the sending half if the connection is to end.
    fn poll_write_buffered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_closing = {
            let mut inner = self.connection.inner.lock();
            if matches!(inner.lifecycle, ConnectionState::Closed | ConnectionState::Aborted) {
                self.outgoing_bytes.clear();
                return Poll::Ready(Ok(()));
            }
            let is_at_boundary = self.outgoing_position.is_at_boundary() && self.settings_sent;
            let is_closing = is_at_boundary && inner.close_if_drained();
            if is_at_boundary {
                self.outgoing_bytes.unsplit(inner.injected.split());
            }
            is_closing
        };
        while !self.outgoing_bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.outgoing_bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing_bytes.advance(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if is_closing {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.connection.inner.lock().lifecycle = ConnectionState::Closed;
            self.connection.changed.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for FrameIo<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A server that only reads must still write the connection's frames. An error shows up again at the next write
        // or read.
        let _ = this.poll_write_buffered(cx);
        while this.incoming_bytes.is_empty() {
            let mut scratch = ReadBuf::new(&mut this.scratch);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut scratch))?;
            let count = scratch.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.buffer_incoming(count);
        }
        let count = this.incoming_bytes.len().min(buffer.remaining());
        buffer.put_slice(&this.incoming_bytes.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for FrameIo<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing_bytes.len() > MAX_UNWRITTEN {
            ready!(this.poll_write_buffered(cx))?;
        }
        this.buffer_outgoing(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_write_buffered(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_buffered(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::fault::{AfterGoaway, Goaway, LastStream};
    use crate::wire::Connections;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Returns the frames in a sequence of complete frames.
    fn parse_frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let length = usize::try_from(bytes.get_uint(3)).unwrap();
            let (kind, flags, stream) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u32());
            frames.push(Frame { kind, flags, stream, payload: bytes.split_to_vec(length) });
        }
        frames
    }

    #[derive(Debug, PartialEq)]
    struct Frame {
        kind: u8,
        flags: u8,
        stream: u32,
        payload: Vec<u8>,
    }

    trait SplitToVec {
        fn split_to_vec(&mut self, length: usize) -> Vec<u8>;
    }

    impl SplitToVec for &[u8] {
        fn split_to_vec(&mut self, length: usize) -> Vec<u8> {
            let (taken, rest) = self.split_at(length);
            *self = rest;
            taken.to_vec()
        }
    }

    /// Returns the server's end of a connection, and the socket of its peer.
    fn test_connection(limit: u32) -> TestConnection {
        let (near, peer) = duplex(1024 * 1024);
        let connections = Arc::new(Connections::new(limit));
        let connection = connections.open(None);
        let server = FrameIo::new(near, Arc::clone(&connection));
        TestConnection { server, connections, connection, peer }
    }

    struct TestConnection {
        server: FrameIo<DuplexStream>,
        connections: Arc<Connections>,
        connection: Arc<Connection>,
        peer: DuplexStream,
    }

    async fn read_available(peer: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 64 * 1024];
        let count = peer.read(&mut bytes).await.unwrap();
        bytes.truncate(count);
        bytes
    }

    #[tokio::test]
    async fn the_stream_limit_is_part_of_the_servers_first_settings() {
        let TestConnection { mut server, mut peer, .. } = test_connection(7);
        server.write_all(&frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 64, 0])).await.unwrap();
        server.flush().await.unwrap();
        let payload = vec![0, 3, 0, 0, 0, 7, 0, 5, 0, 0, 64, 0];
        let expected = Frame { kind: SETTINGS, flags: 0, stream: 0, payload };
        assert_eq!(parse_frames(&read_available(&mut peer).await), [expected]);
    }

    #[tokio::test]
    async fn injected_frames_never_interrupt_a_header_block() {
        let TestConnection { mut server, connections, mut peer, .. } = test_connection(100);
        let server_frames = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, 0, 1, b"begin"),
            frame(CONTINUATION, 0, 1, b"go on"),
            frame(CONTINUATION, END_HEADERS, 1, b"end"),
            frame(DATA, END_STREAM_OR_ACK, 1, b"body"),
        ];
        // Written byte by byte, with a new limit before each byte.
        for (n, byte) in server_frames.concat().into_iter().enumerate() {
            connections.set_stream_limit(u32::try_from(n).unwrap());
            server.write_all(&[byte]).await.unwrap();
        }
        server.flush().await.unwrap();
        let frames = parse_frames(&read_available(&mut peer).await);
        let kinds: Vec<_> = frames.iter().map(|frame| frame.kind).collect();
        let block = kinds.iter().position(|kind| *kind == HEADERS).unwrap();
        assert_eq!(&kinds[block..block + 3], [HEADERS, CONTINUATION, CONTINUATION]);
        let injected = frames.iter().filter(|frame| frame.kind == SETTINGS).count() - 1;
        assert!(injected > 20, "{injected} injected frames");
        let others: Vec<_> = frames.iter().filter(|frame| frame.kind != SETTINGS).collect();
        assert_eq!(others.len(), 4, "all frames of the server are there");
        assert_eq!(others[3].payload, b"body");
    }

    #[tokio::test]
    async fn the_server_gets_only_the_acknowledgement_of_its_own_settings() {
        let TestConnection { mut server, mut peer, .. } = test_connection(100);
        let acknowledged = frame(SETTINGS, END_STREAM_OR_ACK, 0, &[]);
        let ping = frame(6, 0, 0, &[0; 8]);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let sent =
            [&preface, &acknowledged, &ping, &acknowledged, &acknowledged, &ping].map(|f| f.clone()).concat();
        let mut received = Vec::new();
        for byte in sent {
            peer.write_all(&[byte]).await.unwrap();
            // An incomplete head is held back, so the read may time out.
            let some = tokio::time::timeout(std::time::Duration::ZERO, server.read_buf(&mut received)).await;
            assert!(some.is_err() || some.unwrap().is_ok());
        }
        assert_eq!(received, [preface, acknowledged, ping.clone(), ping].concat());
    }

    #[tokio::test]
    async fn a_draining_connection_closes_only_after_its_last_response_is_written() {
        let TestConnection { mut server, connection, mut peer, .. } = test_connection(100);
        server.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        peer.write_all(&[frame(HEADERS, 5, 1, b"a"), frame(HEADERS, 5, 3, b"b")].concat()).await.unwrap();
        let mut received = Vec::new();
        server.read_buf(&mut received).await.unwrap();
        assert!(connection.accept_request(1), "the first is processed");
        let goaway = Goaway { last: LastStream::This, then: AfterGoaway::Drain, ..Goaway::default() };
        assert_eq!(connection.send_goaway(&goaway, Some(1)), Some(1));
        assert!(!connection.accept_request(3), "the second is above the last stream id");
        server.write_all(&frame(HEADERS, END_HEADERS, 1, b"200")).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(connection.lifecycle(), ConnectionState::Draining, "its body is still to come");
        server.write_all(&frame(DATA, END_STREAM_OR_ACK, 1, b"body")).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(connection.lifecycle(), ConnectionState::Closed);
        server.write_all(&frame(6, END_STREAM_OR_ACK, 0, &[0; 8])).await.unwrap();
        server.flush().await.unwrap();
        let mut received = Vec::new();
        peer.read_to_end(&mut received).await.unwrap();
        let kinds: Vec<_> = parse_frames(&received).into_iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds, [SETTINGS, 7, HEADERS, DATA], "nothing after the end");
    }

    #[tokio::test]
    async fn streams_above_the_limit_are_refused_until_another_one_ends() {
        let TestConnection { mut server, connection, mut peer, .. } = test_connection(1);
        server.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut received = Vec::new();
        let sent = [frame(HEADERS, 5, 1, b"a"), frame(HEADERS, 5, 3, b"b"), frame(RST_STREAM, 0, 1, &[0; 4])];
        peer.write_all(&[sent.concat(), frame(HEADERS, 5, 5, b"c")].concat()).await.unwrap();
        server.read_buf(&mut received).await.unwrap();
        assert_eq!([1, 3, 5].map(|id| connection.take_refused(id)), [false, true, false]);
    }
}
