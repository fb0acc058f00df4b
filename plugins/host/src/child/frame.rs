//! Frames between the parent and a child process: a length-prefixed JSON head and a tail of raw bytes. Both sides limit the
//! length of a frame, and a longer one ends the connection.

use std::fmt;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use pushgate::{Address, Fault, Kind, Outcome, Probe, Report, Response, Secret, Timestamp, TransportError};
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::bounds::{Bounded, bounded, bounded_id};
use crate::description::{Description, MAX_BATCH};
use crate::http_request::MAX_HEADERS;
use crate::telemetry::{Level, Misuse};

/// Maximum length of a frame in bytes, head and tail together. Suffices for ten thousand addresses with the longest tokens.
pub(super) const MAX_FRAME: usize = 64 * 1024 * 1024;
/// Maximum number of outcomes in a report: one for each address of the largest delivery.
const MAX_OUTCOMES: usize = MAX_BATCH as usize;
/// Maximum allocation for a frame before its bytes have arrived, in bytes.
pub(super) const MAX_PREALLOCATED: usize = 16 * 1024;
/// Length of the prefix in bytes: two little-endian lengths of four bytes, head and tail.
const PREFIX: usize = 8;

/// Head of a frame from the parent.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// Opens the child's only channel.
    Open {
        name: String,
        config: Value,
    },
    /// Sends a delivery. The tail is the delivery as JSON. If the child cannot read it, the tag still identifies the call.
    Send {
        tag: u64,
    },
    Probe {
        tag: u64,
    },
    /// Result of an HTTP request. The tail is the body.
    HttpResult {
        id: u64,
        result: WireResult,
    },
    /// Asks for a [`ToParent::Pong`].
    Ping,
    Close,
}

/// Head of a frame from the child.
#[derive(Serialize, Deserialize)]
pub(crate) enum ToParent {
    Hello {
        description: Box<Description>,
    },
    Refused {
        why: String,
    },
    Opened,
    Report {
        tag: u64,
        #[serde(deserialize_with = "bounded_list::<_, _, MAX_OUTCOMES>")]
        outcomes: Vec<WireOutcome>,
    },
    /// The child cannot read the delivery with this tag.
    Unreadable {
        tag: u64,
    },
    Probed {
        tag: u64,
        probe: Result<WireProbe, Fault>,
    },
    /// HTTP request for the gateway's client. The tail is the body.
    Request {
        id: u64,
        request: WireRequest,
    },
    Log {
        level: Level,
        text: String,
    },
    Counter {
        name: String,
        by: u64,
    },
    Histogram {
        name: String,
        value: f64,
    },
    Misuse {
        misuse: Misuse,
    },
    /// Reply to [`ToChild::Ping`].
    Pong,
}

/// Outcome in a frame.
#[derive(Serialize, Deserialize)]
pub(crate) enum WireOutcome {
    Accepted(Option<String>),
    Replaced(Option<String>, Secret),
    Failed(Fault),
}

/// Result of a probe in a frame.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireProbe {
    identity: String,
    expires_at: Option<Timestamp>,
}

/// HTTP request in a frame, without its body.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(deserialize_with = "bounded_list::<_, _, MAX_HEADERS>")]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout_ms: u64,
    pub(crate) max_answer: u64,
}

/// Result of an HTTP request in a frame, without the response's body.
#[derive(Serialize, Deserialize)]
pub(crate) enum WireResult {
    Response { status: u16, headers: Vec<(String, String)> },
    Unreachable { host: String, why: String },
    Refused { host: String, why: String },
    Timeout { host: String, after_ms: u64 },
    Broken { host: String, why: String },
    GoneAway { host: String, reason: String },
    TooLong { host: String, limit: usize },
}

/// Reply on the socket for rendering, where each request frame is a message. The tail is the rendered body as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct RenderReply {
    /// Size of the rendered message, in bytes. `None` means that the child cannot read the message.
    pub(crate) counted: Option<usize>,
}

impl From<Outcome> for WireOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted { vendor_id } => Self::Accepted(vendor_id),
            Outcome::Replaced { vendor_id, token } => Self::Replaced(vendor_id, token),
            Outcome::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl WireOutcome {
    /// Returns the outcome reduced to its limits. The child's own checks are not trusted.
    pub(crate) fn bounded(self) -> Bounded<Outcome> {
        let id = |vendor_id: Option<String>| vendor_id.map(bounded_id);
        let value = match self {
            Self::Accepted(vendor_id) => Outcome::Accepted { vendor_id: id(vendor_id) },
            Self::Replaced(vendor_id, token) if (1..=Address::MAX_TOKEN).contains(&token.expose().len()) => {
                Outcome::Replaced { vendor_id: id(vendor_id), token }
            }
            Self::Replaced(..) => {
                let detail = "the plugin's process reported a new token that is empty or too long";
                Outcome::Failed(Fault::new(Kind::Bug, detail))
            }
            Self::Failed(fault) => {
                let Bounded { value: fault, is_pause_cut } = bounded(fault);
                return Bounded { value: Outcome::Failed(fault), is_pause_cut };
            }
        };
        Bounded { value, is_pause_cut: false }
    }
}

impl From<Probe> for WireProbe {
    fn from(probe: Probe) -> Self {
        Self { identity: probe.identity, expires_at: probe.expires_at }
    }
}

impl From<WireProbe> for Probe {
    fn from(probe: WireProbe) -> Self {
        Self { identity: bounded_id(probe.identity), expires_at: probe.expires_at }
    }
}

/// Returns the outcomes of a report for a frame.
pub(crate) fn wire_outcomes(report: Report) -> Vec<WireOutcome> {
    report.into_outcomes().into_iter().map(WireOutcome::from).collect()
}

impl WireResult {
    /// Returns the result without its body, and the body for the tail.
    pub(crate) fn from_result(result: Result<Response, TransportError>) -> (Self, Bytes) {
        let result = match result {
            Ok(response) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = response.headers.iter();
                let headers =
                    headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
                return (Self::Response { status: response.status.as_u16(), headers }, response.body);
            }
            Err(TransportError::Unreachable { host, why }) => Self::Unreachable { host, why },
            Err(TransportError::Refused { host, why }) => Self::Refused { host, why },
            Err(TransportError::Timeout { host, after }) => {
                Self::Timeout { host, after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX) }
            }
            Err(TransportError::Broken { host, why }) => Self::Broken { host, why },
            Err(TransportError::GoneAway { host, reason }) => Self::GoneAway { host, reason },
            Err(TransportError::AnswerTooLong { host, limit }) => Self::TooLong { host, limit },
        };
        (result, Bytes::new())
    }

    /// Returns the result with its body.
    pub(crate) fn into_result(self, body: Bytes) -> Result<Response, TransportError> {
        Err(match self {
            Self::Response { status, headers } => {
                let headers = headers.into_iter().filter_map(|(name, value)| {
                    Some((http::HeaderName::try_from(name).ok()?, http::HeaderValue::try_from(value).ok()?))
                });
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                return Ok(Response { status, headers: headers.collect(), body });
            }
            Self::Unreachable { host, why } => TransportError::Unreachable { host, why },
            Self::Refused { host, why } => TransportError::Refused { host, why },
            Self::Timeout { host, after_ms } => {
                TransportError::Timeout { host, after: Duration::from_millis(after_ms) }
            }
            Self::Broken { host, why } => TransportError::Broken { host, why },
            Self::GoneAway { host, reason } => TransportError::GoneAway { host, reason },
            Self::TooLong { host, limit } => TransportError::AnswerTooLong { host, limit },
        })
    }
}

/// Deserializes a list of at most `MAX` entries. Without this limit a frame could allocate about ten times its own length.
fn bounded_list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element()? {
                if entries.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
}

/// Returns the bytes of a frame.
///
/// # Errors
/// `InvalidData` if the frame exceeds [`MAX_FRAME`].
pub(crate) fn encoded(head: &impl Serialize, tail: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, head)?;
    let head_length = frame.len() - PREFIX;
    check_length(head_length, tail.len())?;
    for (offset, length) in [(0, head_length), (4, tail.len())] {
        // Cannot fail: `check_length` allows far less than four GiB.
        frame[offset..offset + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
    frame.extend_from_slice(tail);
    Ok(frame)
}

fn check_length(head: usize, tail: usize) -> io::Result<()> {
    if head.saturating_add(tail) > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    Ok(())
}

/// Returns the lengths of head and tail, in bytes.
///
/// # Errors
/// `InvalidData` if together they exceed [`MAX_FRAME`].
pub(crate) fn parse_prefix(prefix: [u8; PREFIX]) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = prefix;
    let head = u32::from_le_bytes([a, b, c, d]) as usize;
    let tail = u32::from_le_bytes([e, f, g, h]) as usize;
    check_length(head, tail)?;
    Ok((head, tail))
}

/// Parses the head of a frame.
pub(crate) fn decoded<T: DeserializeOwned>(head: &[u8]) -> io::Result<T> {
    // Without serde's message, which may quote secrets of the frame.
    serde_json::from_slice(head)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a frame cannot be read"))
}

/// Reads a frame. Returns the parsed head and the tail.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Bytes)> {
    let (head, tail) = read_raw(from)?;
    Ok((decoded(&head)?, tail))
}

/// Reads a frame. Returns the unparsed head and the tail.
pub(crate) fn read_raw(from: &mut impl Read) -> io::Result<(Bytes, Bytes)> {
    let mut prefix = [0; PREFIX];
    from.read_exact(&mut prefix)?;
    let (head, tail) = parse_prefix(prefix)?;
    // The announced length is not trusted for the allocation, because the bytes may never arrive.
    let mut bytes = Vec::with_capacity((head + tail).min(MAX_PREALLOCATED));
    from.take((head + tail) as u64).read_to_end(&mut bytes)?;
    if bytes.len() < head + tail {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut head_bytes = Bytes::from(bytes);
    let tail = head_bytes.split_off(head);
    Ok((head_bytes, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_frame_decodes_to_the_same_head_and_tail() {
        let frame = encoded(&ToParent::Counter { name: "sent".to_owned(), by: 7 }, b"tail").unwrap();
        let (head, tail) = read::<ToParent>(&mut frame.as_slice()).unwrap();
        assert!(matches!(head, ToParent::Counter { by: 7, .. }));
        assert_eq!(tail, "tail");
    }

    #[test]
    fn every_outcome_of_a_child_is_reduced_to_its_limits() {
        let retry_after = Some(Duration::MAX);
        let endless = Fault { retry_after, ..Fault::new(Kind::Throttled, "").of_lane() };
        let Bounded { value: outcome, is_pause_cut } = WireOutcome::Failed(endless).bounded();
        assert_eq!(outcome.fault().unwrap().retry_after, Some(crate::bounds::MAX_RETRY_AFTER));
        assert!(is_pause_cut);
        for token in [String::new(), "x".repeat(Address::MAX_TOKEN + 1)] {
            let outcome = WireOutcome::Replaced(None, token.into()).bounded().value;
            assert_eq!(outcome.fault().unwrap().kind, Kind::Bug);
        }
        let outcome = WireOutcome::Accepted(Some("x".repeat(1 << 20))).bounded().value;
        assert_eq!(outcome, Outcome::accepted("x".repeat(crate::bounds::MAX_ID)));
    }

    #[test]
    fn a_report_with_more_outcomes_than_the_largest_delivery_has_addresses_is_refused() {
        let report = |count: usize| {
            let outcomes = (0..count).map(|_| WireOutcome::Accepted(None)).collect();
            encoded(&ToParent::Report { tag: 1, outcomes }, &[]).unwrap()
        };
        assert!(read::<ToParent>(&mut report(MAX_OUTCOMES).as_slice()).is_ok());
        assert!(read::<ToParent>(&mut report(MAX_OUTCOMES + 1).as_slice()).is_err());
    }

    #[test]
    fn a_truncated_too_long_or_malformed_frame_is_an_error() {
        let frame = encoded(&ToParent::Pong, b"tail").unwrap();
        for length in 0..frame.len() {
            assert!(read::<ToParent>(&mut &frame[..length]).is_err());
        }
        assert!(read::<ToParent>(&mut [0xff; 64].as_slice()).is_err());
        let mut malformed = frame.clone();
        malformed[PREFIX] = b'!';
        assert!(read::<ToParent>(&mut malformed.as_slice()).is_err());
        assert!(encoded(&ToParent::Pong, &vec![0; MAX_FRAME]).is_err());
    }
}
