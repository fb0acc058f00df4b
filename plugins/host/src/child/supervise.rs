//! Looks after a child: hears what it says, sees that it is not stuck, starts it again when it dies, and leaves it alone for
//! a while when it dies again and again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pushgate::TransportError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::frame::{Ask, Down, Sent, Up};
use super::link::{Heard, Link};
use super::outside::{Desk, Reply};
use super::start::{Process, Started};
use crate::asked::Asked;
use crate::bounds::{MAX_REQUEST_BYTES, bounded, cost};
use crate::error::LoadError;
use crate::telemetry::{CUT, Death, Level};

/// How often a child is asked whether it is there.
const ASK: Duration = Duration::from_secs(1);
/// How long it may leave that unanswered.
const STUCK: Duration = Duration::from_secs(5);
/// How long it may take to close its channel.
const CLOSE: Duration = Duration::from_secs(5);
/// The wait after a first death; each death in a row doubles it.
const FIRST: Duration = Duration::from_millis(50);
/// The longest of these waits.
const LONGEST: Duration = Duration::from_secs(10);
/// After so many deaths in a row, without one answer between them, the breaker opens …
const BREAKER: u32 = 5;
/// … for so long.
const OPEN: Duration = Duration::from_secs(60);

/// A child at work.
pub(crate) struct Running {
    process: Process,
    link: Arc<Link>,
    heard: Heard,
}

/// How a child ended.
struct End {
    why: String,
    /// Whether it had answered anything: then it is not the same death again and again.
    answered: bool,
}

/// Keeps a child running until `closing`.
pub(crate) async fn supervise(desk: Arc<Desk>, first: Running, closing: CancellationToken) {
    let mut next: Result<Running, LoadError> = Ok(first);
    let mut row = 0;
    loop {
        let end = match next {
            Ok(running) => desk.look_after(running, &closing).await,
            Err(error) => End { why: error.to_string(), answered: false },
        };
        if closing.is_cancelled() {
            desk.is_down("the channel is closed", Duration::ZERO);
            return;
        }
        row = if end.answered { 1 } else { row + 1 };
        let wait = pause(row);
        desk.is_down(&end.why, wait);
        let death = Death { why: &end.why, row, wait, given_up: row >= BREAKER };
        desk.telemetry.died(&desk.description.kind, &desk.name, &death);
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        next = Arc::clone(&desk).again().await;
    }
}

/// How long a child is left alone after so many deaths in a row.
fn pause(row: u32) -> Duration {
    if row >= BREAKER {
        OPEN
    } else {
        FIRST.saturating_mul(2u32.saturating_pow(row.saturating_sub(1))).min(LONGEST)
    }
}

impl Desk {
    /// Takes a started child into service.
    pub(crate) fn takes_up(&self, started: Started) -> Result<Running, LoadError> {
        let Started { process, frames, renders, .. } = started;
        let (link, heard) = Link::new(frames, renders)
            .map_err(|error| LoadError::Child { path: self.starter.path.clone(), why: error.to_string() })?;
        let link = Arc::new(link);
        self.is_up(Arc::clone(&link));
        self.telemetry.rose(&self.description.kind, &self.name);
        Ok(Running { process, link, heard })
    }

    async fn again(self: Arc<Self>) -> Result<Running, LoadError> {
        let desk = Arc::clone(&self);
        let started = tokio::task::spawn_blocking(move || desk.start()).await.unwrap_or_else(|error| {
            Err(LoadError::Child { path: self.starter.path.clone(), why: error.to_string() })
        })?;
        self.takes_up(started)
    }

    /// Hears a child out until it ends.
    async fn look_after(self: &Arc<Self>, running: Running, closing: &CancellationToken) -> End {
        let Running { mut process, link, mut heard } = running;
        let requests = Arc::new(Semaphore::new(MAX_REQUEST_BYTES));
        // Dropped at the end: what was asked for a dead child is not worth finishing.
        let life = CancellationToken::new();
        let _life = life.clone().drop_guard();
        let mut asking = interval(ASK);
        asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut lively, mut answered) = (Instant::now(), false);
        // Made once: each would take its place among those who wait anew with every frame.
        let (mut closed, mut stuck) = (pin!(closing.cancelled()), pin!(link.stuck.cancelled()));
        let why = loop {
            let (up, body) = tokio::select! {
                biased;
                () = &mut closed => {
                    link.say(&Down::Close);
                    // Whatever it still says, nobody waits for; it has until then to end by itself.
                    let _ = timeout(CLOSE, async { while heard.recv().await.is_some() {} }).await;
                    break "it was closed".to_owned();
                }
                () = &mut stuck => break "it did not take in a message or an answer in time".to_owned(),
                frame = heard.recv() => match frame {
                    Some(frame) => frame.into_parts(),
                    None => break "it closed its connection or said what cannot be understood".to_owned(),
                },
                _ = asking.tick() => {
                    if lively.elapsed() > STUCK {
                        break format!("it did not answer for {} s", STUCK.as_secs());
                    }
                    link.say(&Down::Ping);
                    continue;
                }
            };
            match up {
                Up::Pong => lively = Instant::now(),
                Up::Report { tag, outcomes } => {
                    answered = true;
                    self.report(tag, outcomes);
                }
                Up::Unreadable { tag } => self.answered(tag, Reply::Unreadable),
                Up::Probed { tag, probe } => {
                    let probe = probe.map(Into::into).map_err(|fault| bounded(fault).0);
                    self.answered(tag, Reply::Probe(probe));
                }
                Up::Request { id, ask } => {
                    self.fetch(&link, (id, ask, body), &requests, life.clone());
                }
                other => self.overhear(other),
            }
        };
        let why = tokio::task::spawn_blocking(move || process.end(&why)).await.unwrap_or_default();
        End { why, answered }
    }

    /// Hands on the outcomes of a delivery, each within its limits.
    fn report(&self, tag: u64, outcomes: Vec<Sent>) {
        let mut is_cut = false;
        let outcomes = outcomes.into_iter().map(|sent| {
            let (outcome, cut) = sent.bounded();
            is_cut |= cut;
            outcome
        });
        let outcomes = outcomes.collect();
        if is_cut {
            self.telemetry.log(&self.description.kind, &self.name, Level::Warn, CUT);
        }
        self.answered(tag, Reply::Outcomes(outcomes));
    }

    /// Sends a request for the child, and tells it what came.
    fn fetch(
        &self,
        link: &Arc<Link>,
        (id, ask, body): (u64, Ask, Bytes),
        requests: &Arc<Semaphore>,
        life: CancellationToken,
    ) {
        let asked = Asked {
            method: ask.method.as_bytes(),
            url: ask.url.into(),
            body,
            timeout: Duration::from_millis(ask.timeout_ms),
            max_answer: ask.max_answer,
        };
        let headers = ask.headers.iter().map(|(name, value)| (name.as_bytes(), Bytes::from(value.clone())));
        let Some(request) = asked.checked(headers) else {
            let why = "the request is not right".to_owned();
            return link.answer_at_once(id, TransportError::Refused { host: String::new(), why });
        };
        // A child waits for its turn by itself; one that does not is told to try again.
        let Ok(place) = Arc::clone(requests).try_acquire_many_owned(cost(&request)) else {
            let host = request.uri.host().unwrap_or_default().to_owned();
            let why = "too much is under way for this channel".to_owned();
            return link.answer_at_once(id, TransportError::Unreachable { host, why });
        };
        let (transport, link) = (Arc::clone(&self.transport), Arc::clone(link));
        tokio::spawn(async move {
            let answered = async {
                let result = transport.send(request).await;
                link.answer(id, result, place).await;
            };
            tokio::select! {
                () = life.cancelled() => {}
                () = answered => {}
            }
        });
    }
}
