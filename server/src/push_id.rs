//! The push id of ZPNs clients: an envelope in base64 that says which push service gave which token. The integers in it
//! are of this envelope alone (the SDKs number the services in ways that disagree) and end here.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};
use pushgate::{Platform, Secret};

use crate::assemble::PUSH_ID_SERVICES;

/// The longest text looked at: the longest token, its names, and a third more for base64.
const LONGEST: usize = 8192;
const MAGIC: u8 = 0xAF;
const VERSION: [u8; 2] = [0, 1];
const HEAD: usize = 9;

/// What an envelope says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushId {
    /// Whether the app is a production build.
    pub production: bool,
    /// Which push service.
    pub service: Service,
    /// The device's country, where it says so.
    pub country: String,
    /// The version of the SDK that made it.
    pub sdk: String,
    /// The token; empty when the device is to be unbound.
    pub token: Secret,
}

/// A push service, by the envelope's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service(pub u8);

/// What a service means to us. The table itself stands where services have names: in `assemble.rs`.
pub(crate) struct Row {
    /// Its number in the envelope.
    pub(crate) number: u8,
    /// What its devices run on.
    pub(crate) platform: Platform,
    /// Who makes them, where that is known.
    pub(crate) manufacturer: Option<&'static str>,
    /// The kinds of channels that understand its tokens, the likeliest first.
    pub(crate) kinds: &'static [&'static str],
    /// The kind that understands a subscription in the token's place.
    pub(crate) subscriptions: Option<&'static str>,
}

/// Why a text is no push id. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPushId {
    /// No base64, or too long.
    #[error("is not base64 of at most {LONGEST} characters")]
    Encoding,
    /// Something else in base64.
    #[error("does not begin as a push id of version 1 does")]
    Magic,
    /// A length in it leads beyond its end.
    #[error("names a length beyond its end")]
    Length,
    /// A name or the token is no UTF-8.
    #[error("has a text that is not UTF-8")]
    Text,
    /// A service nobody knows.
    #[error("names push service {0}, which is unknown")]
    Service(u8),
}

impl PushId {
    /// Reads an envelope.
    ///
    /// # Errors
    /// [`BadPushId`].
    pub fn decode(text: &str) -> Result<Self, BadPushId> {
        /// With or without padding: clients differ.
        const LENIENT: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        if text.len() > LONGEST {
            return Err(BadPushId::Encoding);
        }
        let bytes = LENIENT.decode(text).map_err(|_| BadPushId::Encoding)?;
        let (head, mut rest) = bytes.split_at_checked(HEAD).ok_or(BadPushId::Magic)?;
        if head[0] != MAGIC || head[1..3] != VERSION || !matches!(head[3], 1 | 2) {
            return Err(BadPushId::Magic);
        }
        let service = Service(head[4]);
        service.row().ok_or(BadPushId::Service(head[4]))?;
        let mut part = |length: usize| {
            let (part, after) = rest.split_at_checked(length).ok_or(BadPushId::Length)?;
            rest = after;
            std::str::from_utf8(part).map_err(|_| BadPushId::Text)
        };
        let country = part(usize::from(head[5]))?.to_owned();
        let sdk = part(usize::from(head[6]))?.to_owned();
        let token = part(usize::from(u16::from_be_bytes([head[7], head[8]])))?.into();
        // Android's tail: its length, and a blob that nobody has described. Absent elsewhere.
        if let Some((length, blob)) = rest.split_first_chunk::<2>()
            && blob.len() < usize::from(u16::from_be_bytes(*length))
        {
            return Err(BadPushId::Length);
        }
        Ok(Self { production: head[3] == 1, service, country, sdk, token })
    }

    /// Writes an envelope, without a tail.
    ///
    /// # Errors
    /// [`BadPushId::Length`] when a name is over 255 bytes, or the token over 65,535.
    pub fn encode(&self) -> Result<String, BadPushId> {
        let short = |text: &str| u8::try_from(text.len()).map_err(|_| BadPushId::Length);
        let token = self.token.expose();
        let length = u16::try_from(token.len()).map_err(|_| BadPushId::Length)?;
        let mut bytes = vec![MAGIC, VERSION[0], VERSION[1], if self.production { 1 } else { 2 }];
        bytes.extend([self.service.0, short(&self.country)?, short(&self.sdk)?]);
        bytes.extend(length.to_be_bytes());
        for text in [&self.country, &self.sdk, token] {
            bytes.extend(text.as_bytes());
        }
        Ok(STANDARD.encode(bytes))
    }

    /// Whether the token is a Web Push subscription: its JSON stands in the token's place.
    #[must_use]
    pub fn is_subscription(&self) -> bool {
        self.service.row().is_some_and(|row| row.subscriptions.is_some())
            && self.token.expose().starts_with('{')
    }

    /// The kinds of channels that understand its token, the likeliest first.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let Some(row) = self.service.row() else { return Vec::new() };
        match row.subscriptions {
            Some(kind) if self.is_subscription() => vec![kind],
            // With an empty token nobody can tell which of them it was.
            Some(kind) if self.token.expose().is_empty() => row.kinds.iter().copied().chain([kind]).collect(),
            Some(_) | None => row.kinds.to_vec(),
        }
    }
}

impl Service {
    fn row(self) -> Option<&'static Row> {
        PUSH_ID_SERVICES.iter().find(|row| row.number == self.0)
    }

    /// What its devices run on.
    #[must_use]
    pub fn platform(self) -> Option<Platform> {
        self.row().map(|row| row.platform)
    }

    /// Who makes its devices, where that is known.
    #[must_use]
    pub fn manufacturer(self) -> Option<&'static str> {
        self.row().and_then(|row| row.manufacturer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = "rwABAQcABQARMi41LjB2ZXI6dG9rZW4tRVhBTVBMRQ==";

    fn web(token: &str) -> PushId {
        PushId {
            production: true,
            service: Service(7),
            country: String::new(),
            sdk: "2.5.0".to_owned(),
            token: token.into(),
        }
    }

    #[test]
    fn zpns_06_the_test_vector_decodes_and_encodes() {
        assert_eq!(PushId::decode(VECTOR).unwrap(), web("ver:token-EXAMPLE"));
        assert_eq!(web("ver:token-EXAMPLE").encode().unwrap(), VECTOR);
        assert_eq!(PushId::decode(VECTOR.trim_end_matches('=')).unwrap(), web("ver:token-EXAMPLE"));
        assert_eq!(PushId::decode("rwABAQcABQAAMi41LjA=").unwrap(), web(""), "an empty token is valid");
    }

    #[test]
    fn a_tail_is_taken_and_its_absence_too() {
        let mut bytes = STANDARD.decode(VECTOR).unwrap();
        bytes.extend([0, 3, 1, 2, 3]);
        assert_eq!(PushId::decode(&STANDARD.encode(&bytes)).unwrap(), web("ver:token-EXAMPLE"));
        bytes.pop();
        assert_eq!(PushId::decode(&STANDARD.encode(&bytes)), Err(BadPushId::Length));
    }

    #[test]
    fn lengths_that_lead_beyond_the_end_are_refused() {
        let bytes = STANDARD.decode(VECTOR).unwrap();
        for at in [5, 6, 7, 8] {
            let mut hostile = bytes.clone();
            hostile[at] = 0xff;
            assert_eq!(PushId::decode(&STANDARD.encode(&hostile)), Err(BadPushId::Length), "byte {at}");
        }
        for end in HEAD..bytes.len() {
            assert_eq!(
                PushId::decode(&STANDARD.encode(&bytes[..end])),
                Err(BadPushId::Length),
                "{end} bytes"
            );
        }
        for end in 0..HEAD {
            assert_eq!(PushId::decode(&STANDARD.encode(&bytes[..end])), Err(BadPushId::Magic), "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_push_id_is_refused() {
        let bytes = STANDARD.decode(VECTOR).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            PushId::decode(&STANDARD.encode(bytes))
        };
        assert_eq!(with(0, 0), Err(BadPushId::Magic));
        assert_eq!(with(2, 2), Err(BadPushId::Magic));
        assert_eq!(with(3, 0), Err(BadPushId::Magic));
        assert_eq!(with(4, 99), Err(BadPushId::Service(99)));
        assert_eq!(with(14, 0xff), Err(BadPushId::Text));
        assert_eq!(PushId::decode("***"), Err(BadPushId::Encoding));
        assert_eq!(PushId::decode(&"A".repeat(LONGEST + 4)), Err(BadPushId::Encoding));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            if let [first, second, third, ..] = bytes.as_mut_slice() {
                (*first, *second, *third) = (MAGIC, 0, 1);
            }
            let _ = PushId::decode(&STANDARD.encode(bytes));
        }

        #[test]
        fn what_is_encoded_decodes_the_same(token in ".{0,200}", country in "[A-Z]{0,2}", service in 1u8..=7) {
            let push_id = PushId { country, service: Service(service), ..web(&token) };
            proptest::prop_assert_eq!(PushId::decode(&push_id.encode().unwrap()).unwrap(), push_id);
        }
    }
}
