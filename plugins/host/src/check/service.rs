//! Push service of a check: a scripted one, or a real one behind the gateway's client.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use pushgate::{Request, Response, Transport, TransportError};
use tokio::sync::watch;

/// Response bodies that real push services wrongly send at times.
pub(super) const MALFORMED_BODIES: [&str; 7] =
    ["", "{", "[]", "null", "<html>502</html>", "\u{0}\u{1}", "{\"ok\":"];
/// Maximum number of characters of a response in the report.
const MAX_ANSWER_TEXT: usize = 200;
/// Maximum number of distinct responses in the report.
const MAX_ANSWERS: usize = 20;
/// Placeholder for one token in a scripted answer.
const TOKEN: &str = "$TOKEN";
/// Placeholder for the entries of all tokens of a request in a scripted answer.
const EACH: &str = "$EACH";

/// Push service that a checked plugin sends to.
pub enum PushService {
    /// Simulated service. The gateway's client never connects and returns the scripted responses.
    Scripted(Script),
    /// Real service, through the gateway's client or the plugin's own. It cannot be made to fail.
    Real {
        /// Token that the service accepts repeatedly.
        live: String,
        /// Token that the service reports as dead. `None` skips the checks that need one.
        gone: Option<String>,
        /// Client of the gateway.
        transport: Arc<dyn Transport>,
    },
}

/// Responses of a scripted push service: status and body. `$TOKEN` in a body is replaced by the request's first token.
pub struct Script {
    /// Response to an accepted message. `$EACH` in the body is replaced by the [`Script::entries`], joined by commas.
    pub accepted: (u16, String),
    /// Response for a dead token. `None` skips the check of the outcomes' order, unless [`Entries::dead`] is given.
    pub dead: Option<(u16, String)>,
    /// Entries that replace `$EACH`, for a service that answers a batch in one body.
    pub entries: Option<Entries>,
}

/// Entries of a batch response, one for each token, in the request's order. `$TOKEN` in an entry is replaced by its token.
pub struct Entries {
    /// Entry of an accepted token.
    pub accepted: String,
    /// Entry of a dead token. `None` skips the check of the outcomes' order, unless [`Script::dead`] is given.
    pub dead: Option<String>,
}

impl Script {
    /// Returns why the script is invalid. `None` means that it is valid.
    #[must_use]
    pub fn find_problem(&self) -> Option<&'static str> {
        match (&self.entries, self.accepted.1.contains(EACH)) {
            (Some(_), false) => Some("the answer has no $EACH that the entries could replace"),
            (None, true) => Some("the answer has $EACH, but no entries that replace it"),
            (Some(_), true) | (None, false) => None,
        }
    }

    fn has_dead_answer(&self) -> bool {
        self.dead.is_some() || self.entries.as_ref().is_some_and(|entries| entries.dead.is_some())
    }

    fn answer(&self, request: &Request) -> Response {
        let mut tokens = find_tokens(&request.body);
        tokens.extend(find_tokens(request.uri.to_string().as_bytes()));
        let mut seen = std::collections::BTreeSet::new();
        tokens.retain(|token| seen.insert(token.clone()));
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

/// Returns the check's tokens in the bytes, in their order.
fn find_tokens(bytes: &[u8]) -> Vec<String> {
    let prefix_at =
        |at: usize| [LIVE, DEAD].into_iter().find(|prefix| bytes[at..].starts_with(prefix.as_bytes()));
    (0..bytes.len())
        .filter_map(|at| prefix_at(at).map(|prefix| (at, prefix)))
        .filter_map(|(at, prefix)| {
            let digits: String = bytes[at + prefix.len()..]
                .iter()
                .map(|byte| char::from(*byte))
                .take_while(char::is_ascii_digit)
                .collect();
            (!digits.is_empty()).then(|| format!("{prefix}{digits}"))
        })
        .collect()
}

/// Behaviour of a scripted push service.
#[derive(Debug, Clone, Copy)]
pub(super) enum Behaviour {
    Normal,
    Silent,
    Unreachable,
    Broken,
    Status(u16),
    /// Responds with this status and the body at this index of [`MALFORMED_BODIES`].
    Malformed(u16, usize),
}

/// Transport that stands for the gateway's client in a check.
pub(super) struct ServiceTransport {
    service: PushService,
    behaviour: Mutex<Behaviour>,
    requests: watch::Sender<usize>,
    /// Responses of a real service and their counts.
    answers: Mutex<BTreeMap<String, usize>>,
}

impl ServiceTransport {
    pub(super) fn new(service: PushService) -> Self {
        Self {
            service,
            behaviour: Mutex::new(Behaviour::Normal),
            requests: watch::Sender::new(0),
            answers: Mutex::default(),
        }
    }

    pub(super) const fn is_scripted(&self) -> bool {
        matches!(self.service, PushService::Scripted(_))
    }

    /// Returns the number of requests so far.
    pub(super) fn request_count(&self) -> usize {
        *self.requests.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    /// Returns the responses of a real service with their counts, the most frequent first.
    pub(super) fn answers(&self) -> Vec<(String, usize)> {
        let mut answers: Vec<_> = self.answers.lock().clone().into_iter().collect();
        answers.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        answers
    }

    /// Returns so many tokens that the service accepts.
    pub(super) fn live_tokens(&self, count: usize) -> Vec<String> {
        match &self.service {
            PushService::Scripted(_) => (0..count).map(|i| format!("{LIVE}{i}")).collect(),
            PushService::Real { live, .. } => vec![live.clone(); count],
        }
    }

    /// Returns so many tokens, of which those at indices 0, 3, 6 … are dead. `None` means that no dead token is known.
    pub(super) fn every_third_dead(&self, count: usize) -> Option<Vec<String>> {
        let dead = |i: usize| match &self.service {
            PushService::Scripted(script) => script.has_dead_answer().then(|| format!("{DEAD}{i}")),
            PushService::Real { gone, .. } => gone.clone(),
        };
        let tokens = self.live_tokens(count).into_iter().enumerate();
        tokens.map(|(i, live)| if i % 3 == 0 { dead(i) } else { Some(live) }).collect()
    }

    pub(super) fn set_behaviour(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    /// Sends to a real service and counts its response.
    async fn send_to_real(
        &self,
        transport: &dyn Transport,
        request: Request,
    ) -> Result<Response, TransportError> {
        let result = transport.send(request).await;
        let text = match &result {
            Ok(response) => format!("{} {}", response.status.as_u16(), self.shortened(&response.body)),
            Err(error) => format!("no answer: {error}"),
        };
        let mut answers = self.answers.lock();
        if answers.len() < MAX_ANSWERS || answers.contains_key(&text) {
            *answers.entry(text).or_default() += 1;
        }
        result
    }

    /// Returns the beginning of a body as one line, without the tokens.
    fn shortened(&self, body: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(body).into_owned();
        if let PushService::Real { live, gone, .. } = &self.service {
            for token in [Some(live), gone.as_ref()].into_iter().flatten().filter(|token| !token.is_empty()) {
                text = text.replace(token.as_str(), "(token)");
            }
        }
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ANSWER_TEXT).collect()
    }
}

fn answer(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

#[async_trait]
impl Transport for ServiceTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.requests.send_modify(|requests| *requests += 1);
        let script = match &self.service {
            PushService::Scripted(script) => script,
            PushService::Real { transport, .. } => return self.send_to_real(&**transport, request).await,
        };
        let host = request.uri.host().unwrap_or_default().to_owned();
        let why = || "the check simulates this failure".to_owned();
        let behaviour = *self.behaviour.lock();
        match behaviour {
            Behaviour::Normal => Ok(script.answer(&request)),
            Behaviour::Silent => {
                tokio::time::sleep(request.timeout).await;
                Err(TransportError::Timeout { host, after: request.timeout })
            }
            Behaviour::Unreachable => Err(TransportError::Unreachable { host, why: why() }),
            Behaviour::Broken => Err(TransportError::Broken { host, why: why() }),
            Behaviour::Status(status) => Ok(answer(status, "")),
            Behaviour::Malformed(status, index) => Ok(answer(status, MALFORMED_BODIES[index])),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body_of(script: &Script, body: &str) -> String {
        let request =
            Request::post("https://a.example/live-9".parse().unwrap(), body.to_owned(), Duration::ZERO);
        String::from_utf8(script.answer(&request).body.to_vec()).unwrap()
    }

    #[test]
    fn a_batch_response_has_one_entry_per_token_in_the_requests_order() {
        let entries = Entries {
            accepted: r#"{"id":"$TOKEN"}"#.to_owned(),
            dead: Some(r#"{"gone":"$TOKEN"}"#.to_owned()),
        };
        let accepted = (200, r#"{"results":[$EACH]}"#.to_owned());
        let script = Script { accepted, dead: None, entries: Some(entries) };
        assert_eq!(script.find_problem(), None);
        assert_eq!(
            body_of(&script, r#"{"tokens":["dead-0","live-1","live-12"],"first":"dead-0"}"#),
            r#"{"results":[{"gone":"dead-0"},{"id":"live-1"},{"id":"live-12"},{"id":"live-9"}]}"#
        );
    }

    #[test]
    fn a_single_response_names_its_token_and_a_dead_token_has_its_own_response() {
        let script = Script {
            accepted: (200, "took $TOKEN".to_owned()),
            dead: Some((410, "$TOKEN is gone".to_owned())),
            entries: None,
        };
        assert_eq!(body_of(&script, "to=live-3"), "took live-3");
        assert_eq!(body_of(&script, "to=dead-3"), "dead-3 is gone");
    }

    #[test]
    fn entries_without_a_placeholder_and_a_placeholder_without_entries_are_refused() {
        let entries = || Some(Entries { accepted: "{}".to_owned(), dead: None });
        let script = |body: &str, entries| Script { accepted: (200, body.to_owned()), dead: None, entries };
        assert!(script("{}", entries()).find_problem().unwrap().contains("has no $EACH"));
        assert!(script("[$EACH]", None).find_problem().unwrap().contains("has $EACH"));
    }
}
