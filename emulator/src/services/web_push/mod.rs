//! Web Push services of the browsers: RFC 8030 with VAPID and real decryption, each with the deviations of its vendor.
//!
//! A push that its browser cannot decrypt is accepted, because real services cannot look inside. The event log says why
//! nothing is shown.

#[cfg(test)]
pub(crate) mod app_server;
pub(crate) mod control;
mod profiles;
mod refusal;
mod request;
mod response;
mod subscriber;
mod subscription;
#[cfg(test)]
mod tests;
mod vapid;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use parking_lot::Mutex;
use serde_json::{Value, json};

pub(crate) use profiles::HOSTS;
pub use profiles::WebPushService;
use refusal::Refusal;
pub(crate) use request::PushRequest;
pub use request::Urgency;
use request::single_header;
pub(crate) use response::PushResponse;
pub use subscriber::ReceivedPush;
pub(crate) use subscriber::Relay;
use subscriber::{PushOutcome, Subscriber, SubscriberState};
pub use subscription::{Subscription, SubscriptionKeys};
use vapid::VapidRequirements;
pub(crate) use vapid::parse_public_key;

use crate::clock::Clock;
use crate::control::{ApiManual, ControlledService};
use crate::event::{DropReason, Event, EventKind};
use crate::fault::{EndpointKind, Fault};
use crate::inbox::{DeviceChange, ShownNotification};
use crate::service::{PushService, ServiceContext};
use crate::wire::{Connections, HttpRequest, HttpResponse};

/// Subscription of a real browser.
pub(crate) struct RealSubscription {
    /// Name of the browser in events.
    pub(crate) id: String,
    /// VAPID public key that the subscription is bound to.
    pub(crate) vapid_key: Vec<u8>,
    /// Relay to the browser.
    pub(crate) relay: Relay,
}

/// Emulated Web Push services and the browsers that have subscribed to them.
pub struct WebPush {
    subscribers: Mutex<Vec<Subscriber>>,
    context: Arc<ServiceContext>,
}

impl Default for WebPush {
    /// Returns services without a port. Requests can only be passed to them in process.
    fn default() -> Self {
        Self::new(ServiceContext::new(Clock::default(), 0, Arc::new(Connections::new(100))))
    }
}

/// Error for a text that is not the public key of an application server: 65 bytes, uncompressed P-256, base64url
/// without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "applicationServerKey is not a P-256 public key in base64url; it must be 65 bytes in 87 characters, without padding"
)]
pub struct InvalidKey;

/// Push that a service has accepted.
struct AcceptedPush {
    /// Granted time to live, in seconds.
    ttl: u64,
    /// Name of the addressed browser.
    device: String,
    outcome: PushOutcome,
}

impl WebPush {
    pub(crate) fn new(context: ServiceContext) -> Self {
        Self { subscribers: Mutex::default(), context: Arc::new(context) }
    }

    /// Adds a virtual browser, online, with a subscription for the application server of this key
    /// (`applicationServerKey`).
    ///
    /// # Errors
    /// [`InvalidKey`] if the text is not a public key, or if the machine provides no randomness.
    pub fn subscribe(
        &self,
        service: WebPushService,
        vapid_public_key: &str,
    ) -> Result<Subscription, InvalidKey> {
        let key = vapid::parse_public_key(vapid_public_key).ok_or(InvalidKey)?;
        let mut subscribers = self.subscribers.lock();
        let number = subscribers.iter().filter(|subscriber| subscriber.service == service).count() + 1;
        let id = format!("{}-{number}", service.name());
        let subscriber = Subscriber::new(id, service, key).ok_or(InvalidKey)?;
        let subscription = subscriber.subscription.clone();
        subscribers.push(subscriber);
        Ok(subscription)
    }

    /// Returns the pushes that a virtual browser has received, newest first. Empty if the subscription is unknown.
    #[must_use]
    pub fn inbox(&self, subscription: &Subscription) -> Vec<ReceivedPush> {
        self.with_subscriber(&subscription.id, |subscriber| subscriber.inbox()).unwrap_or_default()
    }

    /// Ends a subscription, as when the user revokes the permission. Returns `true` if it was known and had not ended.
    pub fn expire(&self, subscription: &Subscription) -> bool {
        self.set_state(&subscription.id, SubscriberState::Expired)
    }

    /// Disconnects a browser, whose pushes are stored for their time to live. Returns `true` if the subscription is
    /// known and has not ended.
    pub fn go_offline(&self, subscription: &Subscription) -> bool {
        self.set_state(&subscription.id, SubscriberState::Offline)
    }

    /// Connects a browser and delivers its stored pushes. Returns `true` if the subscription is known and has not
    /// ended.
    pub fn come_online(&self, subscription: &Subscription) -> bool {
        self.set_state(&subscription.id, SubscriberState::Online)
    }

    /// Adds a fault rule and returns its number.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.context.add_fault(fault)
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.context.faults.clear();
    }

    /// Returns the events with a number above `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.context.events(seq)
    }

    /// Returns the first logged or future event that matches. `None` if there is none within `timeout`.
    pub async fn wait_for(&self, matches: impl Fn(&EventKind) -> bool, timeout: Duration) -> Option<Event> {
        self.context.wait_for(matches, timeout).await
    }

    /// Calls a function with a subscriber. `None` if the id is unknown.
    fn with_subscriber<T>(&self, id: &str, f: impl FnOnce(&mut Subscriber) -> T) -> Option<T> {
        self.subscribers.lock().iter_mut().find(|subscriber| subscriber.subscription.id == id).map(f)
    }

    /// Changes the state of a subscription. Returns `true` if it is known and had not ended.
    fn set_state(&self, id: &str, state: SubscriberState) -> bool {
        let changed = self.with_subscriber(id, |subscriber| {
            if subscriber.state == SubscriberState::Expired {
                return None;
            }
            if state == SubscriberState::Online {
                return Some(subscriber.come_online(self.context.clock.now_ms()));
            }
            subscriber.state = state;
            Some(Vec::new())
        });
        let Some(outcomes) = changed.flatten() else { return false };
        for outcome in outcomes {
            self.record_outcome(id, outcome);
        }
        true
    }

    /// Returns the notifications that a browser shows. `None` if the id is unknown.
    fn shown_by(&self, id: &str) -> Option<Vec<ShownNotification>> {
        self.with_subscriber(id, |subscriber| subscriber.shown())
    }

    /// Records what happened to an accepted push.
    fn record_outcome(&self, device: &str, outcome: PushOutcome) {
        let device = device.to_owned();
        let event = match outcome {
            PushOutcome::Arrived { replaced } => EventKind::Arrived { device, replaced },
            PushOutcome::Unreadable(why) => EventKind::Unreadable { device, why },
            PushOutcome::Stored { replaced } => EventKind::Waits { device, replaced },
            PushOutcome::Dropped => EventKind::Dropped { device, why: DropReason::Expired },
            // The push connection of the real browser records what happens to the push.
            PushOutcome::Forwarded => return,
        };
        self.context.record(event);
    }
}

/// Subscriptions of real browsers.
impl WebPush {
    /// Adds the subscription of a real browser and returns its endpoint, which ends with the token.
    pub(crate) fn add_real_subscription(
        &self,
        service: WebPushService,
        token: &str,
        real: RealSubscription,
    ) -> String {
        let endpoint = service.endpoint(token);
        let subscription = Subscription::without_keys(real.id, endpoint.clone());
        self.subscribers.lock().push(Subscriber::with_relay(
            subscription,
            service,
            real.vapid_key,
            real.relay,
        ));
        endpoint
    }

    /// Ends the subscription with this token.
    pub(crate) fn end_subscription(&self, token: &str) {
        let mut subscribers = self.subscribers.lock();
        let has_token =
            |subscriber: &&mut Subscriber| endpoint_target(subscriber).rsplit('/').next() == Some(token);
        subscribers
            .iter_mut()
            .filter(has_token)
            .for_each(|subscriber| subscriber.state = SubscriberState::Expired);
    }
}

/// Handling of push requests.
impl WebPush {
    /// Returns the service that a request is for. `None` if it is for no Web Push service.
    pub(crate) fn service_of(&self, head: &Parts) -> Option<WebPushService> {
        let service = WebPushService::from_host_and_path(&authority(head), head.uri.path());
        service.or_else(|| {
            let target = request_target(head);
            let subscribers = self.subscribers.lock();
            let subscriber =
                subscribers.iter().find(|subscriber| is_same_target(endpoint_target(subscriber), target));
            subscriber.map(|subscriber| subscriber.service)
        })
    }

    /// Processes a push request without faults. All of its effects are complete on return.
    fn push(&self, service: WebPushService, head: &Parts, body: &[u8]) -> PushResponse {
        let profile = service.profile();
        match self.try_push(service, head, body) {
            Ok(AcceptedPush { ttl, device, outcome }) => {
                let message = format!("https://{}{}", authority(head), profile.message_path());
                let response =
                    profile.accepted().with_header("location", message).with_header("ttl", ttl.to_string());
                self.context.record(self.response_event(service, head, response.status, None));
                self.record_outcome(&device, outcome);
                response
            }
            Err(refusal) => {
                let response = profile.refusal_response(refusal);
                let code = Some(refusal.code().to_owned());
                self.context.record(self.response_event(service, head, response.status, code));
                response
            }
        }
    }

    /// Validates a push and hands it to its subscriber.
    fn try_push(&self, service: WebPushService, head: &Parts, body: &[u8]) -> Result<AcceptedPush, Refusal> {
        let profile = service.profile();
        if head.method != http::Method::POST {
            return Err(Refusal::Method);
        }
        let mut subscribers = self.subscribers.lock();
        let target = request_target(head);
        let mut of_service = subscribers.iter_mut().filter(|subscriber| subscriber.service == service);
        let Some(subscriber) =
            of_service.find(|subscriber| is_same_target(endpoint_target(subscriber), target))
        else {
            let mut of_service = subscribers.iter().filter(|subscriber| subscriber.service == service);
            let is_mangled = of_service.any(|subscriber| is_mangled(target, endpoint_target(subscriber)));
            return Err(if is_mangled { Refusal::Mangled } else { Refusal::Unknown });
        };
        if subscriber.state == SubscriberState::Expired {
            return Err(Refusal::Gone);
        }
        let origin = format!("https://{}", authority(head));
        let requirements = VapidRequirements {
            origin: &origin,
            now_s: self.context.clock.now_s(),
            contact: profile.contact(),
        };
        let authorization = single_header(&head.headers, "authorization");
        let key = vapid::verify(authorization, requirements).map_err(Refusal::Vapid)?;
        if key != subscriber.vapid_key {
            return Err(Refusal::OtherKey);
        }
        let mut push = PushRequest::parse(&head.headers, body)?;
        profile.verify_own_rules(&push, &head.headers)?;
        push.ttl = push.ttl.min(profile.max_ttl());
        let ttl = push.ttl;
        let outcome = subscriber.receive(push, self.context.clock.now_ms());
        Ok(AcceptedPush { ttl, device: subscriber.subscription.id.clone(), outcome })
    }

    fn response_event(
        &self,
        service: WebPushService,
        head: &Parts,
        status: u16,
        code: Option<String>,
    ) -> EventKind {
        EventKind::WebPush { service, status, code, device: self.device_of(head) }
    }

    /// Returns the name of the browser whose endpoint a request addresses.
    fn device_of(&self, head: &Parts) -> Option<String> {
        let target = request_target(head);
        let subscribers = self.subscribers.lock();
        let subscriber =
            subscribers.iter().find(|subscriber| is_same_target(endpoint_target(subscriber), target));
        subscriber.map(|subscriber| subscriber.subscription.id.clone())
    }

    /// Returns the service of a request that [`PushService::handles`] has accepted.
    fn service_or_generic(&self, head: &Parts) -> WebPushService {
        self.service_of(head).unwrap_or(WebPushService::Generic)
    }
}

impl PushService for WebPush {
    fn context(&self) -> &ServiceContext {
        &self.context
    }

    fn handles(&self, request: &HttpRequest) -> bool {
        self.service_of(&request.head).is_some()
    }

    fn endpoint_kind(&self, _request: &HttpRequest) -> EndpointKind {
        EndpointKind::Send
    }

    fn device_names(&self, request: &HttpRequest) -> Vec<String> {
        self.device_of(&request.head).into_iter().collect()
    }

    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        self.push(self.service_or_generic(&request.head), &request.head, &request.body).into()
    }

    fn error_response(&self, request: &HttpRequest, status: u16, code: Option<&str>) -> HttpResponse {
        self.service_or_generic(&request.head).profile().fault_response(status, code).into()
    }

    fn expired_credentials_response(&self, request: &HttpRequest) -> HttpResponse {
        self.service_or_generic(&request.head)
            .profile()
            .refusal_response(Refusal::Vapid(vapid::VapidError::Expired))
            .into()
    }

    fn refusal_event(&self, request: &HttpRequest, status: u16, code: Option<String>) -> EventKind {
        self.response_event(self.service_or_generic(&request.head), &request.head, status, code)
    }
}

impl ControlledService for WebPush {
    fn create_device(&self, body: Value) -> Result<Value, String> {
        control::create_subscriber(self, body)
    }

    fn list_devices(&self) -> Vec<Value> {
        let described = |subscriber: &Subscriber| {
            json!({"id": subscriber.subscription.id, "kind": subscriber.service, "state": {
                "registered": subscriber.state != SubscriberState::Expired, "online": subscriber.state == SubscriberState::Online}})
        };
        // Real browsers are listed by the service `browsers`.
        self.subscribers.lock().iter().filter(|subscriber| subscriber.is_virtual()).map(described).collect()
    }

    fn shown_notifications(&self, id: &str) -> Option<Vec<ShownNotification>> {
        self.shown_by(id)
    }

    fn change_device(&self, id: &str, change: DeviceChange) -> bool {
        let state = match (change.registered, change.online) {
            (Some(false), _) => SubscriberState::Expired,
            (_, Some(true)) => SubscriberState::Online,
            (_, Some(false)) => SubscriberState::Offline,
            (_, None) => return self.with_subscriber(id, |_| ()).is_some(),
        };
        self.set_state(id, state)
    }

    fn api_manual(&self) -> ApiManual {
        ApiManual {
            device: Some(control::example_body()),
            device_fields: control::field_descriptions(),
            own_routes: control::route_descriptions(),
        }
    }

    fn verbs(&self) -> Value {
        json!({})
    }

    fn run_verb(&self, _name: &str, _body: Value) -> Option<Result<(), String>> {
        None
    }
}

/// Returns path and query of a subscriber's endpoint.
fn endpoint_target(subscriber: &Subscriber) -> &str {
    subscription::path_and_query(&subscriber.subscription.endpoint)
}

/// Returns path and query of a request, byte for byte.
fn request_target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |target| target.as_str())
}

/// Returns the requested host, with its port unless that is 443 (RFC 6454 §6.1).
fn authority(head: &Parts) -> String {
    let from_uri = head.uri.authority().map(http::uri::Authority::as_str);
    let host =
        from_uri.or_else(|| single_header(&head.headers, "host")).unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(":443").map(str::to_owned).unwrap_or(host)
}

/// Returns `true` if two targets are the same, byte for byte.
/// Only the digits of an escape may differ in case (RFC 3986 §6.2.2.1). The HTTP library of many Python senders writes
/// them in upper case.
fn is_same_target(a: &str, b: &str) -> bool {
    let with_lower_case_escapes = |text: &str| {
        let mut escape_digits = 0;
        let lower = |letter: char| {
            let is_escaped = escape_digits > 0;
            escape_digits = if letter == '%' {
                2
            } else if is_escaped {
                escape_digits - 1
            } else {
                0
            };
            if is_escaped { letter.to_ascii_lowercase() } else { letter }
        };
        text.chars().map(lower).collect::<String>()
    };
    let google = profiles::google_token(a);
    google.is_some() && google == profiles::google_token(b)
        || a.len() == b.len() && with_lower_case_escapes(a) == with_lower_case_escapes(b)
}

/// Returns `true` if the target is an endpoint with a query that a sender has decoded, encoded again or truncated.
fn is_mangled(target: &str, endpoint: &str) -> bool {
    let decoded = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.replace("%2b", "+").replace("%2f", "/").replace("%3d", "=")
    };
    endpoint.contains('?') && decoded(endpoint).starts_with(&decoded(target))
}
