//! Transport with scripted answers that records all requests. Opens no socket.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use pushgate::{Request, Response, Transport, TransportError};
use tokio::sync::watch;

/// Result of a request.
pub type Reply = Result<Response, TransportError>;

type Rule = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

/// Scripted transport. The first rule that returns a reply answers the request; otherwise the next reply of the queue
/// does. With an empty queue the result is [`TransportError::Unreachable`] with an explanation. An answer longer than
/// the request permits is [`TransportError::AnswerTooLong`].
#[derive(Default)]
pub struct ScriptedTransport {
    rules: Vec<Rule>,
    queue: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<Request>>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    arrived: usize,
    held: bool,
}

impl ScriptedTransport {
    /// Creates a transport without rules and replies.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule. A rule that returns `None` leaves the request to later rules and the queue.
    #[must_use]
    pub fn rule(mut self, rule: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Self {
        self.rules.push(Box::new(rule));
        self
    }

    /// Adds a reply to the end of the queue.
    pub fn then(&self, reply: impl Into<Scripted>) {
        self.queue.lock().push_back(reply.into().0);
    }

    /// Returns the requests so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }

    /// Returns the requests so far with this path.
    #[must_use]
    pub fn requests_at(&self, path: &str) -> Vec<Request> {
        self.requests.lock().iter().filter(|request| request.uri.path() == path).cloned().collect()
    }

    /// Holds back all answers until [`Self::release`].
    pub fn hold(&self) {
        self.progress.send_modify(|progress| progress.held = true);
    }

    /// Releases the held and all later answers.
    pub fn release(&self) {
        self.progress.send_modify(|progress| progress.held = false);
    }

    /// Waits until `count` requests have arrived, with or without an answer.
    pub async fn arrived(&self, count: usize) {
        // The sender is `self`, so waiting cannot fail.
        let _ = self.progress.subscribe().wait_for(|progress| progress.arrived >= count).await;
    }
}

#[async_trait]
impl Transport for ScriptedTransport {
    async fn send(&self, request: Request) -> Reply {
        self.requests.lock().push(request.clone());
        self.progress.send_modify(|progress| progress.arrived += 1);
        let _ = self.progress.subscribe().wait_for(|progress| !progress.held).await;
        let ruled = self.rules.iter().find_map(|rule| rule(&request));
        let reply = ruled.or_else(|| self.queue.lock().pop_front());
        let host = || request.uri.host().unwrap_or_default().to_owned();
        match reply {
            Some(Ok(answer)) if answer.body.len() > request.max_answer => {
                Err(TransportError::AnswerTooLong { host: host(), limit: request.max_answer })
            }
            Some(reply) => reply,
            None => {
                let why = "the script has no answer left".to_owned();
                Err(TransportError::Unreachable { host: host(), why })
            }
        }
    }
}

/// Reply for the queue: a response or an error.
pub struct Scripted(Reply);

impl From<Response> for Scripted {
    fn from(response: Response) -> Self {
        Self(Ok(response))
    }
}

impl From<TransportError> for Scripted {
    fn from(error: TransportError) -> Self {
        Self(Err(error))
    }
}

/// Returns a response with this status and body.
///
/// # Panics
/// Panics if `status` is invalid.
#[must_use]
pub fn answer(status: u16, body: impl Into<Bytes>) -> Response {
    let status = StatusCode::from_u16(status).expect("a test writes a status that exists");
    Response { status, headers: HeaderMap::new(), body: body.into() }
}

/// Returns a response with this status, headers and body.
///
/// # Panics
/// Panics if a header is invalid.
#[must_use]
pub fn answer_with(status: u16, headers: &[(&'static str, &str)], body: impl Into<Bytes>) -> Response {
    let mut answer = answer(status, body);
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a test writes a header value that is one");
        answer.headers.append(HeaderName::from_static(name), value);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn request(path: &'static str) -> Request {
        let uri = http::Uri::from_static(path);
        Request::post(uri, "body", Duration::from_secs(1))
    }

    #[tokio::test]
    async fn rules_come_first_then_the_queue_then_a_clear_error() {
        let transport = ScriptedTransport::new()
            .rule(|request| (request.uri.path() == "/ruled").then(|| Ok(answer(204, ""))));
        transport.then(answer_with(200, &[("retry-after", "3")], "queued"));
        assert_eq!(transport.send(request("https://a.test/ruled")).await.unwrap().status, 204);
        assert_eq!(transport.send(request("https://a.test/free")).await.unwrap().body, "queued");
        let error = transport.send(request("https://a.test/free")).await.unwrap_err();
        assert!(error.to_string().contains("the script has no answer left"));
        assert_eq!(transport.requests().len(), 3);
        assert_eq!(transport.requests_at("/free").len(), 2);
    }

    #[tokio::test]
    async fn an_answer_longer_than_the_request_takes_is_an_error() {
        let transport = ScriptedTransport::new();
        transport.then(answer(200, vec![b' '; Request::MAX_ANSWER]));
        transport.then(answer(200, vec![b' '; Request::MAX_ANSWER + 1]));
        assert!(transport.send(request("https://a.test/")).await.is_ok());
        let error = transport.send(request("https://a.test/")).await.unwrap_err();
        assert!(matches!(error, TransportError::AnswerTooLong { limit: Request::MAX_ANSWER, .. }));
    }

    #[tokio::test]
    async fn held_requests_have_arrived_and_wait_for_the_release() {
        let transport = ScriptedTransport::new();
        transport.then(answer(200, ""));
        transport.hold();
        let mut sending = transport.send(request("https://a.test/"));
        assert!((&mut sending).now_or_never().is_none());
        transport.arrived(1).await;
        transport.release();
        assert_eq!(sending.await.unwrap().status, 200);
    }
}
