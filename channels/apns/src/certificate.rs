//! Expiry and topics of a push certificate. Does not verify the certificate; Apple does.
//! Source: Apple's extension 1.2.840.113635.100.6.3.6 of X.509.

use pushgate::Timestamp;
use pushgate::x509::{self, Der};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Object identifier of the extension in DER (ITU-T X.690 §8.19).
const TOPICS: &[u8] = b"\x2a\x86\x48\x86\xf7\x63\x64\x06\x03\x06";

/// Tags of DER (ITU-T X.690 §8).
const UTF8: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;

/// Push certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// End of its validity.
    pub(crate) expires_at: Timestamp,
    /// Topics that it is valid for: bundle ids, some with a suffix. Empty if the certificate names none.
    pub(crate) topics: Vec<String>,
}

impl Certificate {
    /// Parses the first certificate of a PEM text. Returns `None` if there is none or it is invalid.
    pub(crate) fn from_pem(text: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(text.as_bytes()).ok()?;
        let parsed = x509::Certificate::from_der(&der)?;
        let list = parsed.extensions.iter().find(|(id, _)| *id == TOPICS);
        // A list of names follows each topic.
        let topics = match list {
            Some((_, list)) => Der(Der(list).content_of(SEQUENCE)?)
                .filter(|(tag, _)| *tag == UTF8)
                .map(|(_, topic)| String::from_utf8_lossy(topic).into_owned())
                .collect(),
            None => Vec::new(),
        };
        Some(Self { expires_at: parsed.ends_at, topics })
    }

    /// Returns `true` if the certificate is valid for the app, or names no topics.
    pub(crate) fn covers(&self, app: &str) -> bool {
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

    /// Returns a push certificate in Apple's form with its key, in PEM. It is valid for the app and its calls until the end
    /// of 2024.
    pub(crate) fn certificate() -> String {
        let list = |items: &[&str]| {
            let content: Vec<u8> = items
                .iter()
                .flat_map(|item| {
                    let name = [&[SEQUENCE, 5, UTF8, 3][..], b"app"].concat();
                    [&[UTF8, u8::try_from(item.len()).unwrap()], item.as_bytes(), &name].concat()
                })
                .collect();
            [&[SEQUENCE, u8::try_from(content.len()).unwrap()], &content[..]].concat()
        };
        let topics = list(&["com.example.MyApp", "com.example.MyApp.voip"]);
        build(|params| {
            let oid = [1, 2, 840, 113_635, 100, 6, 3, 6];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, topics));
        })
    }

    fn build(change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.not_after = date_time_ymd(2024, 12, 31);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        format!("{}{}", params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn expiry_and_topics_are_parsed_from_a_certificate() {
        let parsed = Certificate::from_pem(&certificate()).unwrap();
        assert_eq!(parsed.expires_at.to_string(), "2024-12-31T00:00:00Z");
        assert_eq!(parsed.topics, ["com.example.MyApp", "com.example.MyApp.voip"]);
        assert!(parsed.covers("com.example.MyApp"));
        assert!(!parsed.covers("com.example.My") && !parsed.covers("com.example.Other"));
    }

    #[test]
    fn an_expiry_after_2049_is_parsed() {
        let far =
            Certificate::from_pem(&build(|params| params.not_after = date_time_ymd(2051, 1, 2))).unwrap();
        assert_eq!(far.expires_at.to_string(), "2051-01-02T00:00:00Z");
    }

    #[test]
    fn a_certificate_that_names_no_topic_may_be_used_for_any() {
        let parsed = Certificate::from_pem(&build(|_| ())).unwrap();
        assert!(parsed.topics.is_empty() && parsed.covers("com.example.Other"));
    }

    #[test]
    fn an_invalid_certificate_is_refused() {
        for text in ["", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----", "MIIB"] {
            assert_eq!(Certificate::from_pem(text), None);
        }
    }

    proptest! {
        #[test]
        fn a_broken_certificate_never_causes_a_panic(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            use base64::Engine as _;
            use base64::engine::general_purpose::STANDARD;
            let mut der = CertificateDer::from_pem_slice(certificate().as_bytes()).unwrap().to_vec();
            let at = at % der.len();
            der[at] = byte;
            der.truncate(der.len() - cut % 2 * (cut % der.len()));
            let text = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&der));
            let _ = Certificate::from_pem(&text);
        }
    }
}
