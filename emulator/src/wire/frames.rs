//! Sits between an HTTP/2 server and its socket and sees whole frames go by: writes frames of our own between those of the
//! server, tells the [`Line`] which streams open and end, and half-closes when the line is to end. Knows frame heads only;
//! header compression and flow control stay the server's, which is why it may never drop a frame that touches them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::{End, Line, MAX_CONCURRENT_STREAMS};

/// `PRI * HTTP/2.0` and what follows it (RFC 9113 §3.4).
const PREFACE: usize = 24;
/// Above it the server has to wait until the socket has taken some.
const MOST_UNWRITTEN: usize = 256 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
/// END_STREAM of DATA and HEADERS, ACK of SETTINGS.
const FIRST_FLAG: u8 = 1;
const END_HEADERS: u8 = 4;

/// A socket with the line's frames between the server's.
pub(super) struct Frames<Io> {
    io: Io,
    line: Arc<Line>,
    out: BytesMut,
    outgoing: Cursor,
    /// The server's SETTINGS have gone by; nothing may precede them.
    greeted: bool,
    scratch: Box<[u8]>,
    arrived: BytesMut,
    incoming: Cursor,
    /// The peer has acknowledged the server's own SETTINGS; it knows of no others.
    acknowledged: bool,
}

/// A place in a stream of frames.
#[derive(Default)]
struct Cursor {
    head: [u8; 9],
    have: usize,
    left: usize,
    /// Within a header block, where no other frame may stand.
    in_block: bool,
}

struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Cursor {
    fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.in_block
    }

    /// Takes what is left of a payload; none when a head is next.
    fn payload<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let (taken, rest) = bytes.split_at(self.left.min(bytes.len()));
        self.left -= taken.len();
        *bytes = rest;
        Some(taken)
    }

    /// Takes bytes of a head; the head when it is whole.
    fn head(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let (taken, rest) = bytes.split_at((self.head.len() - self.have).min(bytes.len()));
        self.head[self.have..self.have + taken.len()].copy_from_slice(taken);
        self.have += taken.len();
        *bytes = rest;
        if self.have < self.head.len() {
            return None;
        }
        self.have = 0;
        let mut head = self.head.as_slice();
        let length = usize::try_from(head.get_uint(3)).unwrap_or(usize::MAX);
        let (kind, flags) = (head.get_u8(), head.get_u8());
        let stream = head.get_u32() & 0x7fff_ffff;
        self.left = length;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_block = flags & END_HEADERS == 0;
        }
        Some(Head { length, kind, flags, stream })
    }
}

impl<Io> Frames<Io> {
    pub(super) fn new(io: Io, line: Arc<Line>) -> Self {
        Self {
            io,
            line,
            out: BytesMut::new(),
            outgoing: Cursor::default(),
            greeted: false,
            scratch: vec![0; 16 * 1024].into(),
            arrived: BytesMut::new(),
            incoming: Cursor { left: PREFACE, ..Cursor::default() },
            acknowledged: false,
        }
    }

    /// Takes bytes of the server.
    fn take(&mut self, mut bytes: &[u8]) {
        let line = Arc::clone(&self.line);
        let mut state = line.state.lock();
        while !bytes.is_empty() {
            if let Some(payload) = self.outgoing.payload(&mut bytes) {
                self.out.extend_from_slice(payload);
                continue;
            }
            if self.outgoing.at_boundary() && self.greeted {
                self.out.unsplit(state.own.split());
            }
            let Some(head) = self.outgoing.head(&mut bytes) else { continue };
            if self.greeted {
                self.out.extend_from_slice(&self.outgoing.head);
            } else {
                self.greet(&head, state.limit);
                self.greeted = true;
            }
            let ends = matches!(head.kind, DATA | HEADERS) && head.flags & FIRST_FLAG != 0;
            if ends {
                state.ended(head.stream);
            } else if head.kind == RST_STREAM && state.reset(head.stream) {
                self.line.rung.notify_one();
            }
        }
    }

    /// The server's first frame, its SETTINGS, with the line's limit in front.
    fn greet(&mut self, head: &Head, limit: u32) {
        self.out.put_uint(head.length as u64 + 6, 3);
        self.out.extend_from_slice(&self.outgoing.head[3..]);
        self.out.put_u16(MAX_CONCURRENT_STREAMS);
        self.out.put_u32(limit);
    }

    /// Takes bytes of the peer, for the server to read. Acknowledgements of our own SETTINGS stay here.
    fn receive(&mut self, count: usize) {
        let mut state = self.line.state.lock();
        let mut bytes = &self.scratch[..count];
        while !bytes.is_empty() {
            if let Some(payload) = self.incoming.payload(&mut bytes) {
                self.arrived.extend_from_slice(payload);
                continue;
            }
            let Some(head) = self.incoming.head(&mut bytes) else { continue };
            let acknowledges = head.kind == SETTINGS && head.flags & FIRST_FLAG != 0;
            if acknowledges && self.acknowledged {
                continue;
            }
            self.acknowledged |= acknowledges;
            match head.kind {
                HEADERS => state.open(head.stream),
                RST_STREAM => state.ended(head.stream),
                _ => {}
            }
            self.arrived.extend_from_slice(&self.incoming.head);
        }
    }
}

impl<Io: AsyncWrite + Unpin> Frames<Io> {
    /// Writes what can be written, and closes our half when the line ends.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closes = {
            let mut state = self.line.state.lock();
            if matches!(state.end, End::Closed | End::Cut) {
                self.out.clear();
                return Poll::Ready(Ok(()));
            }
            let boundary = self.outgoing.at_boundary() && self.greeted;
            let closes = boundary && state.closes();
            if boundary {
                self.out.unsplit(state.own.split());
            }
            closes
        };
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if closes {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.line.state.lock().end = End::Closed;
            self.line.rung.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A server that only reads still has the line's frames to write; a failure shows in what it writes or reads next.
        let _ = this.advance(cx);
        while this.arrived.is_empty() {
            let mut scratch = ReadBuf::new(&mut this.scratch);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut scratch))?;
            let count = scratch.filled().len();
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            this.receive(count);
        }
        let count = this.arrived.len().min(buffer.remaining());
        buffer.put_slice(&this.arrived.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Frames<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.out.len() > MOST_UNWRITTEN {
            ready!(this.advance(cx))?;
        }
        this.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().advance(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.advance(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::fault::{Goaway, Last, Then};
    use crate::wire::Lines;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut all = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        all.extend_from_slice(&[kind, flags]);
        all.extend_from_slice(&stream.to_be_bytes());
        all.extend_from_slice(payload);
        all
    }

    /// Kind, flags, stream and payload of each.
    fn read(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let length = usize::try_from(bytes.get_uint(3)).unwrap();
            let (kind, flags, stream) = (bytes.get_u8(), bytes.get_u8(), bytes.get_u32());
            frames.push((kind, flags, stream, bytes.split_to_vec(length)));
        }
        frames
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

    /// A server's end with the line, and the peer's end.
    fn pair(limit: u32) -> (Frames<DuplexStream>, Arc<Lines>, Arc<Line>, DuplexStream) {
        let (near, far) = duplex(1024 * 1024);
        let lines = Arc::new(Lines::new(limit));
        let line = lines.open(None);
        (Frames::new(near, Arc::clone(&line)), lines, line, far)
    }

    async fn arrived(peer: &mut DuplexStream) -> Vec<u8> {
        let mut all = vec![0; 64 * 1024];
        let count = peer.read(&mut all).await.unwrap();
        all.truncate(count);
        all
    }

    #[tokio::test]
    async fn the_limit_stands_in_the_servers_first_settings() {
        let (mut server, _lines, _line, mut peer) = pair(7);
        server.write_all(&frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 64, 0])).await.unwrap();
        server.flush().await.unwrap();
        let [(SETTINGS, 0, 0, settings)] = &read(&arrived(&mut peer).await)[..] else { panic!("one frame") };
        assert_eq!(settings, &[0, 3, 0, 0, 0, 7, 0, 5, 0, 0, 64, 0]);
    }

    #[tokio::test]
    async fn a_frame_of_our_own_stands_between_the_servers_frames_and_never_within_a_header_block() {
        let (mut server, lines, _line, mut peer) = pair(100);
        let servers = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, 0, 1, b"begin"),
            frame(CONTINUATION, 0, 1, b"go on"),
            frame(CONTINUATION, END_HEADERS, 1, b"end"),
            frame(DATA, FIRST_FLAG, 1, b"body"),
        ];
        // Byte by byte, with an order before each.
        for (n, byte) in servers.concat().into_iter().enumerate() {
            lines.limit(u32::try_from(n).unwrap());
            server.write_all(&[byte]).await.unwrap();
        }
        server.flush().await.unwrap();
        let frames = read(&arrived(&mut peer).await);
        let kinds: Vec<_> = frames.iter().map(|(kind, ..)| *kind).collect();
        let block = kinds.iter().position(|kind| *kind == HEADERS).unwrap();
        assert_eq!(&kinds[block..block + 3], [HEADERS, CONTINUATION, CONTINUATION]);
        let own = frames.iter().filter(|(kind, ..)| *kind == SETTINGS).count() - 1;
        assert!(own > 20, "{own} frames of our own");
        let bodies: Vec<_> = frames.iter().filter(|(kind, ..)| *kind != SETTINGS).collect();
        assert_eq!(bodies.len(), 4, "and all of the server's");
        assert_eq!(bodies[3].3, b"body");
    }

    #[tokio::test]
    async fn the_server_hears_of_its_own_settings_only() {
        let (mut server, _lines, _line, mut peer) = pair(100);
        let acknowledged = frame(SETTINGS, FIRST_FLAG, 0, &[]);
        let ping = frame(6, 0, 0, &[0; 8]);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let sent =
            [&preface, &acknowledged, &ping, &acknowledged, &acknowledged, &ping].map(|f| f.clone()).concat();
        let mut heard = Vec::new();
        for byte in sent {
            peer.write_all(&[byte]).await.unwrap();
            // What is not a whole head yet is held back, so nothing may come.
            let some = tokio::time::timeout(std::time::Duration::ZERO, server.read_buf(&mut heard)).await;
            assert!(some.is_err() || some.unwrap().is_ok());
        }
        assert_eq!(heard, [preface, acknowledged, ping.clone(), ping].concat());
    }

    #[tokio::test]
    async fn a_line_that_drains_is_closed_when_its_last_answer_is_on_the_wire_and_no_sooner() {
        let (mut server, _lines, line, mut peer) = pair(100);
        server.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        peer.write_all(&[frame(HEADERS, 5, 1, b"a"), frame(HEADERS, 5, 3, b"b")].concat()).await.unwrap();
        let mut heard = Vec::new();
        server.read_buf(&mut heard).await.unwrap();
        assert!(line.admits(1), "the first is processed");
        let goaway = Goaway { last: Last::This, then: Then::Drain, ..Goaway::default() };
        assert_eq!(line.send_away(&goaway, Some(1)), Some(1));
        assert!(!line.admits(3), "the second is above the cut");
        server.write_all(&frame(HEADERS, END_HEADERS, 1, b"200")).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(line.end(), End::Drained, "its body is still to come");
        server.write_all(&frame(DATA, FIRST_FLAG, 1, b"body")).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(line.end(), End::Closed);
        server.write_all(&frame(6, FIRST_FLAG, 0, &[0; 8])).await.unwrap();
        server.flush().await.unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        let kinds: Vec<_> = read(&all).into_iter().map(|(kind, ..)| kind).collect();
        assert_eq!(kinds, [SETTINGS, 7, HEADERS, DATA], "nothing after the end");
    }

    #[tokio::test]
    async fn streams_over_the_limit_are_refused_and_make_room_when_they_end() {
        let (mut server, _lines, line, mut peer) = pair(1);
        server.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        peer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut heard = Vec::new();
        let sent = [frame(HEADERS, 5, 1, b"a"), frame(HEADERS, 5, 3, b"b"), frame(RST_STREAM, 0, 1, &[0; 4])];
        peer.write_all(&[sent.concat(), frame(HEADERS, 5, 5, b"c")].concat()).await.unwrap();
        server.read_buf(&mut heard).await.unwrap();
        assert_eq!([1, 3, 5].map(|id| line.refuses(id)), [false, true, false]);
    }
}
