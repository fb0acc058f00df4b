//! Faults on demand: which requests, and what goes wrong with them. Every rule rolls its own dice from the emulator's seed,
//! so that a test that asks for a share gets the same requests each time.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// Where a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    /// Where pushes are sent.
    #[default]
    Send,
    /// At the token endpoint.
    Token,
    /// Where the vendor's own things are kept, as the broadcast channels of APNs.
    Manage,
}

/// A rule: which requests, and what goes wrong with them. The oldest rule that is due applies, and only that one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where.
    #[serde(default)]
    pub at: Where,
    /// How many requests go wrong; none: until it is healed.
    #[serde(default)]
    pub next: Option<u32>,
    /// How large a share of the requests that fit goes wrong.
    #[serde(default)]
    pub share: Share,
    /// How many requests that fit pass first.
    #[serde(default)]
    pub skip: u32,
    /// Only requests for the device of this name or token; none: for all.
    #[serde(default)]
    pub device: Option<String>,
    /// What goes wrong.
    pub effect: Effect,
}

impl Fault {
    /// The next `n` pushes.
    #[must_use]
    pub const fn next(n: u32, effect: Effect) -> Self {
        Self { at: Where::Send, next: Some(n), share: Share(1.0), skip: 0, device: None, effect }
    }

    /// Every push, until it is healed.
    #[must_use]
    pub fn always(effect: Effect) -> Self {
        Self { next: None, ..Self::next(0, effect) }
    }

    /// Of what would go wrong, only this share, from 0 to 1.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self { share: Share(share.clamp(0.0, 1.0)), ..self }
    }

    /// At another place.
    #[must_use]
    pub fn at(self, at: Where) -> Self {
        Self { at, ..self }
    }

    /// Only after so many requests that fit.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Only for the device of this name or token.
    #[must_use]
    pub fn device(self, device: &str) -> Self {
        Self { device: Some(device.to_owned()), ..self }
    }
}

/// A share of requests, from 0 (none) to 1 (all).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(f64);

impl Default for Share {
    fn default() -> Self {
        Self(1.0)
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;
    fn try_from(share: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err("a share lies between 0 and 1") }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// An error of the vendor, with its real body; the push is not taken.
    Error {
        /// The HTTP status.
        status: u16,
        /// The vendor's own code (`UNAVAILABLE` of FCM, `Shutdown` of APNs); none leaves it out.
        #[serde(default)]
        code: Option<String>,
        /// The Retry-After header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// Any answer at all, for hostile ones; the push is not taken.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The way to somewhere else; the push is not taken.
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The Location header.
        location: String,
    },
    /// The push is taken, and its answer comes late.
    Delay {
        /// By how much, in milliseconds.
        ms: u64,
    },
    /// Never an answer; the push is not taken.
    Hang,
    /// The push is taken and arrives, but its answer never comes.
    LoseAnswer,
    /// The stream is reset (HTTP/2) or the connection closed (HTTP/1.1); the push is not taken.
    Reset {
        /// The error code of RFC 9113 §7: 2 is an internal error, 7 says that nothing was processed.
        #[serde(default = "internal_error")]
        code: u32,
    },
    /// The connection is cut without a word; the push is not taken.
    Close,
    /// The connection is told to go away.
    Goaway(Goaway),
    /// From now on every connection of the vendor carries at most so many streams, the living ones too. The push is taken.
    StreamLimit(u32),
    /// The bearer or provider token counts as expired; the push is not taken.
    ExpiredBearer,
}

const fn internal_error() -> u32 {
    2
}

impl Effect {
    /// A reset as a server gives it that has failed.
    #[must_use]
    pub const fn reset() -> Self {
        Self::Reset { code: internal_error() }
    }

    /// An error without Retry-After.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: Some(code.to_owned()), retry_after: None }
    }

    /// Its name, as the control API spells it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Raw { .. } => "raw",
            Self::Redirect { .. } => "redirect",
            Self::Delay { .. } => "delay",
            Self::Hang => "hang",
            Self::LoseAnswer => "lose_answer",
            Self::Reset { .. } => "reset",
            Self::Close => "close",
            Self::Goaway(_) => "goaway",
            Self::StreamLimit(_) => "stream_limit",
            Self::ExpiredBearer => "expired_bearer",
        }
    }
}

/// How a connection is told to go away (RFC 9113 §6.8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Goaway {
    /// Which streams it says it has processed.
    pub last: Last,
    /// The error code of RFC 9113 §7; 0 is none.
    pub code: u32,
    /// The debug data; APNs puts a JSON reason there.
    pub debug: String,
    /// What happens to the streams it has processed.
    pub then: Then,
}

impl Default for Goaway {
    fn default() -> Self {
        Self { last: Last::This, code: 0, debug: String::new(), then: Then::Drain }
    }
}

/// Which stream a GOAWAY names. It never names one below a stream that was processed: that would be a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Last {
    /// This request's stream: it is answered.
    This,
    /// The one before it: this request is not processed.
    Before,
    /// The highest number there is: nothing is refused, only no new stream is wanted.
    Highest,
}

/// What follows a GOAWAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Open streams are answered, then the connection closes.
    Drain,
    /// The connection closes at once; nobody learns what became of the open streams.
    Abrupt,
}

/// A Retry-After header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// In seconds.
    Seconds(u32),
    /// As an HTTP date, so many seconds from now.
    Date {
        /// How many.
        date_in: u32,
    },
    /// As it stands, for hostile ones.
    Text(String),
}

impl RetryAfter {
    /// The header's value at a time.
    #[must_use]
    pub fn value(&self, now: SystemTime) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date { date_in } => http_date(now + Duration::from_secs(u64::from(*date_in))),
            Self::Text(text) => text.clone(),
        }
    }
}

/// The IMF-fixdate of RFC 9110 §5.6.7.
fn http_date(at: SystemTime) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    // Formatting a date with a known description into memory has nothing that could fail.
    time::OffsetDateTime::from(at).format(&format).unwrap_or_default()
}

/// What a rule needs to know of a request; the device is looked up only if a rule asks for one.
pub(crate) struct Subject<'a> {
    pub(crate) at: Where,
    pub(crate) device: &'a dyn Fn() -> Vec<String>,
}

/// The rules of one vendor.
pub(crate) struct Faults {
    seed: u64,
    rules: Mutex<Rules>,
}

#[derive(Default)]
struct Rules {
    last: u64,
    rules: Vec<Rule>,
}

struct Rule {
    number: u64,
    fault: Fault,
    dice: StdRng,
}

impl Rule {
    /// Whether the request goes wrong by this rule; skips and uses are counted.
    fn applies(&mut self, names: &Option<Vec<String>>) -> bool {
        if let Some(device) = &self.fault.device
            && !names.as_ref().is_some_and(|names| names.contains(device))
        {
            return false;
        }
        if self.fault.skip > 0 {
            self.fault.skip -= 1;
            return false;
        }
        if self.fault.share.0 < 1.0 && self.dice.random::<f64>() >= self.fault.share.0 {
            return false;
        }
        self.fault.next = self.fault.next.map(|left| left - 1);
        true
    }

    fn spent(&self) -> bool {
        self.fault.next == Some(0)
    }
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rules: Mutex::default() }
    }

    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let mut rules = self.rules.lock();
        rules.last += 1;
        let number = rules.last;
        // One generator a rule: what other rules roll does not change what this one rolls.
        let dice = StdRng::seed_from_u64(self.seed.wrapping_add(number));
        let rule = Rule { number, fault, dice };
        if !rule.spent() {
            rules.rules.push(rule);
        }
        number
    }

    pub(crate) fn all(&self) -> Vec<(u64, Fault)> {
        self.rules.lock().rules.iter().map(|rule| (rule.number, rule.fault.clone())).collect()
    }

    pub(crate) fn remove(&self, number: u64) -> bool {
        let mut rules = self.rules.lock();
        let before = rules.rules.len();
        rules.rules.retain(|rule| rule.number != number);
        rules.rules.len() < before
    }

    pub(crate) fn clear(&self) {
        self.rules.lock().rules.clear();
    }

    /// The fault for a request, if one is due; it counts as used.
    pub(crate) fn due(&self, subject: &Subject<'_>) -> Option<(u64, Effect)> {
        let mut rules = self.rules.lock();
        if rules.rules.is_empty() {
            return None;
        }
        let asks = rules.rules.iter().any(|rule| rule.fault.at == subject.at && rule.fault.device.is_some());
        let names = asks.then(|| (subject.device)());
        let mut fitting = rules.rules.iter_mut().filter(|rule| rule.fault.at == subject.at);
        let rule =
            fitting.find_map(|rule| rule.applies(&names).then(|| (rule.number, rule.fault.effect.clone())));
        rules.rules.retain(|rule| !rule.spent());
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(seed: u64, fault: Fault, requests: usize) -> Vec<bool> {
        let faults = Faults::new(seed);
        faults.add(fault);
        let subject = Subject { at: Where::Send, device: &|| vec!["bob".to_owned()] };
        (0..requests).map(|_| faults.due(&subject).is_some()).collect()
    }

    #[test]
    fn a_share_hits_about_so_many_and_the_same_ones_for_the_same_seed() {
        let fault = Fault::always(Effect::Hang).share(0.3);
        let first = hits(7, fault.clone(), 1000);
        let hit = first.iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&hit), "{hit} of 1000");
        assert_eq!(hits(7, fault.clone(), 1000), first);
        assert_ne!(hits(8, fault, 1000), first);
    }

    #[test]
    fn the_next_n_after_k_go_wrong_and_no_others() {
        let fault = Fault::next(2, Effect::Hang).skip(3);
        assert_eq!(hits(0, fault, 7), [false, false, false, true, true, false, false]);
    }

    #[test]
    fn a_rule_for_a_device_leaves_others_alone_and_is_not_used_up_by_them() {
        assert_eq!(hits(0, Fault::next(1, Effect::Hang).device("ann"), 2), [false, false]);
        assert_eq!(hits(0, Fault::next(1, Effect::Hang).device("bob"), 2), [true, false]);
    }

    #[test]
    fn the_oldest_rule_that_is_due_applies_alone() {
        let faults = Faults::new(0);
        let (first, second) =
            (faults.add(Fault::next(1, Effect::Hang)), faults.add(Fault::next(1, Effect::Close)));
        let subject = Subject { at: Where::Send, device: &Vec::new };
        let due: Vec<_> = (0..3).map(|_| faults.due(&subject)).collect();
        assert_eq!(due, [Some((first, Effect::Hang)), Some((second, Effect::Close)), None]);
    }

    #[test]
    fn shares_outside_0_to_1_are_refused() {
        for share in ["-0.1", "1.1", "1e9"] {
            let rule = format!(r#"{{"share": {share}, "effect": "hang"}}"#);
            assert!(serde_json::from_str::<Fault>(&rule).is_err(), "{share}");
        }
        assert!(serde_json::from_str::<Fault>(r#"{"share": 0.5, "effect": "hang"}"#).is_ok());
    }

    #[test]
    fn retry_after_is_seconds_a_date_or_anything_else() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747);
        let value = |json: &str| serde_json::from_str::<RetryAfter>(json).unwrap().value(at);
        assert_eq!(value("30"), "30");
        assert_eq!(value(r#"{"date_in": 30}"#), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(value(r#""soon""#), "soon");
    }
}
