//! Subset of the protobuf wire format that check-in and MCS need: varints, 64-bit numbers and byte strings, without a
//! schema. Groups are refused.

/// Error for bytes that are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Message that is written field by field.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Appends a number as a varint.
    pub(super) fn varint(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        write_varint(&mut self.0, value);
        self
    }

    /// Appends a number as 64 bits.
    pub(super) fn fixed64(mut self, field: u32, value: u64) -> Self {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Appends a string, bytes or a nested message.
    pub(super) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, 2);
        write_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Returns the encoded message.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u32, kind: u64) {
        write_varint(&mut self.0, u64::from(field) << 3 | kind);
    }
}

pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a varint at the start. Returns its length and value, or `None` if it is incomplete.
pub(super) fn read_varint(bytes: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        // Only one bit of the tenth byte fits into 64 bits.
        if at == 9 && *byte > 1 {
            return Err(Malformed);
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, value)));
        }
    }
    Ok(None)
}

/// Value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A varint, or a number of fixed size.
    Number(u64),
    /// A string, bytes, or a nested message.
    Bytes(&'a [u8]),
}

/// Parsed message: its fields in the order of the bytes.
pub(super) struct Message<'a>(Vec<(u32, Value<'a>)>);

impl<'a> Message<'a> {
    pub(super) fn parse(mut bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = take_varint(&mut bytes)?;
            let field = u32::try_from(key >> 3).map_err(|_| Malformed)?;
            let value = match key & 7 {
                0 => Value::Number(take_varint(&mut bytes)?),
                1 => Value::Number(u64::from_le_bytes(take_array(&mut bytes)?)),
                2 => {
                    let length = usize::try_from(take_varint(&mut bytes)?).map_err(|_| Malformed)?;
                    Value::Bytes(take(&mut bytes, length)?)
                }
                5 => Value::Number(u64::from(u32::from_le_bytes(take_array(&mut bytes)?))),
                _ => return Err(Malformed),
            };
            fields.push((field, value));
        }
        Ok(Self(fields))
    }

    /// Returns a number. Of several, protobuf requires the last one.
    pub(super) fn number(&self, field: u32) -> Option<u64> {
        self.0.iter().rev().find_map(|(at, value)| match value {
            Value::Number(number) if *at == field => Some(*number),
            _ => None,
        })
    }

    /// Returns every byte string of a repeated field.
    pub(super) fn all_bytes(&self, field: u32) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |(at, value)| match value {
            Value::Bytes(bytes) if *at == field => Some(*bytes),
            _ => None,
        })
    }

    /// Returns a string. Of several, the last one.
    pub(super) fn text(&self, field: u32) -> Option<&'a str> {
        self.all_bytes(field).last().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let (length, value) = read_varint(bytes)?.ok_or(Malformed)?;
    *bytes = &bytes[length..];
    Ok(value)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (front, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(front)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    take(bytes, N)?.try_into().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_protobuf_encoding_guide_are_written_and_parsed() {
        assert_eq!(Writer::default().varint(1, 150).finish(), [0x08, 0x96, 0x01]);
        assert_eq!(Writer::default().bytes(2, "testing").finish(), b"\x12\x07testing");
        let message = Message::parse(b"\x08\x96\x01\x12\x07testing").unwrap();
        assert_eq!((message.number(1), message.text(2)), (Some(150), Some("testing")));
    }

    #[test]
    fn every_written_number_is_parsed_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let bytes = Writer::default().varint(3, value).fixed64(4, value).finish();
            let message = Message::parse(&bytes).unwrap();
            assert_eq!((message.number(3), message.number(4)), (Some(value), Some(value)));
        }
    }

    #[test]
    fn the_last_of_several_values_counts_and_a_repeated_field_returns_all() {
        let bytes = Writer::default().varint(1, 1).varint(1, 2).bytes(2, "a").bytes(2, "b").finish();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.number(1), message.text(2)), (Some(2), Some("b")));
        assert_eq!(message.all_bytes(2).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!((message.number(2), message.text(1), message.number(9)), (None, None, None));
    }

    #[test]
    fn truncated_overlong_and_group_messages_are_refused() {
        let whole = Writer::default().fixed64(7, 1).bytes(2, "abc").varint(70_000, 300).finish();
        assert!(Message::parse(&whole).is_ok());
        for end in [1, 5, 10, 12, whole.len() - 1] {
            assert!(Message::parse(&whole[..end]).is_err(), "{end} bytes");
        }
        assert!(Message::parse(&[0x0b]).is_err(), "a group");
        assert!(Message::parse(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(Message::parse(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err(), "longer than memory");
    }

    #[test]
    fn an_incomplete_varint_needs_more_bytes() {
        assert_eq!(read_varint(&[0x96]), Ok(None));
        assert_eq!(read_varint(&[0x96, 0x01, 0xff]), Ok(Some((2, 150))));
        assert_eq!(read_varint(&[0xff; 11]), Err(Malformed));
    }
}
