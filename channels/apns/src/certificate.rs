//! What a push certificate says of itself: until when it is good, and for which topics. Reads these two facts of X.509 and
//! nothing else; it proves nothing, Apple does. Source: RFC 5280 §4.1, and Apple's extension 1.2.840.113635.100.6.3.6.

use pushgate::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use time::PrimitiveDateTime;
use time::macros::format_description;

/// The extension's identifier as it stands in DER (ITU-T X.690 §8.19).
const TOPICS: &[u8] = b"\x2a\x86\x48\x86\xf7\x63\x64\x06\x03\x06";

/// Tags of DER (ITU-T X.690 §8).
const CRITICAL: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// A push certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its last moment.
    pub(crate) ends_at: Timestamp,
    /// What it may be used for: bundle ids, some with a suffix. Empty where it does not say.
    pub(crate) topics: Vec<String>,
}

impl Certificate {
    /// The first certificate of a PEM text; `None` when there is none or it cannot be read.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let mut body = Der(Der(Der(&der).inside(SEQUENCE)?).inside(SEQUENCE)?);
        body.skip(VERSION);
        let (_serial, _algorithm, _issuer) = (body.next()?, body.next()?, body.next()?);
        let mut validity = Der(body.inside(SEQUENCE)?);
        let _begins = validity.next()?;
        let ends_at = moment(validity.next()?)?;
        Some(Self { ends_at, topics: topics(body)? })
    }

    /// Whether it may be used for the app, as far as it says.
    pub(crate) fn is_for(&self, app: &str) -> bool {
        let of_app = |topic: &String| {
            topic.strip_prefix(app).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.'))
        };
        self.topics.is_empty() || self.topics.iter().any(of_app)
    }
}

/// Bytes that are a row of DER elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and what is in it. `None` at the end, and where the bytes are not DER.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
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

    /// What is in the next element, when its tag is this.
    fn inside(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, inside)| inside)
    }

    /// Passes over an element that may be missing.
    fn skip(&mut self, tag: u8) {
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

/// The topics of Apple's extension, among the elements that come after the dates.
fn topics(mut rest: Der<'_>) -> Option<Vec<String>> {
    while let Some((tag, inside)) = rest.next() {
        if tag != EXTENSIONS {
            continue;
        }
        let mut extensions = Der(Der(inside).inside(SEQUENCE)?);
        while let Some((SEQUENCE, extension)) = extensions.next() {
            let mut extension = Der(extension);
            if extension.inside(OID)? == TOPICS {
                extension.skip(CRITICAL);
                let mut names = Der(Der(extension.inside(OCTETS)?).inside(SEQUENCE)?);
                // Each topic is followed by a list of what it is called.
                let texts = std::iter::from_fn(|| names.next()).filter(|(tag, _)| *tag == UTF8);
                return Some(texts.map(|(_, topic)| String::from_utf8_lossy(topic).into_owned()).collect());
            }
        }
    }
    Some(Vec::new())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, KeyPair, date_time_ymd};

    use super::*;

    /// A push certificate as Apple makes them, and its key, in PEM: for the app and its calls, until the end of 2024.
    pub(crate) fn certificate() -> String {
        let list = |items: &[&str]| {
            let inside: Vec<u8> = items
                .iter()
                .flat_map(|item| {
                    let name = [&[SEQUENCE, 5, UTF8, 3][..], b"app"].concat();
                    [&[UTF8, u8::try_from(item.len()).unwrap()], item.as_bytes(), &name].concat()
                })
                .collect();
            [&[SEQUENCE, u8::try_from(inside.len()).unwrap()], &inside[..]].concat()
        };
        let topics = list(&["com.example.MyApp", "com.example.MyApp.voip"]);
        made(|params| {
            let oid = [1, 2, 840, 113_635, 100, 6, 3, 6];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, topics));
        })
    }

    fn made(change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.not_after = date_time_ymd(2024, 12, 31);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_says_until_when_and_for_what_it_is_good() {
        let read = Certificate::read(&certificate()).unwrap();
        assert_eq!(read.ends_at.to_string(), "2024-12-31T00:00:00Z");
        assert_eq!(read.topics, ["com.example.MyApp", "com.example.MyApp.voip"]);
        assert!(read.is_for("com.example.MyApp"));
        assert!(!read.is_for("com.example.My") && !read.is_for("com.example.Other"));
    }

    #[test]
    fn the_years_after_2049_are_written_in_another_way() {
        let far = Certificate::read(&made(|params| params.not_after = date_time_ymd(2051, 1, 2))).unwrap();
        assert_eq!(far.ends_at.to_string(), "2051-01-02T00:00:00Z");
    }

    #[test]
    fn a_certificate_that_names_no_topic_may_be_used_for_any() {
        let read = Certificate::read(&made(|_| ())).unwrap();
        assert!(read.topics.is_empty() && read.is_for("com.example.Other"));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for text in ["", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----", "MIIB"] {
            assert_eq!(Certificate::read(text), None);
        }
    }

    proptest! {
        #[test]
        fn a_broken_certificate_never_makes_a_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            use base64::Engine as _;
            use base64::engine::general_purpose::STANDARD;
            let mut der = CertificateDer::from_pem_slice(certificate().as_bytes()).unwrap().to_vec();
            let at = at % der.len();
            der[at] = byte;
            der.truncate(der.len() - cut % 2 * (cut % der.len()));
            let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&der));
            let _ = Certificate::read(&text);
        }
    }
}
