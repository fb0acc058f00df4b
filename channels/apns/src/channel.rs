//! The channel: encode once, send to each device over one HTTP/2 connection, decode. Nothing is judged or repeated here.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Uri};
use pushgate::{
    Address, Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Kind, Message, Outcome, Probe,
    PushChannel, Rendered, Report, Request, Secret, Timestamp, TokenKind, Transport,
};
use serde_json::{Value, json};

use crate::auth::{Auth, Bearer, ProviderTokens};
use crate::broadcast;
use crate::config::{Config, ConfigError};
use crate::decode::{self, Asked};
use crate::encode::{self, Encoded, LONGEST_LIFE, Overrides, PushType, Style};

const CAPABILITY: Capability = Capability {
    tokens: &[TokenKind::Token, TokenKind::Voip],
    // Apple has no batches: single requests side by side on one connection.
    max_batch: 64,
    max_ttl: LONGEST_LIFE,
    collapse: true,
    priority: true,
    badge: true,
    silent: true,
    image: true,
    ..Capability::BASIC
};

/// The bytes of a device token. Apple fixes no length: devices have 32, Live Activities more.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 32..=100;

/// Well-formed and nobody's: what a probe is addressed to.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A channel to the devices of one app in one of Apple's environments.
pub struct Apns {
    info: ChannelInfo,
    style: Style,
    /// Where to send to: scheme and host.
    base: String,
    auth: Auth,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Apns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Apns({}: {} at {})", self.info.name, self.style.topic, self.base)
    }
}

impl Apns {
    /// A channel under `name`. Give all channels the same `tokens`, so that those with one key share its provider token;
    /// and with a certificate give the transport [`Config::identity`]. Channels with the same [`Config::base`] and
    /// credentials may share a transport, others must not: Apple takes one key a connection, and one stream until it has
    /// taken that key.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and what would be right.
    pub fn new(
        name: ChannelName,
        config: &Config,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        tokens: &ProviderTokens,
    ) -> Result<Self, ConfigError> {
        if config.timeout.is_zero() {
            return Err(ConfigError::NO_TIME);
        }
        let sound = Some(config.sound.clone()).filter(|sound| !sound.is_empty());
        Ok(Self {
            info: ChannelInfo { kind: "apns", name, timeout: config.timeout, capability: CAPABILITY },
            style: Style { topic: config.topic()?, sound },
            base: config.base()?.to_owned(),
            auth: config.auth(tokens)?,
            transport,
            clock,
        })
    }

    /// What goes to every address of this kind.
    fn call<'a>(&self, message: &'a Message, kind: TokenKind, now: Timestamp) -> Result<Call<'a>, Fault> {
        let overrides = Overrides::of(message, kind)?;
        let Encoded { kind, mut headers, payload } = encode::encode(message, &overrides, &self.style);
        let bearer = self.auth.bearer(now)?;
        if let Some(bearer) = &bearer {
            headers.insert(AUTHORIZATION, bearer.header.clone());
        }
        let app_reads = message.payload.as_ref().map_or("", Secret::expose);
        let private = [message.title.expose(), message.content.expose(), app_reads];
        let asked = Asked { chooses_topic: overrides.chooses_topic(), private };
        Ok(Call { message, kind, asked, headers, payload: payload.into(), bearer })
    }

    async fn send_one(&self, shared: &Call<'_>, address: &Address) -> Result<Outcome, Fault> {
        self.admits(address)?;
        // A call's own token is rare: what goes there is made here, and costs the others nothing.
        let ring = || self.call(shared.message, address.kind, self.clock.now()).map(Box::new);
        let own = (address.kind == TokenKind::Voip).then(ring).transpose()?;
        let call = own.as_deref().unwrap_or(shared);
        let token = address.token.expose();
        let (path, headers) = match broadcast::id(token) {
            None => (format!("3/device/{token}"), call.headers.clone()),
            Some(id) => {
                let path = format!("4/broadcasts/apps/{}", self.style.topic);
                (path, broadcast::headers(call.kind, &call.headers, id)?)
            }
        };
        let uri = format!("{}/{path}", self.base).parse::<Uri>();
        let uri = uri.map_err(|_| Fault::new(Kind::Unsupported, "`topic` cannot stand in a path"))?;
        let mut request = Request::post(uri, call.payload.clone(), self.info.timeout);
        request.headers = headers;
        let outcome = match self.transport.send(request).await {
            Ok(response) => decode::outcome(&response, &call.asked, self.clock.now()),
            Err(error) => Outcome::Failed(decode::unanswered(error, &call.asked)),
        };
        let Outcome::Failed(fault) = outcome else { return Ok(outcome) };
        Err(self.auth.judged(fault, call.bearer.as_ref(), self.clock.now()))
    }
}

/// What the requests of one delivery have in common.
struct Call<'a> {
    message: &'a Message,
    kind: PushType,
    asked: Asked<'a>,
    headers: HeaderMap,
    payload: Bytes,
    bearer: Option<Bearer>,
}

#[async_trait]
impl PushChannel for Apns {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn admits(&self, address: &Address) -> Result<(), Fault> {
        let token = address.token.expose();
        let is_hex = token.bytes().all(|b| b.is_ascii_hexdigit());
        if !CAPABILITY.tokens.contains(&address.kind) {
            let detail = format!("apns takes a token, not a {}", address.kind.as_str());
            return Err(Fault::new(Kind::Unsupported, detail));
        }
        if let Some(id) = broadcast::id(token).filter(|_| address.kind == TokenKind::Token) {
            return broadcast::admits(id);
        }
        if is_hex && token.len().is_multiple_of(2) && TOKEN_BYTES.contains(&(token.len() / 2)) {
            return Ok(());
        }
        let detail = "a device token of Apple's is 32 to 100 bytes in hexadecimal digits, without spaces";
        Err(Fault::new(Kind::BadMessage, detail))
    }

    fn render(&self, message: &Message) -> Rendered {
        // Overrides that cannot be read are refused when it is sent.
        let overrides = Overrides::of(message, TokenKind::Token).unwrap_or_default();
        let encoded = encode::encode(message, &overrides, &self.style);
        let shown = |value: &HeaderValue| Value::from(value.to_str().unwrap_or_default());
        let headers = encoded.headers.iter().map(|(name, value)| (name.to_string(), shown(value)));
        let headers: Value = headers.collect();
        let counted = encoded.counted();
        let payload: Value = serde_json::from_str(&encoded.payload).expect("we have just written it");
        Rendered { body: json!({ "headers": headers, "payload": payload }), counted }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        let call = match self.call(&delivery.message, TokenKind::Token, self.clock.now()) {
            Ok(call) => call,
            Err(fault) => return Report::all_failed(expected, &fault),
        };
        let sending = delivery.targets.iter().map(|one| self.send_one(&call, &one.address));
        let sent = join_all(sending).await.into_iter();
        Report::new(expected, sent.map(|one| one.unwrap_or_else(Outcome::Failed)).collect())
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let now = self.clock.now();
        let app = &self.style.topic;
        let (who, expires_at) = match &self.auth {
            // Keys do not expire.
            Auth::Token(token) => (token.owner(), None),
            Auth::Certificate(certificate) if certificate.is_for(app) => {
                ("certificate".to_owned(), Some(certificate.ends_at))
            }
            Auth::Certificate(certificate) => {
                let detail =
                    format!("the certificate is for {}, not for {app}", certificate.topics.join(", "));
                return Err(Fault::new(Kind::Credentials, detail).of_lane());
            }
        };
        let message = encode::probe(now);
        let call = self.call(&message, TokenKind::Token, now)?;
        let channel = self.info.name.clone();
        let nobody = Address { channel, kind: TokenKind::Token, token: NOBODY.into() };
        match self.send_one(&call, &nobody).await {
            // To say that it does not know the device, Apple must have known us.
            Err(fault) if !decode::knows_us(&fault) => Err(fault),
            Ok(_) | Err(_) => {
                let identity = format!("{who}, {app} at {}", self.base);
                Ok(Probe { identity, expires_at })
            }
        }
    }
}

#[cfg(test)]
mod tests;
