//! Reads the expiry and the extensions of an X.509 certificate in DER, for checks of credentials. Verifies no signature.
//! Works within its input and returns `None` for unreadable bytes. Source: RFC 5280 §4.1, ITU-T X.690 §8.

use time::PrimitiveDateTime;
use time::macros::format_description;

use crate::timestamp::Timestamp;

// Tags of DER (ITU-T X.690 §8).
const CRITICAL: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// Expiry and extensions of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// Last moment of its validity.
    pub ends_at: Timestamp,
    /// Extensions as pairs of object identifier and value, both in DER.
    pub extensions: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Certificate<'a> {
    /// Parses a certificate in DER. `None` means that the bytes are no certificate.
    #[must_use]
    pub fn from_der(der: &'a [u8]) -> Option<Self> {
        let mut body = Der(Der(Der(der).content_of(SEQUENCE)?).content_of(SEQUENCE)?);
        body.skip_if(VERSION);
        let (_serial, _algorithm, _issuer) = (body.next()?, body.next()?, body.next()?);
        let mut validity = Der(body.content_of(SEQUENCE)?);
        let _begins = validity.next()?;
        let ends_at = moment(validity.next()?)?;
        Some(Self { ends_at, extensions: extensions(body)? })
    }
}

/// Sequence of DER elements.
#[derive(Debug, Clone)]
pub struct Der<'a>(pub &'a [u8]);

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);

    /// Returns tag and content of the next element. `None` means the end of the bytes, or bytes that are not DER.
    fn next(&mut self) -> Option<Self::Item> {
        let (&[tag, length], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            // Four bytes of length exceed every file that is read. Zero bytes (0x80) are BER, not DER.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

impl<'a> Der<'a> {
    /// Returns the content of the next element. `None` means that it has another tag.
    pub fn content_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(actual, _)| *actual == tag).map(|(_, content)| content)
    }

    /// Skips the next element if it has this tag.
    pub fn skip_if(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

fn moment((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let full = match tag {
        GENERALIZED_TIME => text.to_owned(),
        // Years of two digits: RFC 5280 §4.1.2.5.1.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        _ => return None,
    };
    let format = format_description!("[year][month][day][hour][minute][second]");
    let at = PrimitiveDateTime::parse(&full, format).ok()?.assume_utc();
    Some(Timestamp::from_millis(at.unix_timestamp().saturating_mul(1000)))
}

/// Returns the extensions among the elements after the validity.
fn extensions<'a>(rest: Der<'a>) -> Option<Vec<(&'a [u8], &'a [u8])>> {
    let mut pairs = Vec::new();
    for (tag, content) in rest {
        if tag != EXTENSIONS {
            continue;
        }
        let mut list = Der(Der(content).content_of(SEQUENCE)?);
        while let Some((SEQUENCE, extension)) = list.next() {
            let mut extension = Der(extension);
            let id = extension.content_of(OID)?;
            extension.skip_if(CRITICAL);
            pairs.push((id, extension.content_of(OCTETS)?));
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00"] {
            assert_eq!(Certificate::from_der(bytes), None, "{bytes:x?}");
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
