//! The Web Push services of the browsers: RFC 8030 with VAPID and real decryption, in the manner of each of four vendors.
//!
//! A push that its browser cannot read is accepted, as the real services do, who cannot look inside; the event log tells why
//! nothing was shown.

mod answer;
mod browser;
pub(crate) mod control;
mod refusal;
mod request;
#[cfg(test)]
pub(crate) mod sender;
mod services;
mod subscription;
#[cfg(test)]
mod tests;
mod vapid;

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use parking_lot::Mutex;
use serde_json::{Value, json};

pub(crate) use answer::Answer;
pub use browser::Push;
pub(crate) use browser::Relay;
use browser::{Browser, Fate, State};
use refusal::Refusal;
pub(crate) use request::Asked;
pub use request::Urgency;
use request::only;
pub(crate) use services::HOSTS;
pub use services::Service;
pub use subscription::{Keys, Subscription};
use vapid::Expected;
pub(crate) use vapid::public_key;

use crate::clock::Clock;
use crate::desk::{Desk, Manual};
use crate::event::{Event, What, Why};
use crate::fault::{Fault, Where};
use crate::mailbox::{Change, Shown};
use crate::rig::{Rig, Site};
use crate::wire::{self, Lines, Reply};

/// A real browser's subscription.
pub(crate) struct Real {
    /// Its name.
    pub(crate) id: String,
    /// The key it is bound to.
    pub(crate) vapid_key: Vec<u8>,
    /// Where pushes go.
    pub(crate) relay: Relay,
}

/// The services and the virtual browsers that have subscribed to them.
pub struct WebPush {
    browsers: Mutex<Vec<Browser>>,
    rig: Arc<Rig>,
}

impl Default for WebPush {
    /// Without a port: what it answers can be asked all the same.
    fn default() -> Self {
        Self::new(Rig::new(Clock::default(), 0, Arc::new(Lines::new(100))))
    }
}

/// Not the public key of an application server: 65 bytes, uncompressed P-256, base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("applicationServerKey is not a P-256 public key in base64url")]
pub struct BadKey;

impl WebPush {
    pub(crate) fn new(rig: Rig) -> Self {
        Self { browsers: Mutex::default(), rig: Arc::new(rig) }
    }

    /// A new virtual browser, online, subscribed for the application server of this key (`applicationServerKey`).
    ///
    /// # Errors
    /// When the key is none.
    pub fn subscribe(&self, service: Service, vapid_public_key: &str) -> Result<Subscription, BadKey> {
        let key = vapid::public_key(vapid_public_key).ok_or(BadKey)?;
        let mut browsers = self.browsers.lock();
        let number = browsers.iter().filter(|one| one.service == service).count() + 1;
        let browser = Browser::new(format!("{}-{number}", service.name()), service, key).ok_or(BadKey)?;
        let subscription = browser.subscription.clone();
        browsers.push(browser);
        Ok(subscription)
    }

    /// What has arrived at a browser, newest first; nothing for a subscription that is not known.
    #[must_use]
    pub fn inbox(&self, subscription: &Subscription) -> Vec<Push> {
        self.with(&subscription.id, |browser| browser.inbox()).unwrap_or_default()
    }

    /// The user has taken back the permission: the subscription is dead. Whether it was known.
    pub fn expire(&self, subscription: &Subscription) -> bool {
        self.put(&subscription.id, State::Expired)
    }

    /// The browser is closed: pushes wait for it, as long as they live. Whether it was known and had not expired.
    pub fn go_offline(&self, subscription: &Subscription) -> bool {
        self.put(&subscription.id, State::Offline)
    }

    /// The browser is back, and what has waited arrives. Whether it was known and had not expired.
    pub fn come_online(&self, subscription: &Subscription) -> bool {
        self.put(&subscription.id, State::Online)
    }

    /// Makes the next requests go wrong. Gives the rule's number.
    pub fn fail(&self, fault: Fault) -> u64 {
        self.rig.fail(fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.rig.faults.clear();
    }

    /// What has happened since event number `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.rig.events(seq)
    }

    /// The first event that matches, whether it has happened or happens within `patience`.
    pub async fn wait_for(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        self.rig.wait_for(wanted, patience).await
    }

    fn with<T>(&self, id: &str, look: impl FnOnce(&mut Browser) -> T) -> Option<T> {
        self.browsers.lock().iter_mut().find(|one| one.subscription.id == id).map(look)
    }

    fn put(&self, id: &str, state: State) -> bool {
        let changed = self.with(id, |browser| {
            if browser.state == State::Expired {
                return None;
            }
            if state == State::Online {
                return Some(browser.come_online(self.rig.clock.now_ms()));
            }
            browser.state = state;
            Some(Vec::new())
        });
        let Some(fates) = changed.flatten() else { return false };
        for fate in fates {
            self.tell(id, fate);
        }
        true
    }

    fn shown(&self, id: &str) -> Option<Vec<Shown>> {
        self.with(id, |browser| browser.shown())
    }

    fn tell(&self, device: &str, fate: Fate) {
        let device = device.to_owned();
        let what = match fate {
            Fate::Arrived { replaced } => What::Arrived { device, replaced },
            Fate::Unreadable(why) => What::Unreadable { device, why },
            Fate::Waits { replaced } => What::Waits { device, replaced },
            Fate::Dropped => What::Dropped { device, why: Why::Expired },
            // The connection of the browser tells what becomes of it.
            Fate::HandedOver => return,
        };
        self.rig.tell(what);
    }
}

/// The side of the real browsers.
impl WebPush {
    /// A real browser has subscribed; the token becomes the last part of its endpoint, which is given back.
    pub(crate) fn attach(&self, service: Service, token: &str, real: Real) -> String {
        let endpoint = service.endpoint(token);
        let subscription = Subscription::kept(real.id, endpoint.clone());
        self.browsers.lock().push(Browser::real(subscription, service, real.vapid_key, real.relay));
        endpoint
    }

    /// The subscription with this token has ended.
    pub(crate) fn detach(&self, token: &str) {
        let mut browsers = self.browsers.lock();
        let ended = |one: &&mut Browser| path(one).rsplit('/').next() == Some(token);
        browsers.iter_mut().filter(ended).for_each(|browser| browser.state = State::Expired);
    }
}

/// The wire's side.
impl WebPush {
    /// Whether a request is for one of these services, and for which.
    pub(crate) fn service_of(&self, head: &Parts) -> Option<Service> {
        let known = Service::of(&authority(head), head.uri.path());
        known.or_else(|| {
            let target = target(head);
            self.browsers.lock().iter().find(|one| same(path(one), target)).map(|one| one.service)
        })
    }

    /// The honest answer. What the push brings about has come about when it returns.
    fn honest(&self, service: Service, head: &Parts, body: &[u8]) -> Answer {
        let (answer, code, fate) = match self.taken(service, head, body) {
            Ok((ttl, fate)) => {
                let personality = service.personality();
                let message = format!("https://{}{}", authority(head), personality.message_path());
                let answer = personality.accepted().with("location", message).with("ttl", ttl.to_string());
                (answer, None, Some(fate))
            }
            Err(refusal) => (service.personality().refused(refusal), Some(refusal.code().to_owned()), None),
        };
        self.rig.tell(self.told(service, head, answer.status, code));
        if let Some((device, fate)) = fate {
            self.tell(&device, fate);
        }
        answer
    }

    /// The TTL that is granted, and what became of the push on which device.
    fn taken(&self, service: Service, head: &Parts, body: &[u8]) -> Result<(u64, (String, Fate)), Refusal> {
        let personality = service.personality();
        if head.method != http::Method::POST {
            return Err(Refusal::Method);
        }
        let mut browsers = self.browsers.lock();
        let target = target(head);
        let Some(at) = browsers.iter().position(|one| one.service == service && same(path(one), target))
        else {
            let mangled = browsers.iter().any(|one| one.service == service && is_mangled(target, path(one)));
            return Err(if mangled { Refusal::Mangled } else { Refusal::Unknown });
        };
        let browser = &mut browsers[at];
        if browser.state == State::Expired {
            return Err(Refusal::Gone);
        }
        let origin = format!("https://{}", authority(head));
        let expected =
            Expected { origin: &origin, now: self.rig.clock.now_s(), contact: personality.contact() };
        let key = vapid::proven(only(&head.headers, "authorization"), expected).map_err(Refusal::Vapid)?;
        if key != browser.vapid_key {
            return Err(Refusal::OtherKey);
        }
        let mut asked = Asked::read(&head.headers, body)?;
        personality.own_rules(&asked, &head.headers)?;
        asked.ttl = asked.ttl.min(personality.longest_ttl());
        let ttl = asked.ttl;
        let fate = browser.take(asked, self.rig.clock.now_ms());
        Ok((ttl, (browser.subscription.id.clone(), fate)))
    }

    fn told(&self, service: Service, head: &Parts, status: u16, code: Option<String>) -> What {
        What::WebPush { service, status, code, device: self.named(head) }
    }

    /// The browser an endpoint belongs to.
    fn named(&self, head: &Parts) -> Option<String> {
        let target = target(head);
        let browsers = self.browsers.lock();
        browsers.iter().find(|one| same(path(one), target)).map(|one| one.subscription.id.clone())
    }

    /// The service of a request that one of them has claimed.
    fn claimed(&self, head: &Parts) -> Service {
        self.service_of(head).unwrap_or(Service::Generic)
    }
}

impl Site for WebPush {
    fn rig(&self) -> &Rig {
        &self.rig
    }

    fn claims(&self, asked: &wire::Asked) -> bool {
        self.service_of(&asked.head).is_some()
    }

    fn place(&self, _asked: &wire::Asked) -> Where {
        Where::Send
    }

    fn names(&self, asked: &wire::Asked) -> Vec<String> {
        self.named(&asked.head).into_iter().collect()
    }

    fn answer(&self, asked: &wire::Asked) -> Reply {
        self.honest(self.claimed(&asked.head), &asked.head, &asked.body).into()
    }

    fn error(&self, asked: &wire::Asked, status: u16, code: Option<&str>) -> Reply {
        self.claimed(&asked.head).personality().injected(status, code).into()
    }

    fn expired(&self, asked: &wire::Asked) -> Reply {
        self.claimed(&asked.head).personality().refused(Refusal::Vapid(vapid::Wrong::Expired)).into()
    }

    fn refusal(&self, asked: &wire::Asked, status: u16, code: Option<String>) -> What {
        self.told(self.claimed(&asked.head), &asked.head, status, code)
    }
}

impl Desk for WebPush {
    fn add(&self, wish: Value) -> Result<Value, String> {
        control::subscribed(self, wish)
    }

    fn list(&self) -> Vec<Value> {
        let one = |browser: &Browser| {
            json!({"id": browser.subscription.id, "kind": browser.service, "state": {
                "registered": browser.state != State::Expired, "online": browser.state == State::Online}})
        };
        // Real browsers are listed where they are connected.
        self.browsers.lock().iter().filter(|browser| browser.is_virtual()).map(one).collect()
    }

    fn shown(&self, id: &str) -> Option<Vec<Shown>> {
        Self::shown(self, id)
    }

    fn change(&self, id: &str, change: Change) -> bool {
        let state = match (change.registered, change.online) {
            (Some(false), _) => State::Expired,
            (_, Some(true)) => State::Online,
            (_, Some(false)) => State::Offline,
            (_, None) => return self.with(id, |_| ()).is_some(),
        };
        self.put(id, state)
    }

    fn manual(&self) -> Manual {
        Manual { device: Some(control::example()), device_fields: control::fields(), more: control::manual() }
    }

    fn verbs(&self) -> Value {
        json!({})
    }

    fn verb(&self, _name: &str, _body: Value) -> Option<Result<(), String>> {
        None
    }
}

/// Path and query of a browser's endpoint.
fn path(browser: &Browser) -> &str {
    subscription::path_of(&browser.subscription.endpoint)
}

/// Path and query as they were asked for, byte for byte.
fn target(head: &Parts) -> &str {
    head.uri.path_and_query().map_or("/", |target| target.as_str())
}

/// The host that was asked, with a port only where it is not 443 (RFC 6454 §6.1).
fn authority(head: &Parts) -> String {
    let named = head.uri.authority().map(http::uri::Authority::as_str);
    let host = named.or_else(|| only(&head.headers, "host")).unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(":443").map(str::to_owned).unwrap_or(host)
}

/// Whether two targets are the same, byte for byte; only the digits of an escape may be in either case (RFC 3986 §6.2.2.1), as
/// the HTTP library of many Python senders writes them in upper case.
fn same(one: &str, other: &str) -> bool {
    let lowered = |text: &str| {
        let mut digits = 0;
        let lower = |letter: char| {
            let escaped = digits > 0;
            digits = if letter == '%' {
                2
            } else if escaped {
                digits - 1
            } else {
                0
            };
            if escaped { letter.to_ascii_lowercase() } else { letter }
        };
        text.chars().map(lower).collect::<String>()
    };
    let google = services::google_token(one);
    google.is_some() && google == services::google_token(other)
        || one.len() == other.len() && lowered(one) == lowered(other)
}

/// Whether somebody has decoded, encoded again or cut an endpoint with a query.
fn is_mangled(target: &str, endpoint: &str) -> bool {
    let decoded = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.replace("%2b", "+").replace("%2f", "/").replace("%3d", "=")
    };
    endpoint.contains('?') && decoded(endpoint).starts_with(&decoded(target))
}
