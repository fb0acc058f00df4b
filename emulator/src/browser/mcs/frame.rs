//! MCS frames: a version byte at the start of each direction, then tag, length and message, cut and joined by TCP as it likes.

use super::super::protobuf::{Malformed, read_varint, write_varint};

/// The version both sides speak.
pub(super) const VERSION: u8 = 41;
/// No client sends more; a longer frame is an attack or a mistake.
const LONGEST: u64 = 256 * 1024;

pub(super) const PING: u8 = 0;
pub(super) const PING_ACK: u8 = 1;
pub(super) const LOGIN_REQUEST: u8 = 2;
pub(super) const LOGIN_RESPONSE: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const IQ: u8 = 7;
pub(super) const DATA: u8 = 8;

/// A message with its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) tag: u8,
    pub(super) body: Vec<u8>,
}

impl Frame {
    pub(super) fn new(tag: u8, body: Vec<u8>) -> Self {
        Self { tag, body }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.tag);
        write_varint(out, self.body.len() as u64);
        out.extend_from_slice(&self.body);
    }
}

/// What has come in and is not a whole frame yet.
#[derive(Default)]
pub(super) struct Decoder {
    buffer: Vec<u8>,
    greeted: bool,
}

impl Decoder {
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        if !self.greeted {
            match self.buffer.first() {
                None => return Ok(None),
                Some(&VERSION) => self.greeted = true,
                Some(_) => return Err(Malformed),
            }
            self.buffer.remove(0);
        }
        let Some((&tag, rest)) = self.buffer.split_first() else { return Ok(None) };
        let Some((digits, length)) = read_varint(rest)? else { return Ok(None) };
        if length > LONGEST {
            return Err(Malformed);
        }
        let start = 1 + digits;
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
    fn frames_come_whole_however_they_were_cut() {
        let (bytes, frames) = stream();
        for size in [1, 2, 7, 200, bytes.len()] {
            let (mut decoder, mut met) = (Decoder::default(), Vec::new());
            for piece in bytes.chunks(size) {
                decoder.take(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    met.push(frame);
                }
            }
            assert_eq!(met, frames, "pieces of {size}");
        }
    }

    #[test]
    fn another_version_and_a_frame_without_end_are_refused() {
        let mut decoder = Decoder::default();
        decoder.take(b"GET / HTTP/1.1");
        assert_eq!(decoder.next(), Err(Malformed));
        let mut decoder = Decoder::default();
        decoder.take(&[VERSION, DATA, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(decoder.next(), Err(Malformed));
    }
}
