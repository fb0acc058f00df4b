//! Types of values: sizes, durations, addresses, one or several texts. `EXPECTING` of each one describes valid values.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

/// Type of a value that is written as text.
trait TextValue: Sized {
    /// Description that follows "is not" or "expected" in an error.
    const EXPECTING: &'static str;
    fn from_text(text: &str) -> Option<Self>;
    fn from_number(_: u64) -> Option<Self> {
        None
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: TextValue> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTING)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_number(number).ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let value = u64::try_from(number).ok().and_then(T::from_number);
        value.ok_or_else(|| E::invalid_type(Unexpected::Signed(number), &self))
    }
}

macro_rules! text_value {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_any(TextVisitor(PhantomData))
            }
        }
    };
}

/// Address of a listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listen(pub(crate) SocketAddr);
text_value!(Listen);

impl TextValue for Listen {
    const EXPECTING: &'static str = "an address; write ip:port, like \"127.0.0.1:8080\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

/// Base URL of the server for devices, without a slash at the end. `None` if the text is empty.
#[derive(Debug, Clone)]
pub(crate) struct PublicUrl(pub(crate) Option<String>);
text_value!(PublicUrl);

/// Largest length of the URL, in bytes. Every push contains it, and a push has 4,096 bytes.
const MAX_URL: usize = 200;

impl TextValue for PublicUrl {
    const EXPECTING: &'static str =
        "an address for devices; write https:// and a host, like \"https://push.example.com\"";

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        let url = text.trim_end_matches('/');
        let rest = match url.split_once("://")? {
            ("https", rest) => Some(rest),
            // Browsers accept plain HTTP for the local machine only.
            ("http", rest) => Some(rest).filter(|rest| is_loopback(host(rest))),
            _ => None,
        }?;
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !br#"?#"\<>@"#.contains(&byte));
        (is_plain && !host(rest).is_empty() && url.len() <= MAX_URL).then(|| Self(Some(url.to_owned())))
    }
}

fn host(rest: &str) -> &str {
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    port.map_or(authority, |(host, _)| host)
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// Number of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) u64);
text_value!(Size);

const UNITS: [(&str, u64); 7] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("b", 1),
];

impl TextValue for Size {
    const EXPECTING: &'static str =
        "a size; write a number of bytes or one with a unit, like \"256KiB\" or \"1MiB\"";

    fn from_text(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((lower.strip_suffix(unit)?, *bytes)))
            .unwrap_or((lower.as_str(), 1));
        let digits = digits.trim();
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse::<u64>().ok()?.checked_mul(unit).map(Self)
    }

    fn from_number(bytes: u64) -> Option<Self> {
        Some(Self(bytes))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = UNITS[..3].iter().rev().find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes));
        match binary {
            Some((unit, bytes)) => {
                write!(f, "{}{}iB", self.0 / bytes, unit[..1].to_ascii_uppercase())
            }
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Duration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DurationValue(pub(crate) Duration);
text_value!(DurationValue);

impl TextValue for DurationValue {
    const EXPECTING: &'static str = "a duration; write a number and a unit, like \"30s\", \"5m\" or \"7d\"";

    fn from_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().map(Self)
    }
}

/// One text, or a list of texts.
#[derive(Debug, Clone)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// Returns the texts. Elements of a list come with their index.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Option<usize>, &str)> {
        let (one, many) = match self {
            Self::One(text) => (Some(text), [].as_slice()),
            Self::Many(texts) => (None, texts.as_slice()),
        };
        let one = one.into_iter().map(|text| (None, text.as_str()));
        one.chain(many.iter().enumerate().map(|(i, text)| (Some(i), text.as_str())))
    }

    /// Returns `true` for an empty list.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Many(texts) if texts.is_empty())
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany::Many(texts))
            }
        }

        d.deserialize_any(OneOrManyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_bytes() {
        let size = |text| Size::from_text(text).map(|size| size.0);
        assert_eq!(size("256KiB"), Some(262_144));
        assert_eq!(size("1 mb"), Some(1_000_000));
        assert_eq!(size("512"), Some(512));
        assert_eq!(size("12B"), Some(12));
        for wrong in ["", "KiB", "1.5MiB", "-1", "+1", "1TiB", "99999999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_public_url_is_https_or_this_machine() {
        let url = |text| PublicUrl::from_text(text).and_then(|url| url.0);
        assert_eq!(url("https://push.example.com/").as_deref(), Some("https://push.example.com"));
        assert_eq!(url("https://example.com:8443/push/").as_deref(), Some("https://example.com:8443/push"));
        assert_eq!(url("http://localhost:8080").as_deref(), Some("http://localhost:8080"));
        assert_eq!(url("http://[::1]:8080").as_deref(), Some("http://[::1]:8080"));
        let long = format!("https://{}.example", "a".repeat(200));
        for wrong in [
            "",
            "push.example.com",
            "http://push.example.com",
            "http://localhost.evil.example",
            "https://",
            "https://:443",
            "https://a@b",
            "https://a?b",
            "https://a#b",
            "https://a b",
            &long,
        ] {
            assert_eq!(url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_size_prints_as_it_would_be_written() {
        assert_eq!(Size(262_144).to_string(), "256KiB");
        assert_eq!(Size(1 << 20).to_string(), "1MiB");
        assert_eq!(Size(1000).to_string(), "1000B");
    }
}
