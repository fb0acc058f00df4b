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
            if ends || head.kind == RST_STREAM {
                state.ended(head.stream);
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
