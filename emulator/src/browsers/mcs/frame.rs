//! MCS frames: a version byte at the start of each direction, then frames of tag, length and message.

use super::super::protobuf::{Malformed, read_varint, write_varint};

/// Version of the protocol.
pub(super) const VERSION: u8 = 41;
/// Maximum frame in bytes. No client sends a longer one.
const MAX_FRAME_SIZE: u64 = 256 * 1024;

pub(super) const PING: u8 = 0;
pub(super) const PING_ACK: u8 = 1;
pub(super) const LOGIN_REQUEST: u8 = 2;
pub(super) const LOGIN_RESPONSE: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const IQ: u8 = 7;
pub(super) const DATA: u8 = 8;

/// Message with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) tag: u8,
    pub(super) body: Vec<u8>,
}

impl Frame {
    pub(super) fn new(tag: u8, body: Vec<u8>) -> Self {
        Self { tag, body }
    }

    /// Appends the encoded frame to a buffer.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.tag);
        write_varint(out, self.body.len() as u64);
        out.extend_from_slice(&self.body);
    }
}

/// Decoder of frames that arrive in arbitrary pieces.
#[derive(Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    version_received: bool,
}

impl Decoder {
    /// Adds received bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete frame. `None` if more bytes are needed.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        if !self.version_received {
            match self.buffer.first() {
                None => return Ok(None),
                Some(&VERSION) => self.version_received = true,
                Some(_) => return Err(Malformed),
            }
            self.buffer.remove(0);
        }
        let Some((&tag, rest)) = self.buffer.split_first() else { return Ok(None) };
        let Some((varint_length, length)) = read_varint(rest)? else { return Ok(None) };
        if length > MAX_FRAME_SIZE {
            return Err(Malformed);
        }
        let start = 1 + varint_length;
        let end = start + usize::try_from(length).map_err(|_| Malformed)?;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let body = self.buffer[start..end].to_vec();
        self.buffer.drain(..end);
        Ok(Some(Frame { tag, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (Vec<u8>, [Frame; 3]) {
        let frames =
            [Frame::new(LOGIN_REQUEST, vec![1; 300]), Frame::new(PING, Vec::new()), Frame::new(IQ, vec![2])];
        let mut bytes = vec![VERSION];
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        (bytes, frames)
    }

    #[test]
    fn frames_are_decoded_from_pieces_of_any_size() {
        let (bytes, frames) = stream();
        for size in [1, 2, 7, 200, bytes.len()] {
            let (mut decoder, mut decoded) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    decoded.push(frame);
                }
            }
            assert_eq!(decoded, frames, "pieces of {size}");
        }
    }

    #[test]
    fn another_version_and_an_endless_frame_are_refused() {
        let mut decoder = Decoder::default();
        decoder.push(b"GET / HTTP/1.1");
        assert_eq!(decoder.next(), Err(Malformed));
        let mut decoder = Decoder::default();
        decoder.push(&[VERSION, DATA, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(decoder.next(), Err(Malformed));
    }
}
