//! What a push certificate says of itself: until when it is good, and for which topics. It proves nothing, Apple does.
//! Source: Apple's extension 1.2.840.113635.100.6.3.6 of X.509.

use pushgate::Timestamp;
use pushgate::x509::{self, Der};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The extension's identifier as it stands in DER (ITU-T X.690 §8.19).
const TOPICS: &[u8] = b"\x2a\x86\x48\x86\xf7\x63\x64\x06\x03\x06";

/// Tags of DER (ITU-T X.690 §8).
const UTF8: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;

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
        let read = x509::Certificate::read(&der)?;
        let list = read.extensions.iter().find(|(id, _)| *id == TOPICS);
        // Each topic is followed by a list of what it is called.
        let topics = match list {
            Some((_, list)) => Der(Der(list).inside(SEQUENCE)?)
                .filter(|(tag, _)| *tag == UTF8)
                .map(|(_, topic)| String::from_utf8_lossy(topic).into_owned())
                .collect(),
            None => Vec::new(),
        };
        Some(Self { ends_at: read.ends_at, topics })
    }

    /// Whether it may be used for the app, as far as it says.
    pub(crate) fn is_for(&self, app: &str) -> bool {
        let of_app = |topic: &String| {
            topic.strip_prefix(app).is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('.'))
        };
        self.topics.is_empty() || self.topics.iter().any(of_app)
    }
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
