//! The channel: encodes, sends one request per delivery, and decodes. It classifies, repeats and delays nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Uri};
use pushgate::{
    Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Message, Outcome, Probe, PushChannel,
    Rendered, Report, Request, Target, TokenKind, Transport,
};

use crate::config::{Config, ConfigError};
use crate::{decode, encode};

/// Capabilities of the vendor. `conformance.rs` tests that the channel has them.
pub(crate) const CAPABILITY: Capability = Capability {
    max_batch: 100,
    tokens: &[TokenKind::Token, TokenKind::Fid, TokenKind::Subscription],
    collapse: true,
    priority: true,
    badge: true,
    silent: true,
    image: true,
    ..Capability::BASIC
};
/// Timeout of one send. The worker retries, so a longer wait would only block its slot.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Channel to one account at the vendor.
pub struct Dummy {
    info: ChannelInfo,
    send_uri: Uri,
    probe_uri: Uri,
    key: String,
    authorization: HeaderValue,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Dummy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dummy").field("name", &self.info.name).finish_non_exhaustive()
    }
}

impl Dummy {
    /// Creates a channel named `name`.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] that names the key and a valid value.
    pub fn new(
        name: ChannelName,
        config: &Config,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            info: ChannelInfo { kind: "dummy", name, timeout: TIMEOUT, capability: CAPABILITY },
            send_uri: config.uri("/v1/send")?,
            probe_uri: config.uri("/v1/key")?,
            key: config.key.expose().to_owned(),
            authorization: config.authorization()?,
            transport,
            clock,
        })
    }

    fn request(&self, uri: &Uri, body: String) -> Request {
        let mut request = Request::post(uri.clone(), body, self.info.timeout);
        request.headers.insert(AUTHORIZATION, self.authorization.clone());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    /// Sends one request for all targets and returns one outcome for each, in order.
    async fn exchange(&self, message: &Message, targets: &[&Target]) -> Vec<Outcome> {
        let tokens: Vec<_> = targets.iter().map(|target| target.address.token.expose()).collect();
        let payload = message.payload.as_ref().map_or("", |payload| payload.expose());
        let texts = [message.title.expose(), message.content.expose(), payload, &self.key];
        let private = [&texts[..], &tokens[..]].concat();
        let body = encode::request(message, tokens, self.clock.now());
        match self.transport.send(self.request(&self.send_uri, body)).await {
            Ok(response) => decode::outcomes(&response, targets.len(), &private, self.clock.now()),
            Err(error) => vec![Outcome::Failed(error.into()); targets.len()],
        }
    }
}

#[async_trait]
impl PushChannel for Dummy {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    // Pure: planning calls it for the size, preview for the body. It uses the full time to live, because a later send is never
    // longer.
    fn render(&self, message: &Message) -> Rendered {
        let body = serde_json::to_value(encode::body(message, message.created_at))
            .expect("texts and numbers always have a JSON form");
        Rendered { counted: body.to_string().len(), body }
    }

    // Infallible: every failure is an outcome, one per target, in order. An invalid target does not affect the others.
    async fn send(&self, delivery: &Delivery) -> Report {
        let refused: Vec<_> =
            delivery.targets.iter().map(|target| self.admits(&target.address).err()).collect();
        let rest = delivery.targets.iter().zip(&refused).filter(|(_, fault)| fault.is_none());
        let rest: Vec<_> = rest.map(|(target, _)| target).collect();
        let sent = match rest.is_empty() {
            true => Vec::new(),
            false => self.exchange(&delivery.message, &rest).await,
        };
        let mut sent = sent.into_iter();
        let outcomes =
            refused.into_iter().filter_map(|fault| fault.map(Outcome::Failed).or_else(|| sent.next()));
        Report::new(delivery.targets.len(), outcomes.collect())
    }

    // Asks the vendor about the credentials. Never sends a message.
    async fn probe(&self) -> Result<Probe, Fault> {
        let mut request = self.request(&self.probe_uri, String::new());
        request.method = Method::GET;
        let response = self.transport.send(request).await?;
        if !response.status.is_success() {
            return Err(decode::refused(&response, &[&self.key], self.clock.now()));
        }
        Ok(Probe { identity: "the owner of the key".to_owned(), expires_at: None })
    }
}
