//! Holds a plugin to what every channel promises, without its vendor: a scripted one answers, is silent, fails or talks
//! nonsense. `pushgate plugin check` prints what comes of it. Reaches nobody by itself; a plugin with a client of its own
//! reaches whom it reaches.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use pushgate::{
    Address, AppId, ChannelName, Delivery, DeliveryId, Kind, Message, NotificationId, Outcome, PushChannel,
    Request, Response, SystemClock, Target, TokenKind, Transport, TransportError,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::error::LoadError;
use crate::loader::{Loader, Opening, Plugin, Source};
use crate::telemetry::{Misuse, Told};

/// What a plugin is held to, and with what.
pub struct Examination {
    /// The plugin.
    pub source: Source,
    /// A configuration that works, secrets and all.
    pub config: Value,
    /// Who answers it.
    pub counterpart: Counterpart,
}

/// Who answers what a plugin asks.
pub enum Counterpart {
    /// A vendor that is none: the gateway's client never connects, and answers as it is told.
    Scripted {
        /// What the vendor answers when it takes a message.
        accepted: (u16, String),
        /// What it answers for a token that is dead, where the order of outcomes is to be looked at too.
        dead: Option<(u16, String)>,
    },
    /// Whoever the plugin reaches with a client of its own. It cannot be told to be silent or to talk nonsense.
    Reached {
        /// A token that it takes, as often as it is sent to.
        live: String,
        /// One that it calls dead.
        gone: Option<String>,
    },
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
    /// It is broken, and how.
    Broken(String),
    /// Nothing: a plugin with a client of its own does not see the vendor that would be needed for it.
    NotSeen,
}

type Kept = Result<(), String>;

/// Sends at once in the check that looks for what only shows in a crowd.
const CROWD: usize = 10_000;
/// The same for a plugin that reaches somebody, who may count what he is sent.
const FEW: usize = 200;
/// How often one of these is sent at the most.
const TRIES: usize = 3;
/// Answers no vendor should give, and some do.
const NONSENSE: [&str; 7] = ["", "{", "[]", "null", "<html>502</html>", "\u{0}\u{1}", "{\"ok\":"];
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
) -> Result<Vec<Finding>, LoadError> {
    let plugin = loader.load(&examination.source)?;
    let vendor = Arc::new(Vendor::new(examination.counterpart));
    let bench = Bench { plugin, config: examination.config, vendor, told };
    let channel = bench.open(bench.config.clone())?;
    let mut findings = Findings::default();
    let mut find = |promise, kept| findings.kept(promise, kept);
    find("it says what it is", bench.says_what_it_is());
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
    Ok(findings.0)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
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

    fn says_what_it_is(&self) -> Kept {
        let described = self.plugin.description();
        if described.version.is_empty() || described.description.is_empty() {
            return Err("version and description are what an operator knows it by".to_owned());
        }
        match described.config_schema.as_deref().map(serde_json::from_str::<Value>) {
            None => Err("there is no config_schema: nobody knows what to configure".to_owned()),
            Some(Err(error)) => Err(format!("config_schema is not JSON: {error}")),
            Some(Ok(_)) => Ok(()),
        }
    }

    fn refuses_a_slip(&self) -> Kept {
        let mut config = self.config.clone();
        config["no_such_key"] = json!(true);
        match self.open(config) {
            Err(LoadError::Refused(_)) => Ok(()),
            Err(other) => Err(other.to_string()),
            Ok(_) => Err("it opens with the key no_such_key: a mistyped key would not be told".to_owned()),
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
        let before = *self.vendor.asked.borrow();
        let busy = delivery(message("Ann", "hello"), self.vendor.live(1));
        {
            let mut sending = channel.send(&busy);
            let mut asked = self.vendor.asked.subscribe();
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
        let the_way = [Kind::Unreachable, Kind::VendorDown, Kind::Timeout];
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

/// How the vendor is.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Well,
    Silent,
    Unreachable,
    Broken,
    Status(u16),
    Nonsense(u16, usize),
}

/// Who is sent to, and how the gateway's client answers.
struct Vendor {
    counterpart: Counterpart,
    mood: Mutex<Mood>,
    /// How many requests have come.
    asked: watch::Sender<usize>,
}

impl Vendor {
    fn new(counterpart: Counterpart) -> Self {
        Self { counterpart, mood: Mutex::new(Mood::Well), asked: watch::Sender::new(0) }
    }

    const fn is_scripted(&self) -> bool {
        matches!(self.counterpart, Counterpart::Scripted { .. })
    }

    /// So many tokens it takes.
    fn live(&self, count: usize) -> Vec<String> {
        match &self.counterpart {
            Counterpart::Scripted { .. } => (0..count).map(|i| format!("live-{i}")).collect(),
            Counterpart::Reached { live, .. } => vec![live.clone(); count],
        }
    }

    /// The same, the first and every third after it dead; none where it is not known what is said of the dead.
    fn every_third_dead(&self, count: usize) -> Option<Vec<String>> {
        let dead = |i: usize| match &self.counterpart {
            Counterpart::Scripted { dead, .. } => dead.as_ref().map(|_| format!("dead-{i}")),
            Counterpart::Reached { gone, .. } => gone.clone(),
        };
        let tokens = self.live(count).into_iter().enumerate();
        tokens.map(|(i, live)| if i % 3 == 0 { dead(i) } else { Some(live) }).collect()
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// A request that names a dead token anywhere is for a dead token.
    fn well(&self, request: &Request) -> Response {
        // Who has a client of his own does not ask here; if he does, nothing he hears means anything.
        let Counterpart::Scripted { accepted, dead } = &self.counterpart else { return answer(200, "") };
        let names_dead = |bytes: &[u8]| bytes.windows(5).any(|five| five == b"dead-");
        let is_dead = names_dead(&request.body) || names_dead(request.uri.to_string().as_bytes());
        let (status, body) = dead.as_ref().filter(|_| is_dead).unwrap_or(accepted);
        answer(*status, body)
    }
}

fn answer(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

#[async_trait]
impl Transport for Vendor {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        self.asked.send_modify(|asked| *asked += 1);
        let host = request.uri.host().unwrap_or_default().to_owned();
        let why = || "the check says so".to_owned();
        let mood = *self.mood.lock();
        match mood {
            Mood::Well => Ok(self.well(&request)),
            Mood::Silent => {
                tokio::time::sleep(request.timeout).await;
                Err(TransportError::Timeout { host, after: request.timeout })
            }
            Mood::Unreachable => Err(TransportError::Unreachable { host, why: why() }),
            Mood::Broken => Err(TransportError::Broken { host, why: why() }),
            Mood::Status(status) => Ok(answer(status, "")),
            Mood::Nonsense(status, place) => Ok(answer(status, NONSENSE[place])),
        }
    }
}
