//! Test bench for a channel: a scripted vendor, a manual clock, and a record of all requests.

use std::future::Future;
use std::sync::Arc;

use pushgate::{
    Address, ChannelInfo, Delivery, Message, Outcome, PushChannel, Request, TokenKind, TransportError,
};

use super::{Sent, Subject, Verdict};
use crate::clock::ManualClock;
use crate::sample;
use crate::transport::{Reply, ScriptedTransport};

/// Maximum number of addresses per delivery in these tests. More would not test anything else.
const MOST: usize = 1000;

/// Channel with its scripted vendor and its clock.
pub(super) struct Theatre<S: Subject> {
    pub(super) subject: Arc<S>,
    pub(super) transport: Arc<ScriptedTransport>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) channel: Arc<S::Channel>,
}

impl<S: Subject> Theatre<S> {
    /// Creates a bench whose vendor accepts everything.
    pub(super) fn open(subject: S) -> Self {
        Self::answering(subject, |subject, request| Ok(accepted(subject, request)))
    }

    /// Creates a bench whose token endpoint works, and whose sends get these answers.
    pub(super) fn answering(
        subject: S,
        vendor: impl Fn(&S, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::ruled(Arc::new(subject), move |subject, _, request| {
            subject.grant(request).map_or_else(|| vendor(subject, request), Ok)
        })
    }

    /// Creates a bench that answers every request by a rule, including those to a token endpoint. The rule may move
    /// the clock.
    pub(super) fn ruled(
        subject: Arc<S>,
        vendor: impl Fn(&S, &ManualClock, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let transport = ScriptedTransport::new().rule({
            let (subject, clock) = (Arc::clone(&subject), Arc::clone(&clock));
            move |request| Some(vendor(&subject, &clock, request))
        });
        let transport = Arc::new(transport);
        let config = serde_json::from_value(subject.config()).expect("the subject's config is the channel's");
        let channel = subject.channel(&config, Arc::clone(&transport), Arc::clone(&clock));
        let channel = Arc::new(channel.expect("the subject's config is one that works"));
        Self { subject, transport, clock, channel }
    }

    pub(super) fn info(&self) -> &ChannelInfo {
        self.channel.info()
    }

    /// Returns the number of addresses for a delivery: `wanted`, limited by the declared batch size.
    pub(super) fn batch(&self, wanted: usize) -> usize {
        self.info().capability.max_batch.min(wanted).min(MOST)
    }

    pub(super) fn address(&self, kind: TokenKind, token: &str) -> Address {
        sample::address(self.info().name.as_str(), kind, token)
    }

    /// Returns a delivery to the tokens of these numbers, of the first declared kind.
    pub(super) fn delivery(&self, message: Message, to: impl IntoIterator<Item = usize>) -> Delivery {
        let kind = self.info().capability.tokens[0];
        let address = |number| self.address(kind, &self.subject.token(kind, number));
        sample::delivery(message, to.into_iter().map(address))
    }

    /// Sends a delivery and asserts one outcome per address.
    pub(super) async fn send(&self, delivery: &Delivery) -> Vec<Outcome> {
        let outcomes = self.channel.send(delivery).await.into_outcomes();
        assert_eq!(outcomes.len(), delivery.targets.len(), "one outcome for each address");
        outcomes
    }

    /// Sends one message to one address and returns the parsed request.
    pub(super) async fn sent(&self, message: Message) -> Sent {
        let outcomes = self.send(&self.delivery(message, [0])).await;
        assert!(took(&outcomes[0]), "{outcomes:?}");
        self.subject.read(&self.last(), self.clock.now())
    }

    /// Returns the requests so far, without those to a token endpoint.
    pub(super) fn sends(&self) -> Vec<Request> {
        let mut requests = self.transport.requests();
        requests.retain(|request| self.subject.grant(request).is_none());
        requests
    }

    pub(super) fn last(&self) -> Request {
        self.sends().pop().expect("something was sent")
    }

    /// Returns the number of requests to a token endpoint.
    pub(super) fn grants(&self) -> usize {
        self.transport.requests().len() - self.sends().len()
    }
}

/// Returns the vendor's answer that accepts all tokens of the request.
pub(super) fn accepted<S: Subject>(subject: &S, request: &Request) -> pushgate::Response {
    subject.answer(&vec![Verdict::Accepted; subject.to(request).len()])
}

/// Returns `true` if the vendor accepted the message.
pub(super) fn took(outcome: &Outcome) -> bool {
    outcome.fault().is_none()
}

/// Returns every transport error for this request.
pub(super) fn errors(request: &Request) -> [TransportError; 6] {
    let host = || request.uri.host().unwrap_or_default().to_owned();
    let why = || "a test".to_owned();
    [
        TransportError::Unreachable { host: host(), why: why() },
        TransportError::Refused { host: host(), why: why() },
        TransportError::Timeout { host: host(), after: request.timeout },
        TransportError::Broken { host: host(), why: why() },
        TransportError::GoneAway { host: host(), reason: why() },
        TransportError::AnswerTooLong { host: host(), limit: request.max_answer },
    ]
}

/// Runs the future of a promise to completion.
pub(super) fn play<T>(promise: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be had").block_on(promise)
}
