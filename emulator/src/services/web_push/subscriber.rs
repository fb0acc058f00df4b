//! Browser with a push subscription, and the pushes that its service stores while it is offline.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::profiles::WebPushService;
use super::request::{PushRequest, Urgency};
use super::subscription::Subscription;
use crate::inbox::{self, ShownNotification};
use crate::push_crypto::{DecryptionError, UserAgentKeys};
use crate::services::fcm;

/// Maximum number of pushes that a service stores for one browser.
const MAX_STORED: usize = 100;

/// Push as the browser's `push` event gets it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ReceivedPush {
    /// Decrypted data. `None` for a push without data.
    #[serde(skip)]
    pub data: Option<Vec<u8>>,
    /// Decrypted data as text. `None` if it is not UTF-8.
    pub text: Option<String>,
    /// Granted time to live, in seconds.
    pub ttl: u64,
    /// Urgency.
    pub urgency: Urgency,
    /// Topic.
    pub topic: Option<String>,
    /// Time of arrival, in milliseconds since 1970.
    pub at_ms: u64,
}

impl std::fmt::Debug for ReceivedPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("ReceivedPush");
        debug.field("ttl", &self.ttl).field("urgency", &self.urgency).field("at_ms", &self.at_ms);
        debug.finish_non_exhaustive()
    }
}

/// Result of a push that its service has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushOutcome {
    /// The page's service worker got it.
    Arrived { replaced: bool },
    /// The browser could not decrypt it.
    Unreadable(DecryptionError),
    /// The service stores it for the browser.
    Stored { replaced: bool },
    /// It was passed to the connection of a real browser.
    Forwarded,
    /// It was dropped: it expired, or had a time to live of 0 while the browser was offline.
    Dropped,
}

struct StoredPush {
    request: PushRequest,
    expires_at_ms: u64,
}

/// State of a subscription and of its browser's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SubscriberState {
    Online,
    Offline,
    Expired,
}

/// Browser with its subscription.
pub(super) struct Subscriber {
    pub(super) subscription: Subscription,
    pub(super) service: WebPushService,
    /// VAPID public key that the subscription is bound to.
    pub(super) vapid_key: Vec<u8>,
    pub(super) state: SubscriberState,
    endpoint: Endpoint,
}

/// Receiver of the pushes.
enum Endpoint {
    /// Virtual browser of the emulator.
    Virtual(VirtualBrowser),
    /// Real browser behind a relay.
    Real(Relay),
}

/// Forwards pushes to a real browser, still encrypted.
pub(crate) type Relay = Arc<dyn Fn(&PushRequest) + Send + Sync>;

/// Keys, stored pushes and inbox of a virtual browser.
struct VirtualBrowser {
    keys: UserAgentKeys,
    stored: Vec<StoredPush>,
    inbox: VecDeque<ReceivedPush>,
    shown: VecDeque<ShownNotification>,
}

impl Subscriber {
    /// Returns a virtual browser, online. `None` if its keys could not be generated.
    pub(super) fn new(id: String, service: WebPushService, vapid_key: Vec<u8>) -> Option<Self> {
        let keys = UserAgentKeys::generate()?;
        let profile = service.profile();
        let url = format!("{}{}", profile.origin(), profile.random_path());
        let subscription = Subscription::new(id, url, keys.public_keys());
        let browser =
            VirtualBrowser { keys, stored: Vec::new(), inbox: VecDeque::new(), shown: VecDeque::new() };
        let (state, endpoint) = (SubscriberState::Online, Endpoint::Virtual(browser));
        Some(Self { subscription, service, vapid_key, state, endpoint })
    }

    /// Returns a real browser behind a relay. Only the browser itself has the keys.
    pub(super) fn with_relay(
        subscription: Subscription,
        service: WebPushService,
        vapid_key: Vec<u8>,
        relay: Relay,
    ) -> Self {
        Self {
            subscription,
            service,
            vapid_key,
            state: SubscriberState::Online,
            endpoint: Endpoint::Real(relay),
        }
    }

    /// Returns `true` for a virtual browser.
    pub(super) fn is_virtual(&self) -> bool {
        self.virtual_browser().is_some()
    }

    /// Returns the received pushes of a virtual browser, newest first.
    pub(super) fn inbox(&self) -> Vec<ReceivedPush> {
        self.virtual_browser().map(|browser| browser.inbox.iter().cloned().collect()).unwrap_or_default()
    }

    /// Returns the shown notifications of a virtual browser, newest first.
    pub(super) fn shown(&self) -> Vec<ShownNotification> {
        self.virtual_browser().map(|browser| browser.shown.iter().cloned().collect()).unwrap_or_default()
    }

    fn virtual_browser(&self) -> Option<&VirtualBrowser> {
        match &self.endpoint {
            Endpoint::Virtual(browser) => Some(browser),
            Endpoint::Real(_) => None,
        }
    }

    /// Receives a push from the service.
    pub(super) fn receive(&mut self, request: PushRequest, now_ms: u64) -> PushOutcome {
        match &mut self.endpoint {
            Endpoint::Real(relay) => {
                relay(&request);
                PushOutcome::Forwarded
            }
            Endpoint::Virtual(browser) if self.state == SubscriberState::Online => {
                browser.deliver(&request, now_ms)
            }
            Endpoint::Virtual(browser) => browser.store(request, now_ms),
        }
    }

    /// Connects the browser and delivers its stored pushes, oldest first. Expired ones are dropped.
    pub(super) fn come_online(&mut self, now_ms: u64) -> Vec<PushOutcome> {
        self.state = SubscriberState::Online;
        match &mut self.endpoint {
            Endpoint::Virtual(browser) => browser.deliver_stored(now_ms),
            Endpoint::Real(_) => Vec::new(),
        }
    }
}

impl VirtualBrowser {
    fn store(&mut self, request: PushRequest, now_ms: u64) -> PushOutcome {
        if request.ttl == 0 {
            return PushOutcome::Dropped;
        }
        let position = request
            .topic
            .as_ref()
            .and_then(|topic| self.stored.iter().position(|push| push.request.topic.as_ref() == Some(topic)));
        if let Some(position) = position {
            self.stored.remove(position);
        }
        if self.stored.len() == MAX_STORED {
            self.stored.remove(0);
        }
        let expires_at_ms = now_ms.saturating_add(request.ttl.saturating_mul(1000));
        self.stored.push(StoredPush { request, expires_at_ms });
        PushOutcome::Stored { replaced: position.is_some() }
    }

    fn deliver_stored(&mut self, now_ms: u64) -> Vec<PushOutcome> {
        let stored = std::mem::take(&mut self.stored);
        let deliver = |push: StoredPush| {
            if push.expires_at_ms > now_ms {
                self.deliver(&push.request, now_ms)
            } else {
                PushOutcome::Dropped
            }
        };
        stored.into_iter().map(deliver).collect()
    }

    fn deliver(&mut self, request: &PushRequest, now_ms: u64) -> PushOutcome {
        let data = match request.body.as_slice() {
            [] => None,
            body => match self.keys.decrypt(body) {
                Ok(data) => Some(data),
                Err(why) => return PushOutcome::Unreadable(why),
            },
        };
        let text = data.as_ref().and_then(|data| String::from_utf8(data.clone()).ok());
        let shown = ShownNotification {
            at_ms: now_ms,
            ..fcm::displayed_notification(&notification(text.as_deref()))
        };
        let replaced = inbox::show(&mut self.shown, shown);
        let (ttl, urgency, topic) = (request.ttl, request.urgency, request.topic.clone());
        self.inbox.push_front(ReceivedPush { data, text, ttl, urgency, topic, at_ms: now_ms });
        self.inbox.truncate(inbox::MAX_INBOX);
        PushOutcome::Arrived { replaced }
    }
}

/// Returns the push in FCM's format, as a page's service worker would read it.
/// Data in that format stays as it is. A flat object becomes a notification, and any other text becomes its body.
fn notification(text: Option<&str>) -> Value {
    let Some(text) = text else { return json!({}) };
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else {
        return json!({"notification": {"title": "", "body": text}});
    };
    if fields.contains_key("notification") || fields.get("data").is_some_and(Value::is_object) {
        return Value::Object(fields);
    }
    let body = fields.get("body").or_else(|| fields.get("content"));
    let notification = json!({"title": fields.get("title"), "body": body, "tag": fields.get("tag")});
    json!({"notification": notification, "data": fields})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber() -> Subscriber {
        Subscriber::new("b".to_owned(), WebPushService::Generic, vec![4; 65]).unwrap()
    }

    fn request(subscriber: &Subscriber, ttl: u64, topic: Option<&str>, text: &str) -> PushRequest {
        let body = subscriber.virtual_browser().unwrap().keys.public_keys().encrypt(text.as_bytes()).unwrap();
        PushRequest { ttl, urgency: Urgency::High, topic: topic.map(str::to_owned), body }
    }

    fn received_texts(subscriber: &Subscriber) -> Vec<&str> {
        subscriber.virtual_browser().unwrap().inbox.iter().filter_map(|push| push.text.as_deref()).collect()
    }

    #[test]
    fn a_push_arrives_decrypted_with_its_ttl_urgency_and_topic() {
        let mut subscriber = subscriber();
        let push = request(&subscriber, 60, Some("t"), r#"{"title":"Ann","content":"hi","payload":"p"}"#);
        assert_eq!(subscriber.receive(push, 5), PushOutcome::Arrived { replaced: false });
        let [push] = &subscriber.inbox()[..] else { panic!("one push") };
        assert_eq!(
            (push.ttl, push.urgency, push.topic.as_deref(), push.at_ms),
            (60, Urgency::High, Some("t"), 5)
        );
        let shown = &subscriber.shown()[0];
        assert_eq!(
            (shown.title.as_str(), shown.body.as_str(), &shown.data["payload"]),
            ("Ann", "hi", &json!("p"))
        );
    }

    #[test]
    fn a_push_that_cannot_be_decrypted_does_not_arrive() {
        let (mut subscriber, other) = (subscriber(), subscriber());
        let push = request(&other, 60, None, "secret");
        assert_eq!(subscriber.receive(push, 0), PushOutcome::Unreadable(DecryptionError::Sealed));
        assert!(subscriber.inbox().is_empty());
    }

    #[test]
    fn a_push_without_data_arrives_without_data() {
        let mut subscriber = subscriber();
        let push = PushRequest { ttl: 1, urgency: Urgency::Normal, topic: None, body: Vec::new() };
        assert_eq!(subscriber.receive(push, 0), PushOutcome::Arrived { replaced: false });
        assert_eq!(subscriber.inbox()[0].data, None);
    }

    #[test]
    fn while_offline_a_push_with_ttl_0_is_dropped_and_others_are_stored_in_order() {
        let mut subscriber = subscriber();
        subscriber.state = SubscriberState::Offline;
        assert_eq!(
            subscriber.receive(request(&subscriber, 0, None, "now or never"), 0),
            PushOutcome::Dropped
        );
        for text in ["one", "two"] {
            assert_eq!(
                subscriber.receive(request(&subscriber, 60, None, text), 0),
                PushOutcome::Stored { replaced: false }
            );
        }
        assert!(subscriber.inbox().is_empty());
        assert_eq!(subscriber.come_online(1000), [PushOutcome::Arrived { replaced: false }; 2]);
        assert_eq!(received_texts(&subscriber), ["two", "one"]);
    }

    #[test]
    fn a_stored_push_is_dropped_when_its_ttl_has_passed() {
        let mut subscriber = subscriber();
        subscriber.state = SubscriberState::Offline;
        subscriber.receive(request(&subscriber, 10, None, "short"), 0);
        subscriber.receive(request(&subscriber, 11, None, "long"), 0);
        assert_eq!(
            subscriber.come_online(10_000),
            [PushOutcome::Dropped, PushOutcome::Arrived { replaced: false }]
        );
        assert_eq!(received_texts(&subscriber), ["long"]);
    }

    #[test]
    fn a_topic_replaces_a_stored_push_and_never_a_received_one() {
        let mut subscriber = subscriber();
        subscriber.receive(request(&subscriber, 60, Some("call"), "rings"), 0);
        subscriber.state = SubscriberState::Offline;
        let second = request(&subscriber, 60, Some("call"), "rings again");
        assert_eq!(subscriber.receive(second, 0), PushOutcome::Stored { replaced: false });
        subscriber.receive(request(&subscriber, 60, Some("chat"), "hello"), 0);
        let third = request(&subscriber, 60, Some("call"), "missed");
        assert_eq!(subscriber.receive(third, 0), PushOutcome::Stored { replaced: true });
        subscriber.come_online(1);
        assert_eq!(received_texts(&subscriber), ["missed", "hello", "rings"]);
    }

    #[test]
    fn the_number_of_stored_pushes_is_limited() {
        let mut subscriber = subscriber();
        subscriber.state = SubscriberState::Offline;
        for number in 0..=MAX_STORED {
            subscriber.receive(request(&subscriber, 60, None, &number.to_string()), 0);
        }
        assert_eq!(subscriber.come_online(1).len(), MAX_STORED);
        assert_eq!(received_texts(&subscriber).last(), Some(&"1"));
    }

    #[test]
    fn fcm_format_flat_objects_and_plain_text_are_all_shown() {
        let shown = |text: &str| fcm::displayed_notification(&notification(Some(text)));
        assert_eq!(shown(r#"{"notification":{"title":"T","body":"B"},"data":{"payload":"p"}}"#).title, "T");
        assert_eq!(shown(r#"{"title":"T","body":"B"}"#).body, "B");
        assert_eq!(shown("hello").body, "hello");
        assert!(shown(r#"{"data":{"payload":"p"}}"#).silent);
    }
}
