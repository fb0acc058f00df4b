//! A virtual browser and what its push service keeps for it: what waits while it is offline, what has arrived, what is shown.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::request::{Asked, Urgency};
use super::services::Service;
use super::subscription::Subscription;
use crate::google;
use crate::mailbox::{self, Shown};
use crate::push_crypto::{Keys, Unreadable};

/// The most that is kept for one browser that is offline.
const MOST_KEPT: usize = 100;

/// A push as the browser's `push` event has it.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Push {
    /// The decrypted data; none for a push without.
    #[serde(skip)]
    pub data: Option<Vec<u8>>,
    /// The data where it is text.
    pub text: Option<String>,
    /// As long as it would have been kept, in seconds.
    pub ttl: u64,
    /// How urgent it was.
    pub urgency: Urgency,
    /// Its topic.
    pub topic: Option<String>,
    /// When it arrived, in milliseconds since 1970.
    pub at_ms: u64,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = f.debug_struct("Push");
        all.field("ttl", &self.ttl).field("urgency", &self.urgency).field("at_ms", &self.at_ms);
        all.finish_non_exhaustive()
    }
}

/// What became of a push that its service has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The page's worker has it.
    Arrived { replaced: bool },
    /// It came, and the browser could not read it.
    Unreadable(Unreadable),
    /// It waits for the browser.
    Waits { replaced: bool },
    /// A real browser's connection has it.
    HandedOver,
    /// The browser was offline, and it was not worth waiting.
    Dropped,
}

struct Waiting {
    asked: Asked,
    until_ms: u64,
}

/// Whether a subscription still lives, and whether its browser can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Online,
    Offline,
    Expired,
}

pub(super) struct Browser {
    pub(super) subscription: Subscription,
    pub(super) service: Service,
    /// The key the subscription is bound to.
    pub(super) vapid_key: Vec<u8>,
    pub(super) state: State,
    end: End,
}

/// Where pushes end.
enum End {
    /// A browser that is only played.
    Virtual(Screen),
    /// A real one, somewhere behind this.
    Real(Relay),
}

/// Takes pushes to a real browser, as they came.
pub(crate) type Relay = Arc<dyn Fn(&Asked) + Send + Sync>;

/// What a virtual browser has.
struct Screen {
    keys: Keys,
    waiting: Vec<Waiting>,
    inbox: VecDeque<Push>,
    shown: VecDeque<Shown>,
}

impl Browser {
    pub(super) fn new(id: String, service: Service, vapid_key: Vec<u8>) -> Option<Self> {
        let keys = Keys::generate()?;
        let personality = service.personality();
        let endpoint = format!("{}{}", personality.origin(), personality.path());
        let subscription = Subscription::new(id, endpoint, keys.recipient());
        let screen = Screen { keys, waiting: Vec::new(), inbox: VecDeque::new(), shown: VecDeque::new() };
        Some(Self { subscription, service, vapid_key, state: State::Online, end: End::Virtual(screen) })
    }

    /// A real browser's subscription, which keeps its keys to itself.
    pub(super) fn real(
        subscription: Subscription,
        service: Service,
        vapid_key: Vec<u8>,
        relay: Relay,
    ) -> Self {
        Self { subscription, service, vapid_key, state: State::Online, end: End::Real(relay) }
    }

    /// Whether it is only played.
    pub(super) fn is_virtual(&self) -> bool {
        self.screen().is_some()
    }

    /// What has arrived, newest first.
    pub(super) fn inbox(&self) -> Vec<Push> {
        self.screen().map(|screen| screen.inbox.iter().cloned().collect()).unwrap_or_default()
    }

    /// What is shown, newest first.
    pub(super) fn shown(&self) -> Vec<Shown> {
        self.screen().map(|screen| screen.shown.iter().cloned().collect()).unwrap_or_default()
    }

    fn screen(&self) -> Option<&Screen> {
        match &self.end {
            End::Virtual(screen) => Some(screen),
            End::Real(_) => None,
        }
    }

    /// Takes a push from its service.
    pub(super) fn take(&mut self, asked: Asked, now_ms: u64) -> Fate {
        match &mut self.end {
            End::Real(relay) => {
                relay(&asked);
                Fate::HandedOver
            }
            End::Virtual(screen) if self.state == State::Online => screen.arrive(&asked, now_ms),
            End::Virtual(screen) => screen.keep(asked, now_ms),
        }
    }

    /// The browser is back: what waits arrives, the oldest first, unless its time is over.
    pub(super) fn come_online(&mut self, now_ms: u64) -> Vec<Fate> {
        self.state = State::Online;
        match &mut self.end {
            End::Virtual(screen) => screen.catch_up(now_ms),
            End::Real(_) => Vec::new(),
        }
    }
}

impl Screen {
    fn keep(&mut self, asked: Asked, now_ms: u64) -> Fate {
        if asked.ttl == 0 {
            return Fate::Dropped;
        }
        let place = asked.topic.as_ref().and_then(|topic| {
            self.waiting.iter().position(|waiting| waiting.asked.topic.as_ref() == Some(topic))
        });
        if let Some(place) = place {
            self.waiting.remove(place);
        }
        if self.waiting.len() == MOST_KEPT {
            self.waiting.remove(0);
        }
        let until_ms = now_ms.saturating_add(asked.ttl.saturating_mul(1000));
        self.waiting.push(Waiting { asked, until_ms });
        Fate::Waits { replaced: place.is_some() }
    }

    fn catch_up(&mut self, now_ms: u64) -> Vec<Fate> {
        let waiting = std::mem::take(&mut self.waiting);
        let fate = |one: Waiting| {
            if one.until_ms > now_ms { self.arrive(&one.asked, now_ms) } else { Fate::Dropped }
        };
        waiting.into_iter().map(fate).collect()
    }

    fn arrive(&mut self, asked: &Asked, now_ms: u64) -> Fate {
        let data = match asked.body.as_slice() {
            [] => None,
            body => match self.keys.decrypt(body) {
                Ok(data) => Some(data),
                Err(why) => return Fate::Unreadable(why),
            },
        };
        let text = data.as_ref().and_then(|data| String::from_utf8(data.clone()).ok());
        let shown = Shown { at_ms: now_ms, ..google::shown(&notification(text.as_deref())) };
        let replaced = mailbox::show(&mut self.shown, shown);
        let (ttl, urgency, topic) = (asked.ttl, asked.urgency, asked.topic.clone());
        self.inbox.push_front(Push { data, text, ttl, urgency, topic, at_ms: now_ms });
        self.inbox.truncate(mailbox::KEPT);
        Fate::Arrived { replaced }
    }
}

/// What a worker would make of the data: FCM's shape as it is, a flat object as a notification, any other text as its body.
fn notification(text: Option<&str>) -> Value {
    let Some(text) = text else { return json!({}) };
    let Ok(Value::Object(all)) = serde_json::from_str::<Value>(text) else {
        return json!({"notification": {"title": "", "body": text}});
    };
    if all.contains_key("notification") || all.get("data").is_some_and(Value::is_object) {
        return Value::Object(all);
    }
    let body = all.get("body").or_else(|| all.get("content"));
    let shown = json!({"title": all.get("title"), "body": body, "tag": all.get("tag")});
    json!({"notification": shown, "data": all})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browser() -> Browser {
        Browser::new("b".to_owned(), Service::Generic, vec![4; 65]).unwrap()
    }

    fn asked(browser: &Browser, ttl: u64, topic: Option<&str>, text: &str) -> Asked {
        let body = browser.screen().unwrap().keys.recipient().encrypt(text.as_bytes()).unwrap();
        Asked { ttl, urgency: Urgency::High, topic: topic.map(str::to_owned), body }
    }

    fn texts(browser: &Browser) -> Vec<&str> {
        browser.screen().unwrap().inbox.iter().filter_map(|push| push.text.as_deref()).collect()
    }

    #[test]
    fn a_push_arrives_decrypted_with_what_was_asked_for() {
        let mut browser = browser();
        let push = asked(&browser, 60, Some("t"), r#"{"title":"Ann","content":"hi","payload":"p"}"#);
        assert_eq!(browser.take(push, 5), Fate::Arrived { replaced: false });
        let [push] = &browser.inbox()[..] else { panic!("one push") };
        assert_eq!(
            (push.ttl, push.urgency, push.topic.as_deref(), push.at_ms),
            (60, Urgency::High, Some("t"), 5)
        );
        let shown = &browser.shown()[0];
        assert_eq!(
            (shown.title.as_str(), shown.body.as_str(), &shown.data["payload"]),
            ("Ann", "hi", &json!("p"))
        );
    }

    #[test]
    fn what_cannot_be_read_does_not_arrive() {
        let (mut browser, other) = (browser(), browser());
        let push = asked(&other, 60, None, "secret");
        assert_eq!(browser.take(push, 0), Fate::Unreadable(Unreadable::Sealed));
        assert!(browser.inbox().is_empty());
    }

    #[test]
    fn a_push_without_data_arrives_without_data() {
        let mut browser = browser();
        let push = Asked { ttl: 1, urgency: Urgency::Normal, topic: None, body: Vec::new() };
        assert_eq!(browser.take(push, 0), Fate::Arrived { replaced: false });
        assert_eq!(browser.inbox()[0].data, None);
    }

    #[test]
    fn offline_a_push_of_no_life_is_dropped_and_others_wait_in_order() {
        let mut browser = browser();
        browser.state = State::Offline;
        assert_eq!(browser.take(asked(&browser, 0, None, "now or never"), 0), Fate::Dropped);
        for text in ["one", "two"] {
            assert_eq!(browser.take(asked(&browser, 60, None, text), 0), Fate::Waits { replaced: false });
        }
        assert!(browser.inbox().is_empty());
        assert_eq!(browser.come_online(1000), [Fate::Arrived { replaced: false }; 2]);
        assert_eq!(texts(&browser), ["two", "one"]);
    }

    #[test]
    fn what_waited_longer_than_its_life_is_dropped() {
        let mut browser = browser();
        browser.state = State::Offline;
        browser.take(asked(&browser, 10, None, "short"), 0);
        browser.take(asked(&browser, 11, None, "long"), 0);
        assert_eq!(browser.come_online(10_000), [Fate::Dropped, Fate::Arrived { replaced: false }]);
        assert_eq!(texts(&browser), ["long"]);
    }

    #[test]
    fn a_topic_replaces_what_waits_and_nothing_that_has_arrived() {
        let mut browser = browser();
        browser.take(asked(&browser, 60, Some("call"), "rings"), 0);
        browser.state = State::Offline;
        let second = asked(&browser, 60, Some("call"), "rings again");
        assert_eq!(browser.take(second, 0), Fate::Waits { replaced: false });
        browser.take(asked(&browser, 60, Some("chat"), "hello"), 0);
        let third = asked(&browser, 60, Some("call"), "missed");
        assert_eq!(browser.take(third, 0), Fate::Waits { replaced: true });
        browser.come_online(1);
        assert_eq!(texts(&browser), ["missed", "hello", "rings"]);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut browser = browser();
        browser.state = State::Offline;
        for number in 0..=MOST_KEPT {
            browser.take(asked(&browser, 60, None, &number.to_string()), 0);
        }
        assert_eq!(browser.come_online(1).len(), MOST_KEPT);
        assert_eq!(texts(&browser).last(), Some(&"1"));
    }

    #[test]
    fn fcm_s_shape_flat_objects_and_plain_text_are_all_shown() {
        let shown = |text: &str| google::shown(&notification(Some(text)));
        assert_eq!(shown(r#"{"notification":{"title":"T","body":"B"},"data":{"payload":"p"}}"#).title, "T");
        assert_eq!(shown(r#"{"title":"T","body":"B"}"#).body, "B");
        assert_eq!(shown("hello").body, "hello");
        assert!(shown(r#"{"data":{"payload":"p"}}"#).silent);
    }
}
