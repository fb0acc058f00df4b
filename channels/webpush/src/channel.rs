//! The channel: one text for a delivery, encrypted and posted for each subscription side by side. Nothing is judged or
//! repeated here, and no redirect is followed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::HeaderMap;
use pushgate::{
    Address, Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Kind, Message, Notification,
    Outcome, Probe, PushChannel, Rendered, Report, Request, SystemClock, Target, TokenKind, Transport,
};

use crate::config::{Config, ConfigError};
use crate::crypto::{MAX_PLAIN, Randomness, SystemRandomness, encrypted};
use crate::decode::{self, Asked};
use crate::encode::{self, Style};
use crate::subscription::{Allowed, Service, Subscription};
use crate::vapid::{Vapid, private_key};

const CAPABILITY: Capability = Capability {
    // Encryption takes some 50 µs a subscription; more at once would keep a thread from everybody else for too long.
    max_batch: 32,
    max_bytes: MAX_PLAIN,
    max_ttl: Notification::MAX_TTL,
    tokens: &[TokenKind::Subscription],
    collapse: true,
    priority: true,
    badge: true,
    // Not at Apple, where each message must show something; see `send_one`.
    silent: true,
    image: true,
    // RFC 8030 §5.1 has receipts; no service has built them.
    receipts: false,
    // The strictest of the four is Google's: no retry within ten seconds, a minute after a 429.
    retry_floor: Duration::from_secs(10),
    throttle_pause: Duration::from_secs(60),
};

/// The longest answer read; a refusal says what it has to say in a few hundred bytes.
const LONGEST_ANSWER: usize = 8 * 1024;

/// A channel to the push services of browsers.
pub struct WebPush {
    info: ChannelInfo,
    style: Style,
    padding: usize,
    allowed: Allowed,
    vapid: Vapid,
    pub(crate) random: Box<dyn Randomness>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for WebPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebPush")
            .field("name", &self.info.name)
            .field("public_key", &self.vapid.public())
            .finish_non_exhaustive()
    }
}

impl WebPush {
    /// A channel under `name`. `transport` must refuse addresses that are not public: an endpoint is a stranger's choice.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and what would be right.
    pub fn new(
        name: ChannelName,
        config: &Config,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let key = private_key(config.private_key.expose()).ok_or(ConfigError::PrivateKey)?;
        Ok(Self {
            info: ChannelInfo { kind: "webpush", name, timeout: config.timeout, capability: CAPABILITY },
            style: Style { icon: config.icon.clone(), badge_icon: config.badge_icon.clone() },
            padding: config.padding,
            allowed: Allowed::new(config)?,
            vapid: Vapid::new(key, &config.subject),
            random: Box::new(SystemRandomness),
            transport,
            clock,
        })
    }

    /// A channel named `webpush`, from a VAPID private key and a contact (`mailto:…` or `https://…`).
    ///
    /// # Errors
    /// As for [`WebPush::new`].
    pub fn from_key(
        private_key: &str,
        subject: &str,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, ConfigError> {
        let name = ChannelName::new("webpush").expect("seven letters are a name");
        Self::new(name, &Config::new(private_key, subject), transport, Arc::new(SystemClock))
    }

    /// What the page hands to `PushManager.subscribe` as `applicationServerKey`.
    #[must_use]
    pub fn public_key(&self) -> &str {
        self.vapid.public()
    }

    /// What the requests of one delivery have in common.
    fn call<'a>(&self, message: &'a Message) -> Result<Call<'a>, Fault> {
        if message.overrides.as_ref().is_some_and(|patch| !patch.is_object()) {
            let detail =
                "overrides for webpush must be a JSON object, merged into what the service worker reads";
            return Err(Fault::new(Kind::BadMessage, detail));
        }
        let text = encode::text(message, &self.style, 0);
        if text.len() > MAX_PLAIN {
            let detail = format!("{} bytes; a push message holds {MAX_PLAIN}", text.len());
            return Err(Fault::new(Kind::TooLarge, detail));
        }
        let length = encode::filled_up(text.len(), self.padding);
        Ok(Call { message, text, length, headers: encode::headers(message) })
    }

    async fn send_one(&self, call: &Call<'_>, target: &Target) -> Outcome {
        let Subscription { endpoint, service, origin, keys } = match self.subscription(&target.address) {
            Ok(subscription) => subscription,
            Err(fault) => return Outcome::Failed(fault),
        };
        if call.message.silent && service == Service::Apple {
            let detail = "Apple withdraws the permission of a site whose messages show nothing";
            return Outcome::Failed(Fault::new(Kind::Unsupported, detail));
        }
        let now = self.clock.now();
        // One text for all, unless each tells for itself what became of it.
        let is_told = call.message.return_address.is_some();
        let own = is_told.then(|| encode::text(call.message, &self.style, target.index));
        let text = own.as_deref().unwrap_or(&call.text);
        let body = encrypted(text, call.length, keys, &*self.random);
        let (Some(body), Some(token)) = (body, self.vapid.token(&origin, now)) else {
            return Outcome::Failed(Fault::new(Kind::Bug, "the message cannot be encrypted or signed"));
        };
        let mut request = Request::post(endpoint.clone(), body, self.info.timeout);
        request.headers = call.headers.clone();
        request.max_answer = LONGEST_ANSWER;
        encode::add_for(&mut request.headers, service, call.message.seconds_left(now), &token);
        let answer = self.transport.send(request).await;
        let asked = Asked { service, endpoint: &endpoint, message: call.message, now: self.clock.now() };
        let outcome = match answer {
            Ok(response) => decode::outcome(&response, &asked),
            Err(error) => Outcome::Failed(decode::unanswered(error, &asked)),
        };
        if outcome.fault().is_some_and(|fault| fault.kind == Kind::AuthExpired) {
            self.vapid.refused(&origin, &token, asked.now);
        }
        outcome
    }

    fn subscription(&self, address: &Address) -> Result<Subscription, Fault> {
        if address.kind != TokenKind::Subscription {
            let detail = format!("webpush takes a subscription, not a {}", address.kind.as_str());
            return Err(Fault::new(Kind::Unsupported, detail));
        }
        self.allowed.read(address.token.expose())
    }
}

/// What the requests of one delivery have in common.
struct Call<'a> {
    message: &'a Message,
    /// As it is for all where nobody tells what became of it.
    text: Vec<u8>,
    /// How long the text is made before it is encrypted.
    length: usize,
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
        let text = encode::text(message, &self.style, 0);
        let body = serde_json::from_slice(&text).expect("we have just written it");
        Rendered { body, counted: text.len() }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        let call = match self.call(&delivery.message) {
            Ok(call) => call,
            Err(fault) => return Report::all_failed(expected, &fault),
        };
        let outcomes = join_all(delivery.targets.iter().map(|target| self.send_one(&call, target))).await;
        Report::new(expected, outcomes)
    }

    /// There is nobody to ask: any pair of keys is good, and whether a page subscribed with ours shows when a message is
    /// sent to it. That the key is one was seen when the channel was made.
    async fn probe(&self) -> Result<Probe, Fault> {
        let identity = format!("applicationServerKey {} (no push service is asked)", self.vapid.public());
        Ok(Probe { identity, expires_at: None })
    }
}

#[cfg(test)]
mod tests;
