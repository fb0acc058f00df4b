//! What parent and child say to each other: a length-prefixed JSON head, and a tail of bytes where there is a body.
//! Bounded on both sides: a peer that announces more is not listened to any further.

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

use crate::asked::MOST_HEADERS;
use crate::bounds::{bounded, bounded_id};
use crate::description::{Description, MOST_BATCH};
use crate::telemetry::{Level, Misuse};

/// The largest frame, head and tail together: ten thousand addresses with the longest tokens.
pub(super) const MAX_FRAME: usize = 64 * 1024 * 1024;
/// The most outcomes in a report: one for each address of the largest delivery.
const MAX_OUTCOMES: usize = MOST_BATCH as usize;
/// What is allocated for a frame before it has come.
pub(super) const MOST_AHEAD: usize = 16 * 1024;
/// Two lengths of four bytes.
const PREFIX: usize = 8;

/// From the parent.
#[derive(Serialize, Deserialize)]
pub(crate) enum Down {
    /// Open the one channel this child is for.
    Open {
        name: String,
        config: Value,
    },
    /// Send what is in the tail, as JSON: what cannot be read there is answered for under the tag.
    Send {
        tag: u64,
    },
    Probe {
        tag: u64,
    },
    /// The answer to a request; the body is the tail.
    Answered {
        id: u64,
        answer: Answer,
    },
    /// Are you there?
    Ping,
    Close,
}

/// From the child.
#[derive(Serialize, Deserialize)]
pub(crate) enum Up {
    Hello {
        description: Box<Description>,
    },
    Refused {
        why: String,
    },
    Opened,
    Report {
        tag: u64,
        #[serde(deserialize_with = "at_most::<_, _, MAX_OUTCOMES>")]
        outcomes: Vec<Sent>,
    },
    /// The delivery of that tag cannot be read.
    Unreadable {
        tag: u64,
    },
    Probed {
        tag: u64,
        probe: Result<Known, Fault>,
    },
    /// A request for the gateway's client; the body is the tail.
    Request {
        id: u64,
        ask: Ask,
    },
    Log {
        level: Level,
        text: String,
    },
    Count {
        name: String,
        by: u64,
    },
    Record {
        name: String,
        value: f64,
    },
    Misused {
        what: Misuse,
    },
    /// I am.
    Pong,
}

/// An outcome.
#[derive(Serialize, Deserialize)]
pub(crate) enum Sent {
    Accepted(Option<String>),
    Replaced(Option<String>, Secret),
    Failed(Fault),
}

/// What a probe learned.
#[derive(Serialize, Deserialize)]
pub(crate) struct Known {
    identity: String,
    expires_at: Option<Timestamp>,
}

/// A request without its body.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) url: String,
    #[serde(deserialize_with = "at_most::<_, _, MOST_HEADERS>")]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout_ms: u64,
    pub(crate) max_answer: u64,
}

/// An answer without its body.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Response { status: u16, headers: Vec<(String, String)> },
    Unreachable { host: String, why: String },
    Refused { host: String, why: String },
    Timeout { host: String, after_ms: u64 },
    Broken { host: String, why: String },
    GoneAway { host: String, reason: String },
    TooLong { host: String, limit: usize },
}

/// The answer on the second socket, where a question is a message; the body is the tail, as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct RenderedAs {
    /// `None` means that the message cannot be read.
    pub(crate) counted: Option<usize>,
}

impl From<Outcome> for Sent {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted { vendor_id } => Self::Accepted(vendor_id),
            Outcome::Replaced { vendor_id, token } => Self::Replaced(vendor_id, token),
            Outcome::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl Sent {
    /// Returns the outcome within its limits, whoever wrote it. `true` means that a pause was cut.
    pub(crate) fn bounded(self) -> (Outcome, bool) {
        let id = |vendor_id: Option<String>| vendor_id.map(bounded_id);
        match self {
            Self::Accepted(vendor_id) => (Outcome::Accepted { vendor_id: id(vendor_id) }, false),
            Self::Replaced(vendor_id, token) if (1..=Address::MAX_TOKEN).contains(&token.expose().len()) => {
                (Outcome::Replaced { vendor_id: id(vendor_id), token }, false)
            }
            Self::Replaced(..) => {
                let detail = "the plugin's process gave a new token that is empty or too long";
                (Outcome::Failed(Fault::new(Kind::Bug, detail)), false)
            }
            Self::Failed(fault) => {
                let (fault, is_cut) = bounded(fault);
                (Outcome::Failed(fault), is_cut)
            }
        }
    }
}

impl From<Probe> for Known {
    fn from(probe: Probe) -> Self {
        Self { identity: probe.identity, expires_at: probe.expires_at }
    }
}

impl From<Known> for Probe {
    fn from(known: Known) -> Self {
        Self { identity: bounded_id(known.identity), expires_at: known.expires_at }
    }
}

/// The outcomes of a report as they cross.
pub(crate) fn outcomes(report: Report) -> Vec<Sent> {
    report.into_outcomes().into_iter().map(Sent::from).collect()
}

impl Answer {
    /// The answer, and its body.
    pub(crate) fn of(result: Result<Response, TransportError>) -> (Self, Bytes) {
        let answer = match result {
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
        (answer, Bytes::new())
    }

    /// The result it stands for.
    pub(crate) fn result(self, body: Bytes) -> Result<Response, TransportError> {
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

/// Reads a list of at most `MAX` entries. One in memory takes up to ten times what the shortest takes in a frame.
fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct AtMost<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for AtMost<T, MAX> {
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

    deserializer.deserialize_seq(AtMost::<T, MAX>(PhantomData))
}

/// A frame as it is written.
pub(crate) fn encoded(head: &impl Serialize, tail: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, head)?;
    let lengths = (frame.len() - PREFIX, tail.len());
    check(lengths)?;
    for (place, length) in [(0, lengths.0), (4, lengths.1)] {
        // Both were just held against a bound far below four GiB.
        frame[place..place + 4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    }
    frame.extend_from_slice(tail);
    Ok(frame)
}

fn check((head, tail): (usize, usize)) -> io::Result<()> {
    if head.saturating_add(tail) > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    Ok(())
}

/// How many bytes head and tail have.
pub(crate) fn lengths(prefix: [u8; PREFIX]) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = prefix;
    let lengths = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]) as usize);
    check(lengths)?;
    Ok(lengths)
}

/// A frame from what was read of it.
pub(crate) fn decoded<T: DeserializeOwned>(head: &[u8]) -> io::Result<T> {
    // serde's words may repeat what it read.
    serde_json::from_slice(head)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a frame cannot be read"))
}

/// Waits for a frame.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Bytes)> {
    let (head, tail) = read_raw(from)?;
    Ok((decoded(&head)?, tail))
}

/// Waits for a frame, and leaves its head as it came.
pub(crate) fn read_raw(from: &mut impl Read) -> io::Result<(Bytes, Bytes)> {
    let mut prefix = [0; PREFIX];
    from.read_exact(&mut prefix)?;
    let (head, tail) = lengths(prefix)?;
    // Not much is allocated ahead: what is announced need not come.
    let mut bytes = Vec::with_capacity((head + tail).min(MOST_AHEAD));
    from.take((head + tail) as u64).read_to_end(&mut bytes)?;
    if bytes.len() < head + tail {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut read = Bytes::from(bytes);
    let tail = read.split_off(head);
    Ok((read, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let frame = encoded(&Up::Count { name: "sent".to_owned(), by: 7 }, b"tail").unwrap();
        let (read, tail) = read::<Up>(&mut frame.as_slice()).unwrap();
        assert!(matches!(read, Up::Count { by: 7, .. }));
        assert_eq!(tail, "tail");
    }

    #[test]
    fn no_outcome_of_a_child_goes_beyond_its_limits() {
        let retry_after = Some(Duration::MAX);
        let endless = Fault { retry_after, ..Fault::new(Kind::Throttled, "").of_lane() };
        let (outcome, is_cut) = Sent::Failed(endless).bounded();
        assert_eq!(outcome.fault().unwrap().retry_after, Some(crate::bounds::MAX_RETRY_AFTER));
        assert!(is_cut);
        for token in [String::new(), "x".repeat(Address::MAX_TOKEN + 1)] {
            let (outcome, _) = Sent::Replaced(None, token.into()).bounded();
            assert_eq!(outcome.fault().unwrap().kind, Kind::Bug);
        }
        let (outcome, _) = Sent::Accepted(Some("x".repeat(1 << 20))).bounded();
        assert_eq!(outcome, Outcome::accepted("x".repeat(crate::bounds::MAX_ID)));
    }

    #[test]
    fn a_report_has_no_more_outcomes_than_the_largest_delivery_has_addresses() {
        let report = |count: usize| {
            let outcomes = (0..count).map(|_| Sent::Accepted(None)).collect();
            encoded(&Up::Report { tag: 1, outcomes }, &[]).unwrap()
        };
        assert!(read::<Up>(&mut report(MAX_OUTCOMES).as_slice()).is_ok());
        assert!(read::<Up>(&mut report(MAX_OUTCOMES + 1).as_slice()).is_err());
    }

    #[test]
    fn a_frame_that_is_cut_off_too_long_or_nonsense_is_an_error() {
        let frame = encoded(&Up::Pong, b"tail").unwrap();
        for length in 0..frame.len() {
            assert!(read::<Up>(&mut &frame[..length]).is_err());
        }
        assert!(read::<Up>(&mut [0xff; 64].as_slice()).is_err());
        let mut nonsense = frame.clone();
        nonsense[PREFIX] = b'!';
        assert!(read::<Up>(&mut nonsense.as_slice()).is_err());
        assert!(encoded(&Up::Pong, &vec![0; MAX_FRAME]).is_err());
    }
}
