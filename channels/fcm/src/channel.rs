//! The channel: encode, send each target over one HTTP/2 connection, decode. Nothing is judged or repeated here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use pushgate::{
    Address, Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Kind, Message, Outcome, Priority,
    Probe, PushChannel, Rendered, Report, Request, SystemClock, TokenKind, Transport,
};

use crate::auth::{Auth, Bearer};
use crate::config::{Config, ConfigError, ServiceAccount, address};
use crate::{decode, encode};

/// A channel to one Firebase project.
pub struct Fcm {
    info: ChannelInfo,
    send_uri: http::Uri,
    auth: Auth,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Fcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fcm").field("name", &self.info.name).finish_non_exhaustive()
    }
}

const CAPABILITY: Capability = Capability {
    // Google has no batches: the SDKs' multicast, too, is single requests side by side on one connection.
    max_batch: 64,
    max_bytes: 4096,
    tokens: &[TokenKind::Token, TokenKind::Fid],
    collapse: true,
    priority: true,
    badge: true,
    silent: true,
    image: true,
    retry_floor: Duration::from_secs(10),
    ..Capability::BASIC
};

/// Well-formed and nobody's: what a probe is addressed to.
const NOBODY: &str = "pushgate-probe_0000000:APA91bPushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgatePr";

impl Fcm {
    /// A channel under `name`.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key and what would be right.
    pub fn new(
        name: ChannelName,
        config: &Config,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        let account = ServiceAccount::read(config.service_account.expose())?;
        let base = config.base_url.trim_end_matches('/');
        let send_uri = address(&format!("{base}/v1/projects/{}/messages:send", account.project), "base_url")?;
        let auth = Auth::new(account, Arc::clone(&transport), Arc::clone(&clock), config.timeout());
        let info = ChannelInfo { kind: "fcm", name, timeout: config.timeout(), capability: CAPABILITY };
        Ok(Self { info, send_uri, auth, transport, clock })
    }

    /// A channel named `fcm`, from the text of a service-account file.
    ///
    /// # Errors
    /// As for [`Fcm::new`].
    pub fn from_service_account(json: &str, transport: Arc<dyn Transport>) -> Result<Self, ConfigError> {
        let name = ChannelName::new("fcm").map_err(|_| ConfigError::Address("name"))?;
        Self::new(name, &Config::new(json), transport, Arc::new(SystemClock))
    }

    async fn post(&self, bearer: &Bearer, body: String, to: &Address) -> Outcome {
        let mut request = Request::post(self.send_uri.clone(), body, self.info.timeout);
        request.headers.insert(AUTHORIZATION, bearer.header.clone());
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let outcome = match self.transport.send(request).await {
            Ok(response) => decode::outcome(&response, to.token.expose(), self.clock.now()),
            Err(error) => Outcome::Failed(error.into()),
        };
        if outcome.fault().is_some_and(|fault| fault.kind == Kind::AuthExpired) {
            self.auth.refused(bearer);
        }
        outcome
    }
}

#[async_trait]
impl PushChannel for Fcm {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn render(&self, message: &Message) -> Rendered {
        let json = encode::message(message, message.created_at);
        // Google documents 4,096 bytes without saying of what: the whole message object is the cautious reading.
        let counted = json.len();
        Rendered {
            body: serde_json::json!({"message": serde_json::from_str::<serde_json::Value>(&json).unwrap_or_default()}),
            counted,
        }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let expected = delivery.targets.len();
        let bearer = match self.auth.bearer().await {
            Ok(bearer) => bearer,
            Err(fault) => return Report::all_failed(expected, &fault),
        };
        let message = encode::message(&delivery.message, self.clock.now());
        let sends = delivery.targets.iter().map(|target| {
            self.post(&bearer, encode::request(&message, &target.address, false), &target.address)
        });
        Report::new(expected, join_all(sends).await)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let bearer = self.auth.bearer().await?;
        let nobody =
            Address { channel: self.info.name.clone(), kind: TokenKind::Token, token: NOBODY.into() };
        let now = self.clock.now();
        let message = Message {
            id: pushgate::NotificationId::new(),
            app: pushgate::AppId::new("probe").map_err(|error| Fault::new(Kind::Bug, error.to_string()))?,
            title: "probe".into(),
            content: "probe".into(),
            payload: None,
            image: None,
            link: None,
            collapse_key: None,
            thread: None,
            category: None,
            priority: Priority::Normal,
            badge: None,
            silent: false,
            created_at: now,
            ttl: Duration::from_secs(60),
            overrides: None,
        };
        let body = encode::request(&encode::message(&message, now), &nobody, true);
        match self.post(&bearer, body, &nobody).await {
            // Google knew us well enough to say that it does not know the device.
            Outcome::Failed(fault) if fault.kind != Kind::TokenGone => Err(fault),
            _ => Ok(Probe { identity: format!("project {}", self.auth.project()), expires_at: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::service_account;
    use crate::encode::tests::{address, sample};
    use pushgate::{DeliveryId, Target};
    use pushgate_kit::clock::ManualClock;
    use pushgate_kit::transport::{ScriptedTransport, answer};

    fn channel(transport: &Arc<ScriptedTransport>) -> Fcm {
        let name = ChannelName::new("fcm").unwrap();
        Fcm::new(name, &Config::new(&service_account()), transport.clone(), Arc::new(ManualClock::default()))
            .unwrap()
    }

    fn delivery(targets: usize) -> Delivery {
        let target = |index| Target {
            index,
            device: None,
            user: None,
            address: address(TokenKind::Token),
            registered_at: None,
        };
        Delivery {
            id: DeliveryId::new(),
            channel: ChannelName::new("fcm").unwrap(),
            message: Arc::new(sample()),
            targets: (0..u32::try_from(targets).unwrap()).map(target).collect(),
            attempt: 1,
        }
    }

    fn grant() -> pushgate::Response {
        answer(200, r#"{"access_token":"one","expires_in":3599}"#)
    }

    #[tokio::test]
    async fn each_target_gets_the_outcome_of_its_own_request() {
        let transport = Arc::new(ScriptedTransport::new());
        transport.then(grant());
        transport.then(answer(200, r#"{"name":"projects/demo/messages/1"}"#));
        transport.then(answer(503, ""));
        transport.then(answer(200, r#"{"name":"projects/demo/messages/3"}"#));
        let report = channel(&transport).send(&delivery(3)).await;
        let codes: Vec<_> = report.outcomes().iter().map(Outcome::code).collect();
        assert_eq!(codes, ["accepted", "vendor_down", "accepted"]);
    }

    #[tokio::test]
    async fn without_a_bearer_nothing_is_sent() {
        let transport = Arc::new(ScriptedTransport::new());
        transport
            .then(answer(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#));
        let report = channel(&transport).send(&delivery(2)).await;
        assert!(report.outcomes().iter().all(|outcome| outcome.code() == "credentials"));
        assert_eq!(transport.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_probe_that_finds_nobody_has_found_good_credentials() {
        let transport = Arc::new(ScriptedTransport::new());
        transport.then(grant());
        transport.then(answer(404, r#"{"error":{"code":404,"status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}"#));
        assert_eq!(channel(&transport).probe().await.unwrap().identity, "project demo");
    }

    #[tokio::test]
    async fn a_probe_of_a_disabled_api_says_so() {
        let transport = Arc::new(ScriptedTransport::new());
        transport.then(grant());
        transport.then(answer(
            403,
            r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"API disabled"}}"#,
        ));
        let fault = channel(&transport).probe().await.unwrap_err();
        assert_eq!(fault.kind, Kind::Credentials);
        assert!(fault.detail.contains("API disabled"));
    }
}
