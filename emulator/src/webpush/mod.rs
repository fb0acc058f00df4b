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

use std::time::{Duration, SystemTime};

use http::request::Parts;
use parking_lot::Mutex;

pub(crate) use answer::Answer;
pub use browser::Push;
use browser::{Browser, Fate, State};
use refusal::Refusal;
pub use request::Urgency;
use request::{Asked, only};
pub(crate) use services::HOSTS;
pub use services::Service;
pub use subscription::{Keys, Subscription};
use vapid::Expected;

use crate::device::Shown;
use crate::event::{Event, Log, What};
use crate::fault::{Effect, Fault, Faults, Where};

/// The services and the virtual browsers that have subscribed to them.
#[derive(Default)]
pub struct WebPush {
    browsers: Mutex<Vec<Browser>>,
    faults: Faults,
    log: Log,
}

/// What a request meets.
#[derive(Debug)]
pub(crate) enum Met {
    /// An answer.
    Answer(Answer),
    /// Silence.
    Hang,
    /// A reset.
    Reset,
}

/// Not the public key of an application server: 65 bytes, uncompressed P-256, base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("applicationServerKey is not a P-256 public key in base64url")]
pub struct BadKey;

impl WebPush {
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
        self.with(&subscription.id, |browser| browser.inbox.clone()).unwrap_or_default()
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
        self.faults.add(fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.faults.clear();
    }

    /// What has happened since event number `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.log.after(seq)
    }

    /// The first event that matches, whether it has happened or happens within `patience`.
    pub async fn wait_for(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        self.log.wait(wanted, patience).await
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
                return Some(browser.come_online(now_ms()));
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
        self.with(id, |browser| browser.shown.clone())
    }

    fn tell(&self, device: &str, fate: Fate) {
        let device = device.to_owned();
        self.log.add(match fate {
            Fate::Arrived { replaced } => What::Arrived { device, replaced },
            Fate::Unreadable(why) => What::Unreadable { device, why },
            Fate::Waits { replaced } => What::Waits { device, replaced },
            Fate::Dropped => What::Dropped { device },
        });
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

    /// What a request to a service meets.
    pub(crate) fn meet(&self, service: Service, head: &Parts, body: &[u8]) -> Met {
        let Some((rule, effect)) = self.faults.due(Where::Send) else {
            return Met::Answer(self.answer(service, head, body));
        };
        self.log.add(What::Fault { rule });
        match effect {
            Effect::Error { status, code, retry_after } => {
                let answer = service.personality().injected(status, code.as_deref());
                self.note(service, head, &answer, code);
                Met::Answer(match retry_after {
                    Some(wish) => answer.with("retry-after", wish),
                    None => answer,
                })
            }
            Effect::Raw { status, body } => {
                let answer = Answer { body, ..Answer::bare(status) };
                self.note(service, head, &answer, None);
                Met::Answer(answer)
            }
            Effect::Redirect { status, location } => {
                let answer = Answer::bare(status).with("location", location);
                self.note(service, head, &answer, None);
                Met::Answer(answer)
            }
            Effect::Hang => Met::Hang,
            Effect::LoseAnswer => {
                self.answer(service, head, body);
                Met::Hang
            }
            Effect::Reset => Met::Reset,
        }
    }

    /// The honest answer. What the push brings about has come about when it returns.
    fn answer(&self, service: Service, head: &Parts, body: &[u8]) -> Answer {
        let (answer, code, fate) = match self.taken(service, head, body) {
            Ok((ttl, fate)) => {
                let personality = service.personality();
                let message = format!("https://{}{}", authority(head), personality.message_path());
                let answer = personality.accepted().with("location", message).with("ttl", ttl.to_string());
                (answer, None, Some(fate))
            }
            Err(refusal) => (service.personality().refused(refusal), Some(refusal.code().to_owned()), None),
        };
        self.note(service, head, &answer, code);
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
        let expected = Expected { origin: &origin, now: now_ms() / 1000, contact: personality.contact() };
        let key = vapid::proven(only(&head.headers, "authorization"), expected).map_err(Refusal::Vapid)?;
        if key != browser.vapid_key {
            return Err(Refusal::OtherKey);
        }
        let mut asked = Asked::read(&head.headers, body)?;
        personality.own_rules(&asked, &head.headers)?;
        asked.ttl = asked.ttl.min(personality.longest_ttl());
        let ttl = asked.ttl;
        let fate = browser.take(asked, now_ms());
        Ok((ttl, (browser.subscription.id.clone(), fate)))
    }

    fn note(&self, service: Service, head: &Parts, answer: &Answer, code: Option<String>) {
        let target = target(head);
        let browsers = self.browsers.lock();
        let device =
            browsers.iter().find(|one| same(path(one), target)).map(|one| one.subscription.id.clone());
        self.log.add(What::WebPush { service, status: answer.status, code, device });
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
    one.len() == other.len() && lowered(one) == lowered(other)
}

/// Whether somebody has decoded, encoded again or cut an endpoint with a query.
fn is_mangled(target: &str, endpoint: &str) -> bool {
    let decoded = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.replace("%2b", "+").replace("%2f", "/").replace("%3d", "=")
    };
    endpoint.contains('?') && decoded(endpoint).starts_with(&decoded(target))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
