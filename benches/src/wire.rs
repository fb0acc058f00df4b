//! Minimal HTTP/2 for a vendor that gives every request the same answer. Parses frames but no headers.

use std::io;

use bytes::{Buf, BufMut, BytesMut};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: usize = 24;
/// The largest window there is (RFC 9113 §6.9.1), so that no client waits for one.
const WINDOW: u32 = 0x7fff_ffff;

/// SETTINGS with a limit of streams and endless windows: the first thing a server says.
pub(crate) fn greet(streams: u32, out: &mut BytesMut) {
    frame(SETTINGS, 0, 0, 12, out);
    for (setting, value) in [(3, streams), (4, WINDOW)] {
        out.put_u16(setting);
        out.put_u32(value);
    }
    frame(WINDOW_UPDATE, 0, 0, 4, out);
    out.put_u32(WINDOW - 65_535);
}

/// 200 and the body.
pub(crate) fn answer(stream: u32, body: &[u8], out: &mut BytesMut) {
    // `:status 200` is entry 8 of the static table, `content-type` entry 31 (RFC 7541).
    let head = b"\x88\x0f\x10\x10application/json";
    frame(HEADERS, END_HEADERS, stream, head.len(), out);
    out.put_slice(head);
    frame(DATA, END_STREAM, stream, body.len(), out);
    out.put_slice(body);
}

fn frame(kind: u8, flags: u8, stream: u32, length: usize, out: &mut BytesMut) {
    out.put_uint(length as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
}

/// State of the parser of a connection.
#[derive(Default)]
pub(crate) struct Frames {
    greeted: bool,
    /// Bytes of bodies since the window was last given back.
    taken: u32,
}

impl Frames {
    /// Reads whole frames: what asks for an answer at once gets it, and requests that have ended are told by stream.
    ///
    /// # Errors
    /// When it is not HTTP/2.
    pub(crate) fn read(
        &mut self,
        input: &mut BytesMut,
        out: &mut BytesMut,
        mut request: impl FnMut(u32, &mut BytesMut),
    ) -> io::Result<()> {
        if !self.greeted {
            if input.len() < PREFACE {
                return Ok(());
            }
            if !input.starts_with(b"PRI * HTTP/2.0") {
                return Err(io::Error::other("not HTTP/2"));
            }
            input.advance(PREFACE);
            self.greeted = true;
        }
        while let Some(head) = input.get(..9) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            if input.len() < 9 + length {
                break;
            }
            match kind {
                SETTINGS if flags & ACK == 0 => frame(SETTINGS, ACK, 0, 0, out),
                PING if flags & ACK == 0 => {
                    frame(PING, ACK, 0, 8, out);
                    out.put_slice(&input[9..17]);
                }
                DATA => self.taken += u32::try_from(length).unwrap_or(0),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                request(stream, out);
            }
            input.advance(9 + length);
        }
        if self.taken > 1 << 28 {
            frame(WINDOW_UPDATE, 0, 0, 4, out);
            out.put_u32(self.taken);
            self.taken = 0;
        }
        Ok(())
    }
}
