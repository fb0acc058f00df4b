//! What a push request asks for, read as RFC 8030 and RFC 8291 write it; the first rule it breaks otherwise.
//! Knows nothing of subscriptions, keys or single services.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// What every push service has to take (RFC 8030 §7.2), and what the known ones take at most.
const LARGEST: usize = 4096;
/// In characters (RFC 8030 §5.4).
const LONGEST_TOPIC: usize = 32;

/// How much a push is worth a device's battery (RFC 8030 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// On power and Wi-Fi.
    VeryLow,
    /// On power or Wi-Fi.
    Low,
    /// On neither.
    #[default]
    Normal,
    /// Low battery.
    High,
}

/// A push as it was asked for.
pub(crate) struct Asked {
    /// Seconds.
    pub(crate) ttl: u64,
    pub(crate) urgency: Urgency,
    pub(crate) topic: Option<String>,
    /// Encrypted; empty for a push without data.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let ttl = ttl(headers)?;
        let urgency = urgency(headers)?;
        let topic = topic(headers)?;
        if body.len() > LARGEST {
            return Err(Refusal::TooLarge);
        }
        if !body.is_empty() && only(headers, "content-encoding") != Some("aes128gcm") {
            return Err(Refusal::Encoding);
        }
        Ok(Self { ttl, urgency, topic, body: body.to_vec() })
    }
}

/// The value of a header that is there once and is text.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn ttl(headers: &HeaderMap) -> Result<u64, Refusal> {
    if !headers.contains_key("ttl") {
        return Err(Refusal::TtlMissing);
    }
    let digits = only(headers, "ttl").ok_or(Refusal::Ttl)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Ttl);
    }
    // A service may shorten any TTL, so more digits than a number holds are only a very long one.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn urgency(headers: &HeaderMap) -> Result<Urgency, Refusal> {
    if !headers.contains_key("urgency") {
        return Ok(Urgency::default());
    }
    match only(headers, "urgency") {
        Some("very-low") => Ok(Urgency::VeryLow),
        Some("low") => Ok(Urgency::Low),
        Some("normal") => Ok(Urgency::Normal),
        Some("high") => Ok(Urgency::High),
        _ => Err(Refusal::Urgency),
    }
}

fn topic(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if !headers.contains_key("topic") {
        return Ok(None);
    }
    let text = only(headers, "topic").ok_or(Refusal::Topic)?;
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > LONGEST_TOPIC || !text.bytes().all(alphabet) {
        return Err(Refusal::Topic);
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)], body: &[u8]) -> Result<Asked, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Asked::read(&map, body)
    }

    fn refusal(headers: &[(&'static str, &str)]) -> Option<Refusal> {
        read(headers, b"").err()
    }

    #[test]
    fn ttl_is_required_once_and_in_digits() {
        assert_eq!(read(&[("ttl", "0")], b"").unwrap().ttl, 0);
        assert_eq!(read(&[("ttl", "99999999999999999999999")], b"").unwrap().ttl, u64::MAX);
        assert_eq!(refusal(&[]), Some(Refusal::TtlMissing));
        for bad in ["", "-1", "+1", "1.5", "60s", "0x10"] {
            assert_eq!(refusal(&[("ttl", bad)]), Some(Refusal::Ttl), "{bad}");
        }
        assert_eq!(refusal(&[("ttl", "1"), ("ttl", "2")]), Some(Refusal::Ttl));
    }

    #[test]
    fn urgency_is_one_of_four_words() {
        for (word, urgency) in [
            ("very-low", Urgency::VeryLow),
            ("low", Urgency::Low),
            ("normal", Urgency::Normal),
            ("high", Urgency::High),
        ] {
            assert_eq!(read(&[("ttl", "1"), ("urgency", word)], b"").unwrap().urgency, urgency);
        }
        assert_eq!(read(&[("ttl", "1")], b"").unwrap().urgency, Urgency::Normal);
        for bad in ["HIGH", "urgent", "", "low, high"] {
            assert_eq!(refusal(&[("ttl", "1"), ("urgency", bad)]), Some(Refusal::Urgency), "{bad}");
        }
    }

    #[test]
    fn a_topic_has_up_to_32_characters_of_base64url() {
        let longest = "a-Z_09bcdefghijklmnopqrstuvwxyzA";
        assert_eq!(read(&[("ttl", "1"), ("topic", longest)], b"").unwrap().topic.unwrap(), longest);
        for bad in ["", "a b", "a=", "a.b", "a/b", &format!("{longest}x")] {
            assert_eq!(refusal(&[("ttl", "1"), ("topic", bad)]), Some(Refusal::Topic), "{bad}");
        }
    }

    #[test]
    fn a_body_is_aes128gcm_and_up_to_4096_bytes() {
        let with = |encoding, size: usize| {
            read(&[("ttl", "1"), ("content-encoding", encoding)], &vec![0; size]).err()
        };
        assert_eq!(with("aes128gcm", 4096), None);
        assert_eq!(with("aes128gcm", 4097), Some(Refusal::TooLarge));
        assert_eq!(with("aesgcm", 100), Some(Refusal::Encoding));
        assert_eq!(with("gzip, aes128gcm", 100), Some(Refusal::Encoding));
        assert_eq!(read(&[("ttl", "1")], b"plain").err(), Some(Refusal::Encoding));
    }

    #[test]
    fn a_push_without_data_needs_no_encoding() {
        assert!(read(&[("ttl", "1")], b"").unwrap().body.is_empty());
    }
}
