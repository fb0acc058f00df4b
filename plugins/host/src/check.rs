//! Checks that a plugin keeps the promises of every channel. The push service is scripted, so that it can fail, stay silent
//! or send malformed responses, or it is a real one. `pushgate plugin check` prints the findings.

mod service;

use std::sync::Arc;
use std::time::Duration;

use pushgate::{
    Address, AppId, ChannelName, Delivery, DeliveryId, Kind, Message, NotificationId, Outcome, PushChannel,
    SystemClock, Target, TokenKind, Transport,
};
use serde_json::{Value, json};

use crate::error::LoadError;
use crate::loader::{Loader, OpenOptions, Plugin, Source};
use crate::telemetry::{DefaultTelemetry, Misuse};
use service::{Behaviour, MALFORMED_BODIES, ServiceTransport};

pub use service::{Entries, PushService, Script};

/// Input of a check.
pub struct Check {
    /// Plugin to check.
    pub source: Source,
    /// Valid configuration of a channel, including its secrets.
    pub config: Value,
    /// Push service that the plugin sends to.
    pub service: PushService,
}

/// Result of checking one promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Promise as a sentence.
    pub promise: &'static str,
    /// Verdict on the promise.
    pub verdict: Verdict,
}

/// Verdict on a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The plugin keeps the promise.
    Passed,
    /// The plugin keeps the promise, and the note is a recommendation.
    PassedWithNote(&'static str),
    /// The plugin breaks the promise. The text says how.
    Failed(String),
    /// The promise was not checked, because a real push service cannot be made to fail.
    NotChecked,
}

/// Result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// One finding for each promise.
    pub findings: Vec<Finding>,
    /// Distinct responses of a real push service to requests through the gateway's client, with their counts. Empty for a
    /// scripted service and for a plugin with its own client.
    pub answers: Vec<(String, usize)>,
}

/// `Err` says how a promise is broken.
type CheckResult = Result<(), String>;

const FAILURE_PROMISE: &str = "a failed request is never reported as accepted";
const MALFORMED_PROMISE: &str = "malformed responses get outcomes";
const TIMEOUT_PROMISE: &str = "a push service that does not respond gets a fault in time";
/// Number of concurrent sends to a scripted push service.
const CONCURRENT_SENDS: usize = 10_000;
/// Number of concurrent sends to a real push service, which may limit them.
const CONCURRENT_SENDS_TO_REAL: usize = 200;
/// Maximum number of attempts of one send to a real push service.
const MAX_ATTEMPTS: usize = 3;
/// Texts that often break encoders.
const UNUSUAL_TEXTS: [&str; 6] = [
    "\"quoted\" \\ back",
    "tab\tand\nline",
    "漢字かな한글",
    "👨‍👩‍👧‍👦 é ‏עברית‎",
    "</script>&amp;",
    "\u{1}\u{1f}\u{7f}",
];

/// Checks a plugin.
///
/// # Errors
/// [`LoadError`] if the plugin cannot be loaded or the channel cannot be opened.
pub async fn run_check(
    loader: Loader,
    telemetry: Arc<DefaultTelemetry>,
    check: Check,
) -> Result<CheckReport, LoadError> {
    let plugin = loader.load(&check.source)?;
    let service = Arc::new(ServiceTransport::new(check.service));
    let checker = Checker { plugin, config: check.config, service, telemetry };
    let channel = checker.open(checker.config.clone())?;
    let mut findings = FindingList::default();
    findings.0.push(Finding { promise: "the plugin describes itself", verdict: checker.check_description() });
    let mut add = |promise, result| findings.add(promise, result);
    add("an unknown configuration key is refused", checker.check_unknown_key());
    add("messages render as JSON, and longer texts have a larger size", checker.check_rendering(&*channel));
    add("texts of every script are sent", checker.check_texts(&*channel).await);
    add("every batch gets one outcome for each address, in order", checker.check_order(&*channel).await);
    add("a message far beyond the size limit gets outcomes", checker.check_long_message(&*channel).await);
    if checker.service.is_scripted() {
        add(FAILURE_PROMISE, checker.check_failures(&*channel).await);
        add(MALFORMED_PROMISE, checker.check_malformed_responses(&*channel).await);
        add(TIMEOUT_PROMISE, checker.check_timeout(&*channel).await);
        add(
            "ten thousand concurrent sends get their own outcomes",
            checker.check_concurrency(&channel, CONCURRENT_SENDS).await,
        );
    } else {
        add(
            "two hundred concurrent sends get their own outcomes",
            checker.check_concurrency(&channel, CONCURRENT_SENDS_TO_REAL).await,
        );
        for promise in [FAILURE_PROMISE, MALFORMED_PROMISE, TIMEOUT_PROMISE] {
            findings.add_not_checked(promise);
        }
    }
    let mut add = |promise, result| findings.add(promise, result);
    add("the channel can be closed while it sends, and opened again", checker.check_reopening(channel).await);
    add("the plugin contract is never violated", checker.check_misuses());
    Ok(CheckReport { findings: findings.0, answers: checker.service.answers() })
}

#[derive(Default)]
struct FindingList(Vec<Finding>);

impl FindingList {
    fn add(&mut self, promise: &'static str, result: CheckResult) {
        let verdict = result.map_or_else(Verdict::Failed, |()| Verdict::Passed);
        self.0.push(Finding { promise, verdict });
    }

    fn add_not_checked(&mut self, promise: &'static str) {
        self.0.push(Finding { promise, verdict: Verdict::NotChecked });
    }
}

/// Plugin under test and its environment.
struct Checker {
    plugin: Plugin,
    config: Value,
    service: Arc<ServiceTransport>,
    telemetry: Arc<DefaultTelemetry>,
}

impl Checker {
    fn open(&self, config: Value) -> Result<Arc<dyn PushChannel>, LoadError> {
        let name = ChannelName::new("check").expect("check is a valid name");
        self.plugin.open(OpenOptions {
            name,
            config,
            transport: Arc::clone(&self.service) as Arc<dyn Transport>,
        })
    }

    fn max_batch(&self) -> usize {
        self.plugin.description().capability.max_batch as usize
    }

    fn check_description(&self) -> Verdict {
        let described = self.plugin.description();
        if described.version.is_empty() || described.description.is_empty() {
            return Verdict::Failed("its version or description is empty".to_owned());
        }
        match described.config_schema.as_deref().map(serde_json::from_str::<Value>) {
            None => Verdict::PassedWithNote(
                "without config_schema `pushgate plugin inspect` cannot show an operator the configuration keys",
            ),
            Some(Err(error)) => Verdict::Failed(format!("config_schema is not JSON: {error}")),
            Some(Ok(_)) => Verdict::Passed,
        }
    }

    fn check_unknown_key(&self) -> CheckResult {
        let mut config = self.config.clone();
        config["no_such_key"] = json!(true);
        match self.open(config) {
            Err(LoadError::Refused(_)) => Ok(()),
            Err(other) => Err(other.to_string()),
            Ok(_) => Err("`open` accepts a configuration with the unknown key no_such_key, so a mistyped key \
                          goes unnoticed; refuse unknown keys, as `open` in pushgate_plugin.h and the plugin guide say"
                .to_owned()),
        }
    }

    fn check_rendering(&self, channel: &dyn PushChannel) -> CheckResult {
        let short = channel.render(&message("Ann", "hello"));
        let long = channel.render(&message("Ann", &"hello ".repeat(100)));
        if short.body.is_null() {
            return Err("the body is not JSON".to_owned());
        }
        if short.counted == 0 || long.counted < short.counted + 500 {
            return Err(format!(
                "a text of 5 bytes has the size {}, one of 600 bytes the size {}",
                short.counted, long.counted
            ));
        }
        Ok(())
    }

    async fn check_texts(&self, channel: &dyn PushChannel) -> CheckResult {
        for text in UNUSUAL_TEXTS {
            let sent = channel.send(&delivery(message(text, text), self.service.live_tokens(1))).await;
            if channel.render(&message(text, text)).body.is_null() {
                return Err(format!("the rendered body for {text:?} is not JSON"));
            }
            check_outcomes(&sent.into_outcomes(), 1, |outcome| outcome.fault().is_none())
                .map_err(|why| format!("{text:?}: {why}"))?;
        }
        Ok(())
    }

    async fn check_order(&self, channel: &dyn PushChannel) -> CheckResult {
        let max_batch = self.max_batch();
        for size in
            [1, 2, 3, max_batch / 2, max_batch].into_iter().filter(|size| (1..=max_batch).contains(size))
        {
            let sent = channel
                .send(&delivery(message("Ann", "hello"), self.service.live_tokens(size)))
                .await
                .into_outcomes();
            check_outcomes(&sent, size, |outcome| outcome.fault().is_none())?;
            let Some(mixed) = self.service.every_third_dead(size) else { continue };
            let outcomes = channel.send(&delivery(message("Ann", "hello"), mixed)).await.into_outcomes();
            for (i, outcome) in outcomes.iter().enumerate() {
                if outcome.fault().is_some() != (i % 3 == 0) {
                    return Err(format!("address {i} of {size} got {}", outcome.code()));
                }
            }
        }
        Ok(())
    }

    async fn check_failures(&self, channel: &dyn PushChannel) -> CheckResult {
        for behaviour in
            [Behaviour::Unreachable, Behaviour::Broken, Behaviour::Status(500), Behaviour::Status(503)]
        {
            self.service.set_behaviour(behaviour);
            let sent = channel
                .send(&delivery(message("Ann", "hello"), self.service.live_tokens(1)))
                .await
                .into_outcomes();
            self.service.set_behaviour(Behaviour::Normal);
            check_outcomes(&sent, 1, |outcome| outcome.fault().is_some())
                .map_err(|why| format!("{behaviour:?}: {why}"))?;
        }
        Ok(())
    }

    async fn check_malformed_responses(&self, channel: &dyn PushChannel) -> CheckResult {
        for (index, status) in
            (0..MALFORMED_BODIES.len()).flat_map(|index| [200, 400, 429].map(|status| (index, status)))
        {
            self.service.set_behaviour(Behaviour::Malformed(status, index));
            let sent = channel
                .send(&delivery(message("Ann", "hello"), self.service.live_tokens(1)))
                .await
                .into_outcomes();
            self.service.set_behaviour(Behaviour::Normal);
            check_outcomes(&sent, 1, |outcome| status == 200 || outcome.fault().is_some())
                .map_err(|why| format!("{status} {:?}: {why}", MALFORMED_BODIES[index]))?;
        }
        Ok(())
    }

    async fn check_long_message(&self, channel: &dyn PushChannel) -> CheckResult {
        let long = "long ".repeat(channel.info().capability.max_bytes.min(1 << 20));
        let sent =
            channel.send(&delivery(message("Ann", &long), self.service.live_tokens(1))).await.into_outcomes();
        check_outcomes(&sent, 1, |_| true)
    }

    async fn check_timeout(&self, channel: &dyn PushChannel) -> CheckResult {
        let limit = channel.info().timeout + Duration::from_secs(2);
        self.service.set_behaviour(Behaviour::Silent);
        let sent = tokio::time::timeout(
            limit,
            channel.send(&delivery(message("Ann", "hello"), self.service.live_tokens(1))),
        )
        .await;
        self.service.set_behaviour(Behaviour::Normal);
        match sent {
            Ok(report) => check_outcomes(report.outcomes(), 1, |outcome| outcome.fault().is_some()),
            Err(_) => Err(format!("send has not returned after {limit:?}")),
        }
    }

    async fn check_concurrency(&self, channel: &Arc<dyn PushChannel>, count: usize) -> CheckResult {
        let max_batch = self.max_batch().min(3);
        let max_attempts = if self.service.is_scripted() { 1 } else { MAX_ATTEMPTS };
        let sends: Vec<_> = (0..count)
            .map(|i| {
                let channel = Arc::clone(channel);
                let size = i % max_batch + 1;
                let tokens = self.service.live_tokens(size);
                tokio::spawn(async move { send_with_retries(&*channel, tokens, max_attempts).await })
            })
            .collect();
        for send in sends {
            send.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    async fn check_reopening(&self, channel: Arc<dyn PushChannel>) -> CheckResult {
        self.service.set_behaviour(Behaviour::Silent);
        let requests_before = self.service.request_count();
        let delivery_under_test = delivery(message("Ann", "hello"), self.service.live_tokens(1));
        {
            let mut sending = channel.send(&delivery_under_test);
            let mut requests = self.service.subscribe();
            tokio::select! {
                biased;
                // The plugin sends no request. Its outcomes are checked elsewhere.
                _ = &mut sending => {}
                _ = requests.wait_for(|count| *count > requests_before), if self.service.is_scripted() => {}
                // Requests of the plugin's own client cannot be observed, so one poll has to suffice.
                () = std::future::ready(()), if !self.service.is_scripted() => {}
            }
        }
        drop(channel);
        self.service.set_behaviour(Behaviour::Normal);
        let channel = self.open(self.config.clone()).map_err(|error| error.to_string())?;
        let sent = channel.send(&delivery(message("Ann", "hello"), self.service.live_tokens(1))).await;
        check_outcomes(sent.outcomes(), 1, |outcome| outcome.fault().is_none())
    }

    fn check_misuses(&self) -> CheckResult {
        // A busy machine delays single calls. A plugin that blocks delays at least one in ten.
        let tolerated = |misuse| if misuse == Misuse::Blocked { CONCURRENT_SENDS as u64 / 10 } else { 0 };
        let violations =
            Misuse::ALL.into_iter().filter(|misuse| self.telemetry.misuses(*misuse) > tolerated(*misuse));
        let violations: Vec<_> = violations
            .map(|misuse| format!("{} {}", self.telemetry.misuses(misuse), misuse.as_str()))
            .collect();
        if violations.is_empty() { Ok(()) } else { Err(violations.join(", ")) }
    }
}

/// Sends a delivery and repeats it after transient faults, as the gateway does: a real push service may close a connection.
async fn send_with_retries(
    channel: &dyn PushChannel,
    tokens: Vec<String>,
    max_attempts: usize,
) -> CheckResult {
    let delivery = delivery(message("Ann", "hello"), tokens);
    let mut result = Ok(());
    for _ in 0..max_attempts {
        let sent = channel.send(&delivery).await;
        result = check_outcomes(sent.outcomes(), delivery.targets.len(), |outcome| outcome.fault().is_none());
        let transient = [Kind::Unreachable, Kind::VendorDown, Kind::ChannelDown, Kind::Timeout];
        let failed = |outcome: &Outcome| outcome.fault().is_some_and(|fault| transient.contains(&fault.kind));
        if !sent.outcomes().iter().any(failed) {
            break;
        }
    }
    result
}

/// Checks the number of outcomes and each outcome.
fn check_outcomes(outcomes: &[Outcome], count: usize, is_expected: impl Fn(&Outcome) -> bool) -> CheckResult {
    if outcomes.len() != count {
        return Err(format!("{} outcomes for {count} addresses", outcomes.len()));
    }
    match outcomes.iter().find(|outcome| !is_expected(outcome)) {
        None => Ok(()),
        Some(Outcome::Failed(fault)) => Err(format!("the outcome is {fault}")),
        Some(other) => Err(format!("the outcome is {}", other.code())),
    }
}

fn message(title: &str, content: &str) -> Message {
    let app = AppId::new("check").expect("check is a valid name");
    Message {
        title: title.into(),
        content: content.into(),
        payload: Some("{\"check\":true}".into()),
        ttl: Duration::from_secs(3600),
        ..Message::new(NotificationId::new(), app, pushgate::Clock::now(&SystemClock))
    }
}

fn delivery(message: Message, tokens: Vec<String>) -> Delivery {
    let channel = ChannelName::new("check").expect("check is a valid name");
    let target = |(index, token): (u32, String)| {
        let address = Address { channel: channel.clone(), kind: TokenKind::Token, token: token.into() };
        Target::bare(index, address)
    };
    let targets = (0..).zip(tokens).map(target).collect();
    Delivery {
        id: DeliveryId::new(),
        channel: channel.clone(),
        message: Arc::new(message),
        targets,
        attempt: 1,
    }
}
