//! The channel: encodes a message once, then encrypts and posts it for each subscription in parallel. It classifies and
//! repeats nothing, and follows no redirect.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::HeaderMap;
use pushgate::{
    Address, Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Kind, Message, Notification,
    Outcome, Probe, PushChannel, Rendered, Report, Request, SystemClock, Target, TokenKind, Transport,
};

use crate::auth::{VapidSigner, parse_private_key};
use crate::config::{Config, ConfigError};
use crate::crypto::{MAX_PLAINTEXT, Randomness, SystemRandomness, encrypt};
use crate::decode::{self, RequestContext};
use crate::encode::{self, Style};
use crate::subscription::{EndpointPolicy, Service, Subscription};

const CAPABILITY: Capability = Capability {
    // Encryption takes about 50 µs per subscription. A larger batch would block a worker thread for too long.
    max_batch: 32,
    max_bytes: MAX_PLAINTEXT,
    max_ttl: Notification::MAX_TTL,
    tokens: &[TokenKind::Subscription],
    collapse: true,
    priority: true,
    badge: true,
    // Except at Apple, where each message must show something; see `send_to`.
    silent: true,
    image: true,
    // RFC 8030 §5.1 defines receipts; no service implements them.
    receipts: false,
    // Google's rules are the strictest of the four: no retry within ten seconds, one minute after a 429.
    retry_floor: Duration::from_secs(10),
    throttle_pause: Duration::from_secs(60),
};

/// Maximum size of a response body. Refusals take a few hundred bytes.
const MAX_RESPONSE_BYTES: usize = 8 * 1024;

/// Channel to the push services of browsers.
pub struct WebPush {
    info: ChannelInfo,
    style: Style,
    padding: usize,
    policy: EndpointPolicy,
    signer: VapidSigner,
    pub(crate) random: Box<dyn Randomness>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for WebPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebPush")
            .field("name", &self.info.name)
            .field("public_key", &self.signer.public_key())
            .finish_non_exhaustive()
    }
}

impl WebPush {
    /// Creates a channel named `name`. `transport` must refuse addresses that are not public, because clients choose the
    /// endpoints.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] that names the key and a valid value.
    pub fn new(
        name: ChannelName,
        config: &Config,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let key = parse_private_key(config.private_key.expose()).ok_or(ConfigError::PrivateKey)?;
        Ok(Self {
            info: ChannelInfo { kind: "webpush", name, timeout: config.timeout, capability: CAPABILITY },
            style: Style { icon: config.icon.clone(), badge_icon: config.badge_icon.clone() },
            padding: config.padding,
            policy: EndpointPolicy::new(config)?,
            signer: VapidSigner::new(key, &config.subject),
            random: Box::new(SystemRandomness),
            transport,
            clock,
        })
    }

    /// Creates a channel named `webpush` from a VAPID private key and a contact (`mailto:…` or `https://…`).
    ///
    /// # Errors
    /// Same as for [`WebPush::new`].
    pub fn from_key(
        private_key: &str,
        subject: &str,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, ConfigError> {
        let name = ChannelName::new("webpush").expect("seven letters are a name");
        Self::new(name, &Config::new(private_key, subject), transport, Arc::new(SystemClock))
    }

    /// Returns the `applicationServerKey` that a page passes to `PushManager.subscribe`.
    #[must_use]
    pub fn public_key(&self) -> &str {
        self.signer.public_key()
    }

    /// Prepares the state shared by the requests of one delivery.
    fn call<'a>(&self, message: &'a Message) -> Result<Call<'a>, Fault> {
        if message.overrides.as_ref().is_some_and(|patch| !patch.is_object()) {
            let detail =
                "overrides for webpush must be a JSON object, merged into the message to the service worker";
            return Err(Fault::new(Kind::BadMessage, detail));
        }
        let json = encode::message(message, &self.style, 0);
        if json.len() > MAX_PLAINTEXT {
            let detail = format!("{} bytes; a push message holds {MAX_PLAINTEXT}", json.len());
            return Err(Fault::new(Kind::TooLarge, detail));
        }
        let padded_len = encode::padded_len(json.len(), self.padding);
        Ok(Call { message, json, padded_len, headers: encode::common_headers(message) })
    }

    async fn send_to(&self, call: &Call<'_>, target: &Target) -> Outcome {
        let Subscription { endpoint, service, origin, keys } = match self.subscription(&target.address) {
            Ok(subscription) => subscription,
            Err(fault) => return Outcome::Failed(fault),
        };
        if call.message.silent && service == Service::Apple {
            let detail = "Apple revokes the permission of a site whose messages show nothing";
            return Outcome::Failed(Fault::new(Kind::Unsupported, detail));
        }
        let now = self.clock.now();
        // One JSON text for all targets, unless each carries an event token of its own.
        let has_event_token = call.message.event_endpoint.is_some();
        let own = has_event_token.then(|| encode::message(call.message, &self.style, target.index));
        let json = own.as_deref().unwrap_or(&call.json);
        let body = encrypt(json, call.padded_len, keys, &*self.random);
        let (Some(body), Some(token)) = (body, self.signer.token(&origin, now)) else {
            return Outcome::Failed(Fault::new(Kind::Bug, "the message cannot be encrypted or signed"));
        };
        let mut request = Request::post(endpoint.clone(), body, self.info.timeout);
        request.headers = call.headers.clone();
        request.max_answer = MAX_RESPONSE_BYTES;
        encode::add_service_headers(&mut request.headers, service, call.message.seconds_left(now), &token);
        let result = self.transport.send(request).await;
        let now = self.clock.now();
        let context = RequestContext { service, endpoint: &endpoint, message: call.message, now };
        let outcome = match result {
            Ok(response) => decode::outcome(&response, &context),
            Err(error) => Outcome::Failed(decode::transport_fault(error, &context)),
        };
        if outcome.fault().is_some_and(|fault| fault.kind == Kind::AuthExpired) {
            self.signer.discard_refused(&origin, &token, now);
        }
        outcome
    }

    fn subscription(&self, address: &Address) -> Result<Subscription, Fault> {
        if address.kind != TokenKind::Subscription {
            let detail = format!("webpush requires a subscription, not a {}", address.kind.as_str());
            return Err(Fault::new(Kind::Unsupported, detail));
        }
        self.policy.parse(address.token.expose())
    }
}

/// State shared by the requests of one delivery.
struct Call<'a> {
    message: &'a Message,
    /// Plaintext for all targets of a message without event tokens.
    json: Vec<u8>,
    /// Length in bytes to which the plaintext is padded before encryption.
    padded_len: usize,
    headers: HeaderMap,
}

#[async_trait]
impl PushChannel for WebPush {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn admits(&self, address: &Address) -> Result<(), Fault> {
        self.subscription(address).map(drop)
    }

    fn render(&self, message: &Message) -> Rendered {
        let json = encode::message(message, &self.style, 0);
        let body = serde_json::from_slice(&json).expect("we have just written it");
        Rendered { body, counted: json.len() }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        let call = match self.call(&delivery.message) {
            Ok(call) => call,
            Err(fault) => return Report::all_failed(expected, &fault),
        };
        let outcomes = join_all(delivery.targets.iter().map(|target| self.send_to(&call, target))).await;
        Report::new(expected, outcomes)
    }

    /// Returns the public key without a request. Push services accept any key pair, so only a send can show whether a
    /// subscription was created with this key. [`WebPush::new`] has already validated the key.
    async fn probe(&self) -> Result<Probe, Fault> {
        let identity = format!("applicationServerKey {} (no push service is asked)", self.public_key());
        Ok(Probe { identity, expires_at: None })
    }
}

#[cfg(test)]
mod tests;
