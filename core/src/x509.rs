//! The few facts of an X.509 certificate that an operator wants to be told, read from DER. Verifies nothing: that is TLS's.
//! Bounded by its input, and gives `None` for whatever it cannot read. Source: RFC 5280 §4.1, ITU-T X.690 §8.

use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::words::Timestamp;

/// Tags of DER (ITU-T X.690 §8).
const CRITICAL: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// Its last moment.
    pub ends_at: Timestamp,
    /// Its extensions: identifier and value, both as they stand in DER.
    pub extensions: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER; `None` when it is none.
    #[must_use]
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let mut body = Der(Der(Der(der).inside(SEQUENCE)?).inside(SEQUENCE)?);
        body.pass_over(VERSION);
        let (_serial, _algorithm, _issuer) = (body.next()?, body.next()?, body.next()?);
        let mut validity = Der(body.inside(SEQUENCE)?);
        let _begins = validity.next()?;
        let ends_at = moment(validity.next()?)?;
        Some(Self { ends_at, extensions: extensions(body)? })
    }
}

/// Bytes that are a row of DER elements.
#[derive(Debug, Clone)]
pub struct Der<'a>(pub &'a [u8]);

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    /// The next element: its tag and what is in it. `None` at the end, and where the bytes are not DER.
    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, length], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            // Four bytes of length are more than any file we read; none at all is BER, not DER.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (inside, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, inside))
    }
}

impl<'a> Der<'a> {
    /// What is in the next element, when its tag is this.
    pub fn inside(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, inside)| inside)
    }

    /// Passes over an element that may be missing.
    pub fn pass_over(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

fn moment((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let full = match tag {
        GENERALIZED_TIME => text.to_owned(),
        // Two digits of a year: RFC 5280 §4.1.2.5.1.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        _ => return None,
    };
    let format = format_description!("[year][month][day][hour][minute][second]");
    let at = PrimitiveDateTime::parse(&full, format).ok()?.assume_utc();
    Some(Timestamp::from_millis(at.unix_timestamp().saturating_mul(1000)))
}

/// The extensions, among the elements that come after the dates.
fn extensions<'a>(rest: Der<'a>) -> Option<Vec<(&'a [u8], &'a [u8])>> {
    let mut found = Vec::new();
    for (tag, inside) in rest {
        if tag != EXTENSIONS {
            continue;
        }
        let mut list = Der(Der(inside).inside(SEQUENCE)?);
        while let Some((SEQUENCE, extension)) = list.next() {
            let mut extension = Der(extension);
            let id = extension.inside(OID)?;
            extension.pass_over(CRITICAL);
            found.push((id, extension.inside(OCTETS)?));
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00"] {
            assert_eq!(Certificate::read(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn the_two_ways_to_write_a_date_mean_the_same() {
        let full = moment((GENERALIZED_TIME, b"20241231000000Z"));
        assert_eq!(full.unwrap().to_string(), "2024-12-31T00:00:00Z");
        assert_eq!(moment((UTC_TIME, b"241231000000Z")), full);
        assert_eq!(moment((UTC_TIME, b"500101000000Z")).unwrap().to_string(), "1950-01-01T00:00:00Z");
        assert_eq!(moment((OID, b"241231000000Z")), None);
    }
}
