//! The vendor of an examination: scripted, or a real one behind the gateway's client.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use pushgate::{Request, Response, Transport, TransportError};
use tokio::sync::watch;

/// Answers no vendor should give, and some do.
pub(super) const NONSENSE: [&str; 7] = ["", "{", "[]", "null", "<html>502</html>", "\u{0}\u{1}", "{\"ok\":"];
/// Bytes of an answer that are shown.
const MAX_SHOWN: usize = 200;
/// Different answers that are remembered.
const MAX_ANSWERS: usize = 20;
/// Placeholder for one token in a scripted answer.
const TOKEN: &str = "$TOKEN";
/// Placeholder for the entries of all tokens of a request in a scripted answer.
const EACH: &str = "$EACH";

/// Who answers what a plugin asks.
pub enum Counterpart {
    /// A vendor that is none: the gateway's client never connects, and answers as it is told.
    Scripted(Script),
    /// Whoever the plugin reaches, through the gateway's client or one of its own. It cannot be told to be silent or to talk
    /// nonsense.
    Reached {
        /// A token that it takes, as often as it is sent to.
        live: String,
        /// One that it calls dead.
        gone: Option<String>,
        /// The gateway's client.
        transport: Arc<dyn Transport>,
    },
}

/// Answers of a scripted vendor. In each body `$TOKEN` is the token that the request names first.
pub struct Script {
    /// The answer when it takes a message. `$EACH` in the body is the list of [`Script::entries`], joined by commas.
    pub accepted: (u16, String),
    /// The answer for a token that is dead, where the order of outcomes is checked too.
    pub dead: Option<(u16, String)>,
    /// What stands for each token of a request in place of `$EACH`, for a vendor that answers a batch in one body.
    pub entries: Option<Entries>,
}

/// Entries of a batch answer, one for each token of the request, in the request's order. `$TOKEN` in one is its token.
pub struct Entries {
    /// The entry of a token that was taken.
    pub accepted: String,
    /// The entry of a dead token, where the order of outcomes is checked too.
    pub dead: Option<String>,
}

impl Script {
    /// Returns what is wrong with the script. `None` means that it can be played.
    #[must_use]
    pub fn objection(&self) -> Option<&'static str> {
        match (&self.entries, self.accepted.1.contains(EACH)) {
            (Some(_), false) => Some("the answer has no $EACH, in place of which the entries would stand"),
            (None, true) => Some("the answer has $EACH, and nothing says what stands for each token"),
            (Some(_), true) | (None, false) => None,
        }
    }

    fn tells_dead_tokens(&self) -> bool {
        self.dead.is_some() || self.entries.as_ref().is_some_and(|entries| entries.dead.is_some())
    }

    fn answer(&self, request: &Request) -> Response {
        let mut tokens = named_tokens(&request.body);
        tokens.extend(named_tokens(request.uri.to_string().as_bytes()));
        let mut known = std::collections::BTreeSet::new();
        tokens.retain(|token| known.insert(token.clone()));
        let is_dead = |token: &String| token.starts_with(DEAD);
        let (status, body) = match &self.dead {
            Some(dead) if tokens.iter().any(is_dead) => dead,
            _ => &self.accepted,
        };
        let entry = |entries: &Entries, token: &String| {
            let dead = entries.dead.as_ref().filter(|_| is_dead(token));
            dead.unwrap_or(&entries.accepted).replace(TOKEN, token)
        };
        let entries = self.entries.as_ref().map(|entries| {
            let entries: Vec<_> = tokens.iter().map(|token| entry(entries, token)).collect();
            entries.join(",")
        });
        let body = body.replace(EACH, &entries.unwrap_or_default());
        answer(*status, &body.replace(TOKEN, tokens.first().map_or("", |token| token)))
    }
}

const LIVE: &str = "live-";
const DEAD: &str = "dead-";

/// Returns the tokens of the check that stand anywhere in the bytes, in their order.
fn named_tokens(bytes: &[u8]) -> Vec<String> {
    let begins = |at: usize| [LIVE, DEAD].into_iter().find(|word| bytes[at..].starts_with(word.as_bytes()));
    (0..bytes.len())
        .filter_map(|at| begins(at).map(|word| (at, word)))
        .filter_map(|(at, word)| {
            let digits: String = bytes[at + word.len()..]
                .iter()
                .map(|byte| char::from(*byte))
                .take_while(char::is_ascii_digit)
                .collect();
            (!digits.is_empty()).then(|| format!("{word}{digits}"))
        })
        .collect()
}

/// State of a scripted vendor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    Well,
    Silent,
    Unreachable,
    Broken,
    Status(u16),
    Nonsense(u16, usize),
}

/// Whom the plugin sends to, as the gateway's client sees it.
pub(super) struct Vendor {
    counterpart: Counterpart,
    mood: Mutex<Mood>,
    requests: watch::Sender<usize>,
    /// What a real vendor answered, and how often.
    answers: Mutex<BTreeMap<String, usize>>,
}

impl Vendor {
    pub(super) fn new(counterpart: Counterpart) -> Self {
        Self {
            counterpart,
            mood: Mutex::new(Mood::Well),
            requests: watch::Sender::new(0),
            answers: Mutex::default(),
        }
    }

    pub(super) const fn is_scripted(&self) -> bool {
        matches!(self.counterpart, Counterpart::Scripted(_))
    }

    /// Returns how many requests have come.
    pub(super) fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    /// Returns the answers of a real vendor, the most frequent first.
    pub(super) fn answers(&self) -> Vec<(String, usize)> {
        let mut answers: Vec<_> = self.answers.lock().clone().into_iter().collect();
        answers.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        answers
    }

    /// So many tokens it takes.
    pub(super) fn live(&self, count: usize) -> Vec<String> {
        match &self.counterpart {
            Counterpart::Scripted(_) => (0..count).map(|i| format!("{LIVE}{i}")).collect(),
            Counterpart::Reached { live, .. } => vec![live.clone(); count],
        }
    }

    /// The same, the first and every third after it dead; `None` where it is not known what is said of the dead.
    pub(super) fn every_third_dead(&self, count: usize) -> Option<Vec<String>> {
        let dead = |i: usize| match &self.counterpart {
            Counterpart::Scripted(script) => script.tells_dead_tokens().then(|| format!("{DEAD}{i}")),
            Counterpart::Reached { gone, .. } => gone.clone(),
        };
        let tokens = self.live(count).into_iter().enumerate();
        tokens.map(|(i, live)| if i % 3 == 0 { dead(i) } else { Some(live) }).collect()
    }

    pub(super) fn be(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// Sends to a real vendor, and remembers what came back.
    async fn reach(&self, transport: &dyn Transport, request: Request) -> Result<Response, TransportError> {
        let result = transport.send(request).await;
        let shown = match &result {
            Ok(response) => format!("{} {}", response.status.as_u16(), self.shown(&response.body)),
            Err(error) => format!("no answer: {error}"),
        };
        let mut answers = self.answers.lock();
        if answers.len() < MAX_ANSWERS || answers.contains_key(&shown) {
            *answers.entry(shown).or_default() += 1;
        }
        result
    }

    /// Returns the beginning of a body in one line, without the tokens it was asked about.
    fn shown(&self, body: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(body).into_owned();
        if let Counterpart::Reached { live, gone, .. } = &self.counterpart {
            for token in [Some(live), gone.as_ref()].into_iter().flatten().filter(|token| !token.is_empty()) {
                text = text.replace(token.as_str(), "(token)");
            }
        }
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN).collect()
    }
}

fn answer(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

#[async_trait]
impl Transport for Vendor {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.requests.send_modify(|requests| *requests += 1);
        let script = match &self.counterpart {
            Counterpart::Scripted(script) => script,
            Counterpart::Reached { transport, .. } => return self.reach(&**transport, request).await,
        };
        let host = request.uri.host().unwrap_or_default().to_owned();
        let why = || "the check says so".to_owned();
        let mood = *self.mood.lock();
        match mood {
            Mood::Well => Ok(script.answer(&request)),
            Mood::Silent => {
                tokio::time::sleep(request.timeout).await;
                Err(TransportError::Timeout { host, after: request.timeout })
            }
            Mood::Unreachable => Err(TransportError::Unreachable { host, why: why() }),
            Mood::Broken => Err(TransportError::Broken { host, why: why() }),
            Mood::Status(status) => Ok(answer(status, "")),
            Mood::Nonsense(status, place) => Ok(answer(status, NONSENSE[place])),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(script: &Script, body: &str) -> String {
        let request =
            Request::post("https://a.example/live-9".parse().unwrap(), body.to_owned(), Duration::ZERO);
        String::from_utf8(script.answer(&request).body.to_vec()).unwrap()
    }

    #[test]
    fn a_batch_is_answered_token_by_token_in_the_order_of_the_request() {
        let entries = Entries {
            accepted: r#"{"id":"$TOKEN"}"#.to_owned(),
            dead: Some(r#"{"gone":"$TOKEN"}"#.to_owned()),
        };
        let accepted = (200, r#"{"results":[$EACH]}"#.to_owned());
        let script = Script { accepted, dead: None, entries: Some(entries) };
        assert_eq!(script.objection(), None);
        assert_eq!(
            said(&script, r#"{"tokens":["dead-0","live-1","live-12"],"first":"dead-0"}"#),
            r#"{"results":[{"gone":"dead-0"},{"id":"live-1"},{"id":"live-12"},{"id":"live-9"}]}"#
        );
    }

    #[test]
    fn a_single_answer_can_name_its_token_and_a_dead_one_has_its_own() {
        let script = Script {
            accepted: (200, "took $TOKEN".to_owned()),
            dead: Some((410, "$TOKEN is gone".to_owned())),
            entries: None,
        };
        assert_eq!(said(&script, "to=live-3"), "took live-3");
        assert_eq!(said(&script, "to=dead-3"), "dead-3 is gone");
    }

    #[test]
    fn entries_without_a_place_and_a_place_without_entries_are_refused() {
        let entries = || Some(Entries { accepted: "{}".to_owned(), dead: None });
        let script = |body: &str, entries| Script { accepted: (200, body.to_owned()), dead: None, entries };
        assert!(script("{}", entries()).objection().unwrap().contains("has no $EACH"));
        assert!(script("[$EACH]", None).objection().unwrap().contains("has $EACH"));
    }
}
