//! Parsing of push requests by RFC 8030 and RFC 8291. The first violated rule is returned as a [`Refusal`].
//! This module knows no subscriptions, keys and services.

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;

/// Maximum body in bytes. RFC 8030 §7.2 requires services to accept this size, and known services accept no more.
const MAX_BODY: usize = 4096;
/// Maximum length of a topic in characters (RFC 8030 §5.4).
const MAX_TOPIC_LENGTH: usize = 32;

/// Urgency of a push: the battery states in which a device should get it (RFC 8030 §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// On power and Wi-Fi only.
    VeryLow,
    /// On power or Wi-Fi.
    Low,
    /// On neither power nor Wi-Fi.
    #[default]
    Normal,
    /// Even at low battery.
    High,
}

/// Parsed push request.
pub(crate) struct PushRequest {
    /// Time to live, in seconds.
    pub(crate) ttl: u64,
    pub(crate) urgency: Urgency,
    pub(crate) topic: Option<String>,
    /// Encrypted body. Empty for a push without data.
    pub(crate) body: Vec<u8>,
}

impl PushRequest {
    /// Parses headers and body of a request.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let ttl = parse_ttl(headers)?;
        let urgency = parse_urgency(headers)?;
        let topic = parse_topic(headers)?;
        if body.len() > MAX_BODY {
            return Err(Refusal::TooLarge);
        }
        if !body.is_empty() && single_header(headers, "content-encoding") != Some("aes128gcm") {
            return Err(Refusal::Encoding);
        }
        Ok(Self { ttl, urgency, topic, body: body.to_vec() })
    }
}

/// Returns the value of a header that is present exactly once and is text.
pub(super) fn single_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn parse_ttl(headers: &HeaderMap) -> Result<u64, Refusal> {
    if !headers.contains_key("ttl") {
        return Err(Refusal::TtlMissing);
    }
    let digits = single_header(headers, "ttl").ok_or(Refusal::Ttl)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Ttl);
    }
    // A service may shorten any TTL, so a number that does not fit is only a very long one.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn parse_urgency(headers: &HeaderMap) -> Result<Urgency, Refusal> {
    if !headers.contains_key("urgency") {
        return Ok(Urgency::default());
    }
    match single_header(headers, "urgency") {
        Some("very-low") => Ok(Urgency::VeryLow),
        Some("low") => Ok(Urgency::Low),
        Some("normal") => Ok(Urgency::Normal),
        Some("high") => Ok(Urgency::High),
        _ => Err(Refusal::Urgency),
    }
}

fn parse_topic(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if !headers.contains_key("topic") {
        return Ok(None);
    }
    let text = single_header(headers, "topic").ok_or(Refusal::Topic)?;
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > MAX_TOPIC_LENGTH || !text.bytes().all(is_base64url) {
        return Err(Refusal::Topic);
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)], body: &[u8]) -> Result<PushRequest, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        PushRequest::parse(&map, body)
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
