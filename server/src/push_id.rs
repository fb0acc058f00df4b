//! Push id of ZPNs clients: a base64 envelope with a push service and a token.
//! The SDKs number the services in different ways. The numbers of the envelope are not used outside this module.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};
use pushgate::{Platform, Secret};

use crate::assemble::PUSH_ID_SERVICES;

/// Largest accepted push id, in characters: the longest token and names, and a third more for base64.
const MAX_LENGTH: usize = 8192;
const MAGIC: u8 = 0xAF;
const VERSION: [u8; 2] = [0, 1];
const HEAD_LENGTH: usize = 9;

/// Content of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushId {
    /// `true` for a production build of the app.
    pub production: bool,
    /// Push service that issued the token.
    pub service: Service,
    /// Country of the device, an empty text if unknown.
    pub country: String,
    /// Version of the SDK that created the push id.
    pub sdk: String,
    /// Token of the device. It is empty if the device is to be unbound.
    pub token: Secret,
}

/// Push service, by its number in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service(pub u8);

/// Properties of a push service. `assemble.rs` has the table, because only that file may name channels.
pub(crate) struct ServiceInfo {
    /// Number of the service in the envelope.
    pub(crate) number: u8,
    /// Platform of its devices.
    pub(crate) platform: Platform,
    /// Manufacturer of its devices, `None` if they have several.
    pub(crate) manufacturer: Option<&'static str>,
    /// Kinds of channels that accept its tokens, by preference.
    pub(crate) kinds: &'static [&'static str],
    /// Kind of channel that accepts a Web Push subscription in place of the token. `None` if there is none.
    pub(crate) subscriptions: Option<&'static str>,
}

/// Reason why a text is not a push id. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPushId {
    /// The text is not base64, or too long.
    #[error("is not base64 of at most {MAX_LENGTH} characters")]
    Encoding,
    /// The first bytes are not those of a push id of version 1.
    #[error("does not begin as a push id of version 1 does")]
    Magic,
    /// A length field points beyond the end.
    #[error("has a length field that points beyond its end")]
    Length,
    /// A name or the token is not UTF-8.
    #[error("has a text that is not UTF-8")]
    Text,
    /// The number of the push service is unknown.
    #[error("has the number {0} for its push service, which is unknown")]
    Service(u8),
}

impl PushId {
    /// Decodes an envelope.
    ///
    /// # Errors
    /// [`InvalidPushId`]
    pub fn decode(text: &str) -> Result<Self, InvalidPushId> {
        /// Base64 with or without padding, because clients differ.
        const LENIENT: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new()
                .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
        );
        if text.len() > MAX_LENGTH {
            return Err(InvalidPushId::Encoding);
        }
        let bytes = LENIENT.decode(text).map_err(|_| InvalidPushId::Encoding)?;
        let (head, mut rest) = bytes.split_at_checked(HEAD_LENGTH).ok_or(InvalidPushId::Magic)?;
        if head[0] != MAGIC || head[1..3] != VERSION || !matches!(head[3], 1 | 2) {
            return Err(InvalidPushId::Magic);
        }
        let service = Service(head[4]);
        service.info().ok_or(InvalidPushId::Service(head[4]))?;
        let mut part = |length: usize| {
            let (part, after) = rest.split_at_checked(length).ok_or(InvalidPushId::Length)?;
            rest = after;
            std::str::from_utf8(part).map_err(|_| InvalidPushId::Text)
        };
        let country = part(usize::from(head[5]))?.to_owned();
        let sdk = part(usize::from(head[6]))?.to_owned();
        let token = part(usize::from(u16::from_be_bytes([head[7], head[8]])))?.into();
        // Android clients append a length and bytes of unknown meaning.
        if let Some((length, blob)) = rest.split_first_chunk::<2>()
            && blob.len() < usize::from(u16::from_be_bytes(*length))
        {
            return Err(InvalidPushId::Length);
        }
        Ok(Self { production: head[3] == 1, service, country, sdk, token })
    }

    /// Encodes an envelope, without the bytes that Android clients append.
    ///
    /// # Errors
    /// [`InvalidPushId::Length`] if a name is over 255 bytes, or the token over 65,535.
    pub fn encode(&self) -> Result<String, InvalidPushId> {
        let name_length = |text: &str| u8::try_from(text.len()).map_err(|_| InvalidPushId::Length);
        let token = self.token.expose();
        let length = u16::try_from(token.len()).map_err(|_| InvalidPushId::Length)?;
        let mut bytes = vec![MAGIC, VERSION[0], VERSION[1], if self.production { 1 } else { 2 }];
        bytes.extend([self.service.0, name_length(&self.country)?, name_length(&self.sdk)?]);
        bytes.extend(length.to_be_bytes());
        for text in [&self.country, &self.sdk, token] {
            bytes.extend(text.as_bytes());
        }
        Ok(STANDARD.encode(bytes))
    }

    /// Returns `true` if the token is the JSON of a Web Push subscription.
    #[must_use]
    pub fn is_subscription(&self) -> bool {
        self.service.info().is_some_and(|info| info.subscriptions.is_some())
            && self.token.expose().starts_with('{')
    }

    /// Returns the kinds of channels that accept the token, by preference.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let Some(info) = self.service.info() else { return Vec::new() };
        match info.subscriptions {
            Some(kind) if self.is_subscription() => vec![kind],
            // An empty token may have been of any of these kinds.
            Some(kind) if self.token.expose().is_empty() => {
                info.kinds.iter().copied().chain([kind]).collect()
            }
            Some(_) | None => info.kinds.to_vec(),
        }
    }
}

impl Service {
    fn info(self) -> Option<&'static ServiceInfo> {
        PUSH_ID_SERVICES.iter().find(|info| info.number == self.0)
    }

    /// Returns the platform of its devices, `None` for an unknown service.
    #[must_use]
    pub fn platform(self) -> Option<Platform> {
        self.info().map(|info| info.platform)
    }

    /// Returns the manufacturer of its devices, `None` if there are several.
    #[must_use]
    pub fn manufacturer(self) -> Option<&'static str> {
        self.info().and_then(|info| info.manufacturer)
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
    fn appended_bytes_of_android_are_optional() {
        let mut bytes = STANDARD.decode(VECTOR).unwrap();
        bytes.extend([0, 3, 1, 2, 3]);
        assert_eq!(PushId::decode(&STANDARD.encode(&bytes)).unwrap(), web("ver:token-EXAMPLE"));
        bytes.pop();
        assert_eq!(PushId::decode(&STANDARD.encode(&bytes)), Err(InvalidPushId::Length));
    }

    #[test]
    fn lengths_beyond_the_end_are_refused() {
        let bytes = STANDARD.decode(VECTOR).unwrap();
        for at in [5, 6, 7, 8] {
            let mut hostile = bytes.clone();
            hostile[at] = 0xff;
            assert_eq!(PushId::decode(&STANDARD.encode(&hostile)), Err(InvalidPushId::Length), "byte {at}");
        }
        for end in HEAD_LENGTH..bytes.len() {
            assert_eq!(
                PushId::decode(&STANDARD.encode(&bytes[..end])),
                Err(InvalidPushId::Length),
                "{end} bytes"
            );
        }
        for end in 0..HEAD_LENGTH {
            assert_eq!(
                PushId::decode(&STANDARD.encode(&bytes[..end])),
                Err(InvalidPushId::Magic),
                "{end} bytes"
            );
        }
    }

    #[test]
    fn invalid_push_ids_are_refused() {
        let bytes = STANDARD.decode(VECTOR).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            PushId::decode(&STANDARD.encode(bytes))
        };
        assert_eq!(with(0, 0), Err(InvalidPushId::Magic));
        assert_eq!(with(2, 2), Err(InvalidPushId::Magic));
        assert_eq!(with(3, 0), Err(InvalidPushId::Magic));
        assert_eq!(with(4, 99), Err(InvalidPushId::Service(99)));
        assert_eq!(with(14, 0xff), Err(InvalidPushId::Text));
        assert_eq!(PushId::decode("***"), Err(InvalidPushId::Encoding));
        assert_eq!(PushId::decode(&"A".repeat(MAX_LENGTH + 4)), Err(InvalidPushId::Encoding));
    }

    proptest::proptest! {
        #[test]
        fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let mut bytes = bytes;
            if let [first, second, third, ..] = bytes.as_mut_slice() {
                (*first, *second, *third) = (MAGIC, 0, 1);
            }
            let _ = PushId::decode(&STANDARD.encode(bytes));
        }

        #[test]
        fn encoding_and_decoding_round_trips(token in ".{0,200}", country in "[A-Z]{0,2}", service in 1u8..=7) {
            let push_id = PushId { country, service: Service(service), ..web(&token) };
            proptest::prop_assert_eq!(PushId::decode(&push_id.encode().unwrap()).unwrap(), push_id);
        }
    }
}
