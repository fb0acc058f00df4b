//! Holds a plugin to what every channel promises: with a scripted vendor that answers, is silent, fails or talks nonsense,
//! or with a real one that it reaches. `pushgate plugin check` prints the findings.

mod vendor;

use std::sync::Arc;
use std::time::Duration;

use pushgate::{
    Address, AppId, ChannelName, Delivery, DeliveryId, Kind, Message, NotificationId, Outcome, PushChannel,
    SystemClock, Target, TokenKind, Transport,
};
use serde_json::{Value, json};

use crate::error::LoadError;
use crate::loader::{Loader, Opening, Plugin, Source};
use crate::telemetry::{Misuse, Told};
use vendor::{Mood, NONSENSE, Vendor};

pub use vendor::{Counterpart, Entries, Script};

/// What a plugin is held to, and with what.
pub struct Examination {
    /// The plugin.
    pub source: Source,
    /// A configuration that works, secrets and all.
    pub config: Value,
    /// Who answers it.
    pub counterpart: Counterpart,
}

/// What one promise came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// What was seen of it.
    pub verdict: Verdict,
}

/// What was seen of a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept.
    Kept,
    /// It is kept, and something is worth knowing beside it.
    Noted(&'static str),
    /// It is broken, and how.
    Broken(String),
    /// Nothing: a real vendor cannot be told to do what would be needed for it.
    NotSeen,
}

/// Result of an examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// One for each promise.
    pub findings: Vec<Finding>,
    /// What a real vendor answered to requests through the gateway's client: each answer, and how often it came. Empty with
    /// a scripted vendor, and for a plugin with a client of its own.
    pub answers: Vec<(String, usize)>,
}

type Kept = Result<(), String>;

/// Sends at once in the check that looks for what only shows in a crowd.
const CROWD: usize = 10_000;
/// The same for a plugin that reaches somebody, who may count what he is sent.
const FEW: usize = 200;
/// How often one of these is sent at the most.
const TRIES: usize = 3;
/// Texts that have broken encoders before.
const TEXTS: [&str; 6] = [
    "\"quoted\" \\ back",
    "tab\tand\nline",
    "漢字かな한글",
    "👨‍👩‍👧‍👦 é ‏עברית‎",
    "</script>&amp;",
    "\u{1}\u{1f}\u{7f}",
];

/// Examines a plugin.
///
/// # Errors
/// When it cannot be loaded or opened: then there is nothing to examine.
pub async fn examine(
    loader: Loader,
    told: Arc<Told>,
    examination: Examination,
) -> Result<Findings, LoadError> {
    let plugin = loader.load(&examination.source)?;
    let vendor = Arc::new(Vendor::new(examination.counterpart));
    let bench = Bench { plugin, config: examination.config, vendor, told };
    let channel = bench.open(bench.config.clone())?;
    let mut findings = Seen::default();
    findings.0.push(Finding { promise: "it says what it is", verdict: bench.says_what_it_is() });
    let mut find = |promise, kept| findings.kept(promise, kept);
    find("a key it does not know is refused", bench.refuses_a_slip());
    find("what it renders is JSON, and longer texts count more", bench.renders(&*channel));
    find("texts of every script are sent", bench.sends_every_text(&*channel).await);
    find("every batch gets one outcome for each address, in order", bench.keeps_order(&*channel).await);
    find("a message far over the limit gets outcomes", bench.bears_length(&*channel).await);
    if bench.vendor.is_scripted() {
        find("no failure of the way is taken for a success", bench.fails(&*channel).await);
        find("no nonsense of a vendor breaks it", bench.bears_nonsense(&*channel).await);
        find("a silent vendor is answered for in time", bench.keeps_time(&*channel).await);
        find(
            "ten thousand sends at once are answered, each with its own",
            bench.crowd(&channel, CROWD).await,
        );
    } else {
        find("two hundred sends at once are answered, each with its own", bench.crowd(&channel, FEW).await);
        for promise in [
            "no failure of the way is taken for a success",
            "no nonsense of a vendor breaks it",
            "a silent vendor is answered for in time",
        ] {
            findings.not_seen(promise);
        }
    }
    let mut find = |promise, kept| findings.kept(promise, kept);
    find("it can be closed at work, and opened again", bench.closes(channel).await);
    find("it never broke the contract", bench.kept_the_contract());
    Ok(Findings { findings: findings.0, answers: bench.vendor.answers() })
}

#[derive(Default)]
struct Seen(Vec<Finding>);

impl Seen {
    fn kept(&mut self, promise: &'static str, kept: Kept) {
        let verdict = kept.map_or_else(Verdict::Broken, |()| Verdict::Kept);
        self.0.push(Finding { promise, verdict });
    }

    fn not_seen(&mut self, promise: &'static str) {
        self.0.push(Finding { promise, verdict: Verdict::NotSeen });
    }
}

struct Bench {
    plugin: Plugin,
    config: Value,
    vendor: Arc<Vendor>,
    told: Arc<Told>,
}

impl Bench {
    fn open(&self, config: Value) -> Result<Arc<dyn PushChannel>, LoadError> {
        let name = ChannelName::new("check").expect("five letters are a name");
        self.plugin.open(Opening { name, config, transport: Arc::clone(&self.vendor) as Arc<dyn Transport> })
    }

    fn batch(&self) -> usize {
        self.plugin.description().capability.max_batch as usize
    }

    fn says_what_it_is(&self) -> Verdict {
        let described = self.plugin.description();
        if described.version.is_empty() || described.description.is_empty() {
            return Verdict::Broken("version and description are what an operator knows it by".to_owned());
        }
        match described.config_schema.as_deref().map(serde_json::from_str::<Value>) {
            None => Verdict::Noted(
                "without config_schema `pushgate plugin inspect` cannot tell an operator what to configure",
            ),
            Some(Err(error)) => Verdict::Broken(format!("config_schema is not JSON: {error}")),
            Some(Ok(_)) => Verdict::Kept,
        }
    }

    fn refuses_a_slip(&self) -> Kept {
        let mut config = self.config.clone();
        config["no_such_key"] = json!(true);
        match self.open(config) {
            Err(LoadError::Refused(_)) => Ok(()),
            Err(other) => Err(other.to_string()),
            Ok(_) => Err("`open` takes a configuration with the unknown key no_such_key, so an operator's mistyped key \
                          goes unnoticed; refuse unknown keys, as `open` in pushgate_plugin.h and the plugin guide say"
                .to_owned()),
        }
    }

    fn renders(&self, channel: &dyn PushChannel) -> Kept {
        let short = channel.render(&message("Ann", "hello"));
        let long = channel.render(&message("Ann", &"hello ".repeat(100)));
        if short.body.is_null() {
            return Err("the body is not JSON".to_owned());
        }
        if short.counted == 0 || long.counted < short.counted + 500 {
            return Err(format!("5 bytes count {}, 600 count {}", short.counted, long.counted));
        }
        Ok(())
    }

    async fn sends_every_text(&self, channel: &dyn PushChannel) -> Kept {
        for text in TEXTS {
            let sent = channel.send(&delivery(message(text, text), self.vendor.live(1))).await;
            if channel.render(&message(text, text)).body.is_null() {
                return Err(format!("what is rendered for {text:?} is not JSON"));
            }
            expect(&sent.into_outcomes(), 1, |outcome| outcome.fault().is_none())
                .map_err(|why| format!("{text:?}: {why}"))?;
        }
        Ok(())
    }

    async fn keeps_order(&self, channel: &dyn PushChannel) -> Kept {
        let most = self.batch();
        for size in [1, 2, 3, most / 2, most].into_iter().filter(|size| (1..=most).contains(size)) {
            let sent = channel
                .send(&delivery(message("Ann", "hello"), self.vendor.live(size)))
                .await
                .into_outcomes();
            expect(&sent, size, |outcome| outcome.fault().is_none())?;
            let Some(mixed) = self.vendor.every_third_dead(size) else { continue };
            let sent = channel.send(&delivery(message("Ann", "hello"), mixed)).await.into_outcomes();
            for (i, outcome) in sent.iter().enumerate() {
                if outcome.fault().is_some() != (i % 3 == 0) {
                    return Err(format!("address {i} of {size} got {}", outcome.code()));
                }
            }
        }
        Ok(())
    }

    async fn fails(&self, channel: &dyn PushChannel) -> Kept {
        for mood in [Mood::Unreachable, Mood::Broken, Mood::Status(500), Mood::Status(503)] {
            self.vendor.be(mood);
            let sent =
                channel.send(&delivery(message("Ann", "hello"), self.vendor.live(1))).await.into_outcomes();
            self.vendor.be(Mood::Well);
            expect(&sent, 1, |outcome| outcome.fault().is_some())
                .map_err(|why| format!("{mood:?}: {why}"))?;
        }
        Ok(())
    }

    async fn bears_nonsense(&self, channel: &dyn PushChannel) -> Kept {
        for (place, status) in
            (0..NONSENSE.len()).flat_map(|place| [200, 400, 429].map(|status| (place, status)))
        {
            self.vendor.be(Mood::Nonsense(status, place));
            let sent =
                channel.send(&delivery(message("Ann", "hello"), self.vendor.live(1))).await.into_outcomes();
            self.vendor.be(Mood::Well);
            expect(&sent, 1, |outcome| status == 200 || outcome.fault().is_some())
                .map_err(|why| format!("{status} {:?}: {why}", NONSENSE[place]))?;
        }
        Ok(())
    }

    async fn bears_length(&self, channel: &dyn PushChannel) -> Kept {
        let long = "long ".repeat(channel.info().capability.max_bytes.min(1 << 20));
        let sent = channel.send(&delivery(message("Ann", &long), self.vendor.live(1))).await.into_outcomes();
        expect(&sent, 1, |_| true)
    }

    async fn keeps_time(&self, channel: &dyn PushChannel) -> Kept {
        let limit = channel.info().timeout + Duration::from_secs(2);
        self.vendor.be(Mood::Silent);
        let sent = tokio::time::timeout(
            limit,
            channel.send(&delivery(message("Ann", "hello"), self.vendor.live(1))),
        )
        .await;
        self.vendor.be(Mood::Well);
        match sent {
            Ok(report) => expect(report.outcomes(), 1, |outcome| outcome.fault().is_some()),
            Err(_) => Err(format!("there is no outcome after {limit:?}")),
        }
    }

    async fn crowd(&self, channel: &Arc<dyn PushChannel>, crowd: usize) -> Kept {
        let most = self.batch().min(3);
        let tries = if self.vendor.is_scripted() { 1 } else { TRIES };
        let sends: Vec<_> = (0..crowd)
            .map(|i| {
                let channel = Arc::clone(channel);
                let size = i % most + 1;
                let tokens = self.vendor.live(size);
                tokio::spawn(async move { one_of_many(&*channel, tokens, tries).await })
            })
            .collect();
        for send in sends {
            send.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    async fn closes(&self, channel: Arc<dyn PushChannel>) -> Kept {
        self.vendor.be(Mood::Silent);
        let before = self.vendor.requests();
        let busy = delivery(message("Ann", "hello"), self.vendor.live(1));
        {
            let mut sending = channel.send(&busy);
            let mut asked = self.vendor.subscribe();
            tokio::select! {
                biased;
                // It asked nothing of the vendor; that it gives outcomes nevertheless was looked at above.
                _ = &mut sending => {}
                _ = asked.wait_for(|asked| *asked > before), if self.vendor.is_scripted() => {}
                // With a client of its own it is at work without being seen, from the first poll on.
                () = std::future::ready(()), if !self.vendor.is_scripted() => {}
            }
        }
        drop(channel);
        self.vendor.be(Mood::Well);
        let channel = self.open(self.config.clone()).map_err(|error| error.to_string())?;
        let sent = channel.send(&delivery(message("Ann", "hello"), self.vendor.live(1))).await;
        expect(sent.outcomes(), 1, |outcome| outcome.fault().is_none())
    }

    fn kept_the_contract(&self) -> Kept {
        // A busy machine holds a call up now and then; a plugin that waits holds up one in ten at the least.
        let excused = |what| if what == Misuse::Blocked { CROWD as u64 / 10 } else { 0 };
        let broken = Misuse::ALL.into_iter().filter(|what| self.told.misuses(*what) > excused(*what));
        let broken: Vec<_> =
            broken.map(|what| format!("{} {}", self.told.misuses(what), what.as_str())).collect();
        if broken.is_empty() { Ok(()) } else { Err(broken.join(", ")) }
    }
}

/// Sends, and again where the way has failed, as the gateway does: who is really reached may break a connection.
async fn one_of_many(channel: &dyn PushChannel, tokens: Vec<String>, tries: usize) -> Kept {
    let delivery = delivery(message("Ann", "hello"), tokens);
    let mut kept = Ok(());
    for _ in 0..tries {
        let sent = channel.send(&delivery).await;
        kept = expect(sent.outcomes(), delivery.targets.len(), |outcome| outcome.fault().is_none());
        let the_way = [Kind::Unreachable, Kind::VendorDown, Kind::ChannelDown, Kind::Timeout];
        let failed = |outcome: &Outcome| outcome.fault().is_some_and(|fault| the_way.contains(&fault.kind));
        if !sent.outcomes().iter().any(failed) {
            break;
        }
    }
    kept
}

fn expect(outcomes: &[Outcome], count: usize, good: impl Fn(&Outcome) -> bool) -> Kept {
    if outcomes.len() != count {
        return Err(format!("{} outcomes for {count} addresses", outcomes.len()));
    }
    match outcomes.iter().find(|outcome| !good(outcome)) {
        None => Ok(()),
        Some(Outcome::Failed(fault)) => Err(format!("the outcome is {fault}")),
        Some(other) => Err(format!("the outcome is {}", other.code())),
    }
}

fn message(title: &str, content: &str) -> Message {
    let app = AppId::new("check").expect("five letters are a name");
    Message {
        title: title.into(),
        content: content.into(),
        payload: Some("{\"check\":true}".into()),
        ttl: Duration::from_secs(3600),
        ..Message::new(NotificationId::new(), app, pushgate::Clock::now(&SystemClock))
    }
}

fn delivery(message: Message, tokens: Vec<String>) -> Delivery {
    let channel = ChannelName::new("check").expect("five letters are a name");
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
