//! The channel: encodes once, sends one request per device over one HTTP/2 connection, and decodes. It classifies and
//! repeats nothing.

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

use crate::auth::{Auth, ProviderTokens, SignedToken};
use crate::broadcast;
use crate::config::{Config, ConfigError};
use crate::decode::{self, RequestContext};
use crate::encode::{self, Encoded, MAX_TTL, Overrides, PushType, Style};

const CAPABILITY: Capability = Capability {
    tokens: &[TokenKind::Token, TokenKind::Voip],
    // APNs has no batch API. Single requests run in parallel on one connection.
    max_batch: 64,
    max_ttl: MAX_TTL,
    collapse: true,
    priority: true,
    badge: true,
    silent: true,
    image: true,
    ..Capability::BASIC
};

/// Permitted length of a device token. Apple specifies none: tokens of devices have 32 bytes, of Live Activities more.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 32..=100;

/// Well-formed token of no device, for probes.
const PROBE_TOKEN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Channel to the devices of one app in one of Apple's environments.
pub struct Apns {
    info: ChannelInfo,
    style: Style,
    /// Base URL of the service: scheme and host.
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
    /// Creates a channel named `name`.
    ///
    /// All channels should get the same `tokens`, so that those with one key share its provider token. With a certificate,
    /// the transport needs [`Config::identity`]. Only channels with the same [`Config::base`] and credentials may share a
    /// transport: Apple accepts one key per connection, and one stream until it has accepted that key.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] that names the key and a valid value.
    pub fn new(
        name: ChannelName,
        config: &Config,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        tokens: &ProviderTokens,
    ) -> Result<Self, ConfigError> {
        if config.timeout.is_zero() {
            return Err(ConfigError::ZERO_TIMEOUT);
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

    /// Prepares the state shared by the requests to all addresses of this kind.
    fn call<'a>(&self, message: &'a Message, kind: TokenKind, now: Timestamp) -> Result<Call<'a>, Fault> {
        let overrides = Overrides::from_message(message, kind)?;
        let Encoded { kind, mut headers, payload } = encode::encode(message, &overrides, &self.style);
        let bearer = self.auth.signed_token(now)?;
        if let Some(bearer) = &bearer {
            headers.insert(AUTHORIZATION, bearer.header.clone());
        }
        let payload_text = message.payload.as_ref().map_or("", Secret::expose);
        let private = [message.title.expose(), message.content.expose(), payload_text];
        let context = RequestContext { chooses_topic: overrides.chooses_topic(), private };
        Ok(Call { message, kind, context, headers, payload: payload.into(), bearer })
    }

    async fn send_to(&self, shared: &Call<'_>, address: &Address) -> Result<Outcome, Fault> {
        self.admits(address)?;
        // A PushKit token needs headers and a payload of its own. It is rare, so they are encoded only here.
        let voip_call = || self.call(shared.message, address.kind, self.clock.now()).map(Box::new);
        let own = (address.kind == TokenKind::Voip).then(voip_call).transpose()?;
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
        let uri = uri.map_err(|_| Fault::new(Kind::Unsupported, "`topic` cannot be part of a URL path"))?;
        let mut request = Request::post(uri, call.payload.clone(), self.info.timeout);
        request.headers = headers;
        let outcome = match self.transport.send(request).await {
            Ok(response) => decode::outcome(&response, &call.context, self.clock.now()),
            Err(error) => Outcome::Failed(decode::transport_fault(error, &call.context)),
        };
        let Outcome::Failed(fault) = outcome else { return Ok(outcome) };
        Err(self.auth.apply_fault(fault, call.bearer.as_ref(), self.clock.now()))
    }
}

/// State shared by the requests of one delivery.
struct Call<'a> {
    message: &'a Message,
    kind: PushType,
    context: RequestContext<'a>,
    headers: HeaderMap,
    payload: Bytes,
    bearer: Option<SignedToken>,
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
            let detail = format!("apns requires a token, not a {}", address.kind.as_str());
            return Err(Fault::new(Kind::Unsupported, detail));
        }
        if let Some(id) = broadcast::id(token).filter(|_| address.kind == TokenKind::Token) {
            return broadcast::admits(id);
        }
        if is_hex && token.len().is_multiple_of(2) && TOKEN_BYTES.contains(&(token.len() / 2)) {
            return Ok(());
        }
        let detail = "a device token must be 32 to 100 bytes in hexadecimal digits, without spaces";
        Err(Fault::new(Kind::BadMessage, detail))
    }

    fn render(&self, message: &Message) -> Rendered {
        // Sending refuses invalid overrides.
        let overrides = Overrides::from_message(message, TokenKind::Token).unwrap_or_default();
        let encoded = encode::encode(message, &overrides, &self.style);
        let to_json = |value: &HeaderValue| Value::from(value.to_str().unwrap_or_default());
        let headers = encoded.headers.iter().map(|(name, value)| (name.to_string(), to_json(value)));
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
        let sends = delivery.targets.iter().map(|target| self.send_to(&call, &target.address));
        let results = join_all(sends).await.into_iter();
        Report::new(expected, results.map(|result| result.unwrap_or_else(Outcome::Failed)).collect())
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let now = self.clock.now();
        let app = &self.style.topic;
        let (credentials, expires_at) = match &self.auth {
            // Keys do not expire.
            Auth::Token(token) => (token.description(), None),
            Auth::Certificate(certificate) if certificate.covers(app) => {
                ("certificate".to_owned(), Some(certificate.expires_at))
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
        let address = Address { channel, kind: TokenKind::Token, token: PROBE_TOKEN.into() };
        match self.send_to(&call, &address).await {
            // An answer about the probe's token proves that Apple accepted the credentials.
            Err(fault) if !decode::accepted_credentials(&fault) => Err(fault),
            Ok(_) | Err(_) => {
                let identity = format!("{credentials}, {app} at {}", self.base);
                Ok(Probe { identity, expires_at })
            }
        }
    }
}

#[cfg(test)]
mod tests;
