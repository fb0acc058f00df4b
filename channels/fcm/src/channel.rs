//! The channel: encodes, sends one request per target, and decodes. It classifies and repeats nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use pushgate::{
    Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Kind, Message, Notification, Outcome,
    Probe, PushChannel, Rendered, Report, Request, SystemClock, Target, Timestamp, TokenKind, Transport,
};
use serde_json::Value;

use crate::auth::{AccessToken, Auth};
use crate::config::{Config, ConfigError, ServiceAccount};
use crate::encode::Style;
use crate::{decode, encode};

const CAPABILITY: Capability = Capability {
    // FCM has no batch API: the multicast of its SDKs also sends single requests in parallel.
    max_batch: 64,
    max_bytes: 4096,
    max_ttl: Notification::MAX_TTL,
    tokens: &[TokenKind::Token, TokenKind::Fid],
    collapse: true,
    priority: true,
    badge: true,
    silent: true,
    image: true,
    // Google reports arrival by BigQuery export only.
    receipts: false,
    // From Google's SDKs and its guide to sending at scale: no retry within ten seconds, one minute after a 429.
    retry_floor: Duration::from_secs(10),
    throttle_pause: Duration::from_secs(60),
};

/// Well-formed registration token of no device, for probes.
const PROBE_TOKEN: &str = "pushgate-probe_0000000:APA91bPushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgateProbePushgatePr";

/// Channel to one Firebase project.
pub struct Fcm {
    info: ChannelInfo,
    style: Style,
    project: String,
    send_uri: Uri,
    auth: Auth,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Fcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fcm")
            .field("name", &self.info.name)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

impl Fcm {
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
        if config.timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        let account = ServiceAccount::parse(config.service_account.expose())?;
        let project = config.project.clone().unwrap_or_else(|| account.project.clone());
        let send_uri = config.send_uri(&project)?;
        // The token request gets half of the timeout, so that a send that needs a token keeps its deadline.
        let auth = Auth::new(account, Arc::clone(&transport), Arc::clone(&clock), config.timeout / 2);
        let info = ChannelInfo { kind: "fcm", name, timeout: config.timeout, capability: CAPABILITY };
        Ok(Self { info, style: Style::from(config), project, send_uri, auth, transport, clock })
    }

    /// Creates a channel named `fcm` from the content of a service-account file.
    ///
    /// # Errors
    /// Same as for [`Fcm::new`].
    pub fn from_service_account(json: &str, transport: Arc<dyn Transport>) -> Result<Self, ConfigError> {
        let name = ChannelName::new("fcm").expect("three letters are a name");
        Self::new(name, &Config::new(json), transport, Arc::new(SystemClock))
    }

    async fn send_one(&self, call: &Call<'_>, target: &Target) -> Outcome {
        if let Err(fault) = self.admits(&target.address) {
            return Outcome::Failed(fault);
        }
        // One JSON text for all targets, unless each carries an event token of its own.
        let has_event_token = call.message.event_endpoint.is_some();
        let own = has_event_token.then(|| encode::message(call.message, &self.style, call.now, target.index));
        let json = own.as_deref().unwrap_or(&call.json);
        let request = self.request(call, encode::request(json, &target.address));
        match self.transport.send(request).await {
            Ok(response) => {
                let message = call.message;
                let payload = message.payload.as_ref().map_or("", |payload| payload.expose());
                let (title, content) = (message.title.expose(), message.content.expose());
                let event_token = message
                    .event_endpoint
                    .as_ref()
                    .map(|endpoint| endpoint.url_for(message.id, target.index));
                let event_token = event_token.as_deref().unwrap_or_default();
                let token = target.address.token.expose();
                let private = [token, title, content, payload, call.access_token.expose(), event_token];
                decode::outcome(&response, &private, self.clock.now())
            }
            Err(error) => Outcome::Failed(error.into()),
        }
    }

    fn request(&self, call: &Call<'_>, body: String) -> Request {
        let mut request = Request::post(self.send_uri.clone(), body, call.timeout);
        request.headers = headers(call.access_token);
        request
    }
}

/// State shared by the requests of one delivery.
struct Call<'a> {
    message: &'a Message,
    /// Message object without a target, valid for all targets of a message without event tokens.
    json: String,
    now: Timestamp,
    access_token: &'a AccessToken,
    timeout: Duration,
}

fn headers(access_token: &AccessToken) -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(AUTHORIZATION, access_token.header.clone()), (CONTENT_TYPE, json)])
}

#[async_trait]
impl PushChannel for Fcm {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }

    fn render(&self, message: &Message) -> Rendered {
        // With the full time to live: a later send is never longer.
        let json = encode::message(message, &self.style, message.created_at, 0);
        let object: Value = serde_json::from_str(&json).expect("we have just written it");
        Rendered { body: serde_json::json!({ "message": object }), counted: json.len() }
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        let (message, expected) = (&*delivery.message, delivery.targets.len());
        if message.overrides.as_ref().is_some_and(|patch| !patch.is_object()) {
            let fault = Fault::new(
                Kind::BadMessage,
                "overrides for fcm must be a JSON object, merged into `message`",
            );
            return Report::all_failed(expected, &fault);
        }
        let started_at = self.clock.now();
        let access_token = match self.auth.access_token().await {
            Ok(access_token) => access_token,
            Err(fault) => return Report::all_failed(expected, &fault),
        };
        let now = self.clock.now();
        let call = Call {
            message,
            json: encode::message(message, &self.style, now, 0),
            now,
            access_token: &access_token,
            // A clock change meanwhile must not leave a send without time.
            timeout: self.info.timeout.saturating_sub(now.since(started_at)).max(self.info.timeout / 8),
        };
        let outcomes = join_all(delivery.targets.iter().map(|target| self.send_one(&call, target))).await;
        if outcomes.iter().filter_map(Outcome::fault).any(|fault| fault.kind == Kind::AuthExpired) {
            self.auth.discard(&access_token);
        }
        Report::new(expected, outcomes)
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let access_token = self.auth.access_token().await?;
        let mut request = Request::post(self.send_uri.clone(), encode::probe(PROBE_TOKEN), self.info.timeout);
        request.headers = headers(&access_token);
        let response = self.transport.send(request).await?;
        let outcome = decode::outcome(&response, &[PROBE_TOKEN, access_token.expose()], self.clock.now());
        match outcome.fault() {
            // An answer about the probe's token proves that Google accepted the credentials.
            Some(fault) if !decode::accepted_credentials(&response) => {
                if fault.kind == Kind::AuthExpired {
                    self.auth.discard(&access_token);
                }
                Err(fault.clone())
            }
            Some(_) | None => Ok(Probe { identity: format!("project {}", self.project), expires_at: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use pushgate::Response;
    use pushgate_kit::clock::ManualClock;
    use pushgate_kit::sample::message as sample;
    use pushgate_kit::transport::{ScriptedTransport, answer};

    use super::*;
    use crate::auth::tests::service_account;
    use crate::encode::tests::address;

    const UNREGISTERED: &str = r#"{"error":{"code":404,"status":"NOT_FOUND","details":[
        {"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}"#;
    const UNAUTHENTICATED: &str = r#"{"error":{"code":401,"status":"UNAUTHENTICATED"}}"#;

    /// A channel whose token endpoint always gives the access token `one`, and whose sends get these answers.
    fn stage(answers: impl IntoIterator<Item = Response>) -> (Fcm, Arc<ScriptedTransport>) {
        let transport = ScriptedTransport::new().rule(|request| {
            let grant = r#"{"access_token":"one","expires_in":3599}"#;
            (request.uri.path() == "/token").then(|| Ok(answer(200, grant)))
        });
        answers.into_iter().for_each(|answer| transport.then(answer));
        let transport = Arc::new(transport);
        let config = Config::new(&service_account());
        let name = ChannelName::new("fcm").unwrap();
        let fcm = Fcm::new(name, &config, transport.clone(), Arc::new(ManualClock::default())).unwrap();
        (fcm, transport)
    }

    fn delivery(kinds: &[TokenKind]) -> Delivery {
        pushgate_kit::sample::delivery(sample(), kinds.iter().map(|kind| address(*kind)))
    }

    fn codes(report: &Report) -> Vec<&'static str> {
        report.outcomes().iter().map(Outcome::code).collect()
    }

    #[tokio::test]
    async fn targets_are_sent_side_by_side_and_not_one_after_the_other() {
        let (fcm, transport) = stage(std::iter::repeat_n(answer(200, "{}"), 64));
        fcm.auth.access_token().await.unwrap();
        transport.hold();
        let sending = tokio::spawn(async move { fcm.send(&delivery(&[TokenKind::Token; 64])).await });
        transport.arrived(1 + 64).await;
        transport.release();
        assert_eq!(sending.await.unwrap().outcomes().len(), 64);
    }

    #[tokio::test]
    async fn overrides_that_are_no_object_are_the_callers_fault() {
        let (fcm, transport) = stage([]);
        let mut delivery = delivery(&[TokenKind::Token]);
        delivery.message = Arc::new(Message { overrides: Some("all".into()), ..sample() });
        assert_eq!(codes(&fcm.send(&delivery).await), ["bad_message"]);
        assert!(transport.requests().is_empty());
    }

    #[tokio::test]
    async fn a_probe_that_finds_nobody_has_found_good_credentials_and_reaches_no_user() {
        let dead = r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[
            {"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}}"#;
        for good in [answer(404, UNREGISTERED), answer(400, dead), answer(200, r#"{"name":"x"}"#)] {
            let (fcm, transport) = stage([good]);
            assert_eq!(fcm.probe().await.unwrap().identity, "project demo");
            let sent = transport.requests_at("/v1/projects/demo/messages:send").remove(0).body;
            let sent: Value = serde_json::from_slice(&sent).unwrap();
            assert_eq!(sent, serde_json::json!({"validate_only": true, "message": {"token": PROBE_TOKEN}}));
        }
    }

    #[tokio::test]
    async fn a_probe_says_what_is_wrong() {
        let disabled = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"API disabled"}}"#;
        let cases = [
            (answer(403, disabled), Kind::Credentials),
            (answer(401, UNAUTHENTICATED), Kind::AuthExpired),
            (answer(404, "<html>"), Kind::Credentials),
            (answer(503, ""), Kind::VendorDown),
            (answer(200, "<html>"), Kind::VendorDown),
        ];
        for (answer, kind) in cases {
            let fault = stage([answer]).0.probe().await.unwrap_err();
            assert_eq!(fault.kind, kind, "{fault}");
        }
    }

    #[tokio::test]
    async fn the_project_of_the_table_comes_before_that_of_the_account() {
        let transport = Arc::new(ScriptedTransport::new());
        let config = Config { project: Some("other".to_owned()), ..Config::new(&service_account()) };
        let name = ChannelName::new("fcm").unwrap();
        let fcm = Fcm::new(name.clone(), &config, transport.clone(), Arc::new(SystemClock)).unwrap();
        assert_eq!(fcm.send_uri, "https://fcm.googleapis.com/v1/projects/other/messages:send");
        let zero = Config { timeout: Duration::ZERO, ..config };
        let error = Fcm::new(name, &zero, transport, Arc::new(SystemClock)).unwrap_err();
        assert_eq!(error, ConfigError::Timeout);
    }
}
