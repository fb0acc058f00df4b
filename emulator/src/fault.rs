//! Fault rules: which requests fail, and how.
//! Every rule has its own random generator, seeded from the emulator's seed. A test with a share therefore gets the
//! same faulty requests each time.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// Kind of endpoint that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointKind {
    /// Endpoint for messages.
    #[default]
    Send,
    /// Token endpoint.
    Token,
    /// Management endpoints of the service, such as the broadcast channels of APNs.
    Manage,
}

/// Rule that selects requests and an effect. Of several due rules, only the oldest applies.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Kind of endpoint.
    #[serde(default)]
    pub at: EndpointKind,
    /// Number of requests that fail. `None` means all of them until the rule is removed.
    #[serde(default)]
    pub next: Option<u32>,
    /// Share of the matching requests that fail.
    #[serde(default)]
    pub share: Share,
    /// Number of matching requests that succeed first.
    #[serde(default)]
    pub skip: u32,
    /// Name or token of the device whose requests fail. `None` means every device.
    #[serde(default)]
    pub device: Option<String>,
    /// Effect on the request.
    pub effect: Effect,
}

impl Fault {
    /// Returns a rule for the next `n` pushes.
    #[must_use]
    pub const fn next(n: u32, effect: Effect) -> Self {
        Self { at: EndpointKind::Send, next: Some(n), share: Share(1.0), skip: 0, device: None, effect }
    }

    /// Returns a rule for every push until the rule is removed.
    #[must_use]
    pub fn always(effect: Effect) -> Self {
        Self { next: None, ..Self::next(0, effect) }
    }

    /// Limits the rule to a share of the requests. The share is clamped to 0..=1.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self { share: Share(share.clamp(0.0, 1.0)), ..self }
    }

    /// Sets the kind of endpoint.
    #[must_use]
    pub fn at(self, at: EndpointKind) -> Self {
        Self { at, ..self }
    }

    /// Sets the number of matching requests that succeed first.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Limits the rule to the device with this name or token.
    #[must_use]
    pub fn device(self, device: &str) -> Self {
        Self { device: Some(device.to_owned()), ..self }
    }
}

/// Share of requests, from 0 (none) to 1 (all).
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
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err("a share must be between 0 and 1") }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// Effect of a fault on a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Error of the push service in its real format. The push is not accepted.
    Error {
        /// HTTP status.
        status: u16,
        /// Error code of the service, such as `UNAVAILABLE` of FCM or `Shutdown` of APNs. `None` means the usual one
        /// for the status.
        #[serde(default)]
        code: Option<String>,
        /// Value of the Retry-After header.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// Arbitrary response, for hostile servers. The push is not accepted.
    Raw {
        /// HTTP status.
        status: u16,
        /// Response body.
        body: String,
    },
    /// Redirect. The push is not accepted.
    Redirect {
        /// HTTP status.
        status: u16,
        /// Value of the Location header.
        location: String,
    },
    /// The push is accepted, and the response is late.
    Delay {
        /// Delay in milliseconds.
        ms: u64,
    },
    /// No response. The push is not accepted.
    Hang,
    /// No response, although the push is accepted and arrives.
    LoseAnswer,
    /// Reset of the stream (HTTP/2) or end of the connection (HTTP/1.1). The push is not accepted.
    Reset {
        /// Error code of RFC 9113 §7, such as 2 for an internal error or 7 for a refused stream.
        #[serde(default = "internal_error")]
        code: u32,
    },
    /// End of the connection without GOAWAY. The push is not accepted.
    Close,
    /// GOAWAY on the connection.
    Goaway(Goaway),
    /// New limit of concurrent streams for all open and future connections. The push is accepted.
    StreamLimit(u32),
    /// The bearer or provider token counts as expired. The push is not accepted.
    ExpiredBearer,
}

const fn internal_error() -> u32 {
    2
}

impl Effect {
    /// Returns a reset with the error code of an internal error.
    #[must_use]
    pub const fn reset() -> Self {
        Self::Reset { code: internal_error() }
    }

    /// Returns an error with this code and without Retry-After.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: Some(code.to_owned()), retry_after: None }
    }

    /// Returns the name of the effect in the control API.
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

/// GOAWAY frame (RFC 9113 §6.8) and the end of its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Goaway {
    /// Last stream id of the frame.
    pub last: LastStream,
    /// Error code of RFC 9113 §7. 0 means no error.
    pub code: u32,
    /// Debug data. APNs sends a JSON reason.
    pub debug: String,
    /// Treatment of the streams that were processed.
    pub then: AfterGoaway,
}

impl Default for Goaway {
    fn default() -> Self {
        Self { last: LastStream::This, code: 0, debug: String::new(), then: AfterGoaway::Drain }
    }
}

/// Last stream id of a GOAWAY. It is never below a stream that was processed, because clients would repeat that
/// request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastStream {
    /// Stream of this request, which gets its response.
    This,
    /// Stream before this request. The request is not processed.
    Before,
    /// Highest possible id: no request is refused, but the client should open no new stream.
    Highest,
}

/// Treatment of open streams after a GOAWAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterGoaway {
    /// Open streams get their responses, then the connection closes.
    Drain,
    /// The connection closes at once, and open streams get no response.
    Abrupt,
}

/// Value of a Retry-After header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// Delay in seconds.
    Seconds(u32),
    /// HTTP date.
    Date {
        /// Seconds from now to the date.
        date_in: u32,
    },
    /// Arbitrary text, for hostile servers.
    Text(String),
}

impl RetryAfter {
    /// Returns the header value at the given time.
    #[must_use]
    pub fn value(&self, now: SystemTime) -> String {
        match self {
            Self::Seconds(seconds) => seconds.to_string(),
            Self::Date { date_in } => http_date(now + Duration::from_secs(u64::from(*date_in))),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Returns the IMF-fixdate of RFC 9110 §5.6.7.
fn http_date(at: SystemTime) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    // Formatting with a constant description into memory cannot fail.
    time::OffsetDateTime::from(at).format(&format).unwrap_or_default()
}

/// Properties of a request that rules match.
pub(crate) struct FaultTarget<'a> {
    pub(crate) endpoint: EndpointKind,
    /// Returns name and token of the device. Called only if a rule names a device, because the lookup is expensive.
    pub(crate) device_names: &'a dyn Fn() -> Vec<String>,
}

/// Fault rules of one push service.
pub(crate) struct FaultRules {
    seed: u64,
    list: Mutex<RuleList>,
}

#[derive(Default)]
struct RuleList {
    last_number: u64,
    rules: Vec<Rule>,
}

struct Rule {
    number: u64,
    fault: Fault,
    random: StdRng,
}

impl Rule {
    /// Returns `true` if the rule applies to this request. Counts the request as skipped or used.
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
        if self.fault.share.0 < 1.0 && self.random.random::<f64>() >= self.fault.share.0 {
            return false;
        }
        self.fault.next = self.fault.next.map(|remaining| remaining - 1);
        true
    }

    fn is_used_up(&self) -> bool {
        self.fault.next == Some(0)
    }
}

impl FaultRules {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, list: Mutex::default() }
    }

    /// Adds a rule and returns its number. A rule for 0 requests is dropped at once.
    pub(crate) fn add(&self, fault: Fault) -> u64 {
        let mut list = self.list.lock();
        list.last_number += 1;
        let number = list.last_number;
        // Each rule has a generator of its own, so that rules do not influence each other.
        let random = StdRng::seed_from_u64(self.seed.wrapping_add(number));
        let rule = Rule { number, fault, random };
        if !rule.is_used_up() {
            list.rules.push(rule);
        }
        number
    }

    /// Returns the rules that are not used up, with their numbers.
    pub(crate) fn all(&self) -> Vec<(u64, Fault)> {
        self.list.lock().rules.iter().map(|rule| (rule.number, rule.fault.clone())).collect()
    }

    /// Removes a rule. Returns `true` if it existed.
    pub(crate) fn remove(&self, number: u64) -> bool {
        let mut list = self.list.lock();
        let old_length = list.rules.len();
        list.rules.retain(|rule| rule.number != number);
        list.rules.len() < old_length
    }

    /// Removes all rules.
    pub(crate) fn clear(&self) {
        self.list.lock().rules.clear();
    }

    /// Returns number and effect of the rule that is due for a request, and counts the rule as used. `None` if no rule
    /// is due.
    pub(crate) fn take_due(&self, target: &FaultTarget<'_>) -> Option<(u64, Effect)> {
        let mut list = self.list.lock();
        let mut candidates = list.rules.iter_mut().filter(|rule| rule.fault.at == target.endpoint);
        let needs_names = candidates.any(|rule| rule.fault.device.is_some());
        let names = needs_names.then(|| (target.device_names)());
        let mut candidates = list.rules.iter_mut().filter(|rule| rule.fault.at == target.endpoint);
        let due = candidates
            .find_map(|rule| rule.applies(&names).then(|| (rule.number, rule.fault.effect.clone())));
        list.rules.retain(|rule| !rule.is_used_up());
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(seed: u64, fault: Fault, requests: usize) -> Vec<bool> {
        let faults = FaultRules::new(seed);
        faults.add(fault);
        let target = FaultTarget { endpoint: EndpointKind::Send, device_names: &|| vec!["bob".to_owned()] };
        (0..requests).map(|_| faults.take_due(&target).is_some()).collect()
    }

    #[test]
    fn a_share_hits_about_that_many_requests_and_the_same_for_the_same_seed() {
        let fault = Fault::always(Effect::Hang).share(0.3);
        let first = hits(7, fault.clone(), 1000);
        let hit = first.iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&hit), "{hit} of 1000");
        assert_eq!(hits(7, fault.clone(), 1000), first);
        assert_ne!(hits(8, fault, 1000), first);
    }

    #[test]
    fn exactly_the_next_n_requests_after_k_others_fail() {
        let fault = Fault::next(2, Effect::Hang).skip(3);
        assert_eq!(hits(0, fault, 7), [false, false, false, true, true, false, false]);
    }

    #[test]
    fn a_rule_for_a_device_ignores_requests_for_others_and_is_not_used_up_by_them() {
        assert_eq!(hits(0, Fault::next(1, Effect::Hang).device("ann"), 2), [false, false]);
        assert_eq!(hits(0, Fault::next(1, Effect::Hang).device("bob"), 2), [true, false]);
    }

    #[test]
    fn only_the_oldest_due_rule_applies() {
        let faults = FaultRules::new(0);
        let (first, second) =
            (faults.add(Fault::next(1, Effect::Hang)), faults.add(Fault::next(1, Effect::Close)));
        let target = FaultTarget { endpoint: EndpointKind::Send, device_names: &Vec::new };
        let due: Vec<_> = (0..3).map(|_| faults.take_due(&target)).collect();
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
    fn retry_after_is_seconds_a_date_or_any_text() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_747);
        let value = |json: &str| serde_json::from_str::<RetryAfter>(json).unwrap().value(at);
        assert_eq!(value("30"), "30");
        assert_eq!(value(r#"{"date_in": 30}"#), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(value(r#""soon""#), "soon");
    }
}
