//! Supervision of a child process: handles its frames, detects that it is stuck, and restarts it with backoff when it dies.
//! After several deaths in a row a circuit breaker delays the restart.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pushgate::TransportError;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::channel::{ChildState, Reply};
use super::frame::{ToChild, ToParent, WireOutcome, WireRequest};
use super::link::{Incoming, Link};
use super::start::{Process, Started};
use crate::bounds::{Bounded, MAX_REQUEST_BYTES, bounded, cost};
use crate::error::LoadError;
use crate::http_request::RawRequest;
use crate::telemetry::{Death, Level, PAUSE_CUT};

/// Interval of pings to a child.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time without a reply to a ping. A child beyond it is killed.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time for closing the channel. A child beyond it is killed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay of the restart after the first death. Each further death in a row doubles it.
const MIN_RESTART_DELAY: Duration = Duration::from_millis(50);
/// Maximum of the doubled delay.
const MAX_RESTART_DELAY: Duration = Duration::from_secs(10);
/// Number of deaths in a row, without a completed delivery in between, that open the circuit breaker.
const BREAKER_DEATHS: u32 = 5;
/// Delay of the restart while the circuit breaker is open.
const BREAKER_DELAY: Duration = Duration::from_secs(60);

/// Child that serves a channel.
pub(crate) struct Running {
    process: Process,
    link: Arc<Link>,
    incoming: Incoming,
}

/// End of a child.
struct Exit {
    why: String,
    /// `true` if it completed a delivery. The count of deaths in a row then starts again.
    has_completed_delivery: bool,
}

/// Context of the HTTP requests of one child.
struct Requests {
    link: Arc<Link>,
    /// One permit for each byte of [`MAX_REQUEST_BYTES`].
    permits: Arc<Semaphore>,
    /// Cancelled when the child has ended.
    ended: CancellationToken,
}

/// Keeps a child running until `closing` is cancelled.
pub(crate) async fn supervise(state: Arc<ChildState>, first: Running, closing: CancellationToken) {
    let mut next: Result<Running, LoadError> = Ok(first);
    let mut deaths = 0;
    loop {
        let exit = match next {
            Ok(running) => state.run(running, &closing).await,
            Err(error) => Exit { why: error.to_string(), has_completed_delivery: false },
        };
        if closing.is_cancelled() {
            state.set_stopped("the channel is closed", Duration::ZERO);
            return;
        }
        deaths = if exit.has_completed_delivery { 1 } else { deaths + 1 };
        let delay = restart_delay(deaths);
        state.set_stopped(&exit.why, delay);
        let death = Death {
            why: &exit.why,
            consecutive: deaths,
            restart_delay: delay,
            is_breaker_open: deaths >= BREAKER_DEATHS,
        };
        state.telemetry.record_death(&state.description.kind, &state.name, &death);
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
        next = Arc::clone(&state).restart().await;
    }
}

/// Returns the delay of the restart after so many deaths in a row.
fn restart_delay(deaths: u32) -> Duration {
    if deaths >= BREAKER_DEATHS {
        BREAKER_DELAY
    } else {
        MIN_RESTART_DELAY.saturating_mul(2u32.saturating_pow(deaths.saturating_sub(1))).min(MAX_RESTART_DELAY)
    }
}

impl ChildState {
    /// Connects to a started child and lets calls through to it.
    pub(crate) fn activate(&self, started: Started) -> Result<Running, LoadError> {
        let Started { process, frames, renders, .. } = started;
        let (link, incoming) = Link::new(frames, renders)
            .map_err(|error| LoadError::Child { path: self.starter.path.clone(), why: error.to_string() })?;
        let link = Arc::new(link);
        self.set_running(Arc::clone(&link));
        self.telemetry.record_start(&self.description.kind, &self.name);
        Ok(Running { process, link, incoming })
    }

    async fn restart(self: Arc<Self>) -> Result<Running, LoadError> {
        let state = Arc::clone(&self);
        let started = tokio::task::spawn_blocking(move || state.start()).await.unwrap_or_else(|error| {
            Err(LoadError::Child { path: self.starter.path.clone(), why: error.to_string() })
        })?;
        self.activate(started)
    }

    /// Handles the frames of a child until it ends.
    async fn run(self: &Arc<Self>, running: Running, closing: &CancellationToken) -> Exit {
        let Running { mut process, link, mut incoming } = running;
        let ended = CancellationToken::new();
        // Cancels the requests of the child when it ends, because nobody needs their results.
        let _cancel_requests = ended.clone().drop_guard();
        let permits = Arc::new(Semaphore::new(MAX_REQUEST_BYTES));
        let requests = Requests { link: Arc::clone(&link), permits, ended };
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last_pong, mut has_completed_delivery) = (Instant::now(), false);
        // Created once: a new future for every frame would register with the token again.
        let (mut closed, mut stuck) = (pin!(closing.cancelled()), pin!(link.stuck.cancelled()));
        let why = loop {
            let (head, body) = tokio::select! {
                biased;
                () = &mut closed => {
                    link.send(&ToChild::Close);
                    // Discards further frames. The child has this time to end by itself.
                    let _ = timeout(CLOSE_TIMEOUT, async { while incoming.recv().await.is_some() {} }).await;
                    break "it was closed".to_owned();
                }
                () = &mut stuck => break "it did not render a message or read an HTTP result in time".to_owned(),
                frame = incoming.recv() => match frame {
                    Some(frame) => frame.into_parts(),
                    None => break "it closed its connection or sent an invalid frame".to_owned(),
                },
                _ = pings.tick() => {
                    if last_pong.elapsed() > PING_TIMEOUT {
                        break format!("it did not answer for {} s", PING_TIMEOUT.as_secs());
                    }
                    link.send(&ToChild::Ping);
                    continue;
                }
            };
            match head {
                ToParent::Pong => last_pong = Instant::now(),
                ToParent::Report { tag, outcomes } => {
                    has_completed_delivery = true;
                    self.report(tag, outcomes);
                }
                ToParent::Unreadable { tag } => self.complete(tag, Reply::Unreadable),
                ToParent::Probed { tag, probe } => {
                    let probe = probe.map(Into::into).map_err(|fault| bounded(fault).value);
                    self.complete(tag, Reply::Probe(probe));
                }
                ToParent::Request { id, request } => self.forward_request(&requests, id, request, body),
                other => self.report_telemetry(other),
            }
        };
        let why = tokio::task::spawn_blocking(move || process.kill(&why)).await.unwrap_or_default();
        Exit { why, has_completed_delivery }
    }

    /// Completes a delivery with its outcomes, each reduced to its limits.
    fn report(&self, tag: u64, outcomes: Vec<WireOutcome>) {
        let mut is_any_pause_cut = false;
        let outcomes = outcomes.into_iter().map(|outcome| {
            let Bounded { value, is_pause_cut } = outcome.bounded();
            is_any_pause_cut |= is_pause_cut;
            value
        });
        let outcomes = outcomes.collect();
        if is_any_pause_cut {
            self.telemetry.log(&self.description.kind, &self.name, Level::Warn, PAUSE_CUT);
        }
        self.complete(tag, Reply::Outcomes(outcomes));
    }

    /// Sends an HTTP request for the child, and its result to the child.
    fn forward_request(&self, requests: &Requests, id: u64, head: WireRequest, body: Bytes) {
        let Requests { link, permits, ended } = requests;
        let raw = RawRequest {
            method: head.method.as_bytes(),
            url: head.url.into(),
            body,
            timeout: Duration::from_millis(head.timeout_ms),
            max_answer: head.max_answer,
        };
        let headers = head.headers.iter().map(|(name, value)| (name.as_bytes(), Bytes::from(value.clone())));
        let Some(request) = raw.validate(headers) else {
            let why = "the request is invalid or too long".to_owned();
            return link.refuse(id, TransportError::Refused { host: String::new(), why });
        };
        // The child queues its requests by the same limit. One that exceeds it gets a retryable error.
        let Ok(permit) = Arc::clone(permits).try_acquire_many_owned(cost(&request)) else {
            let host = request.uri.host().unwrap_or_default().to_owned();
            let why = "this channel has too many concurrent requests".to_owned();
            return link.refuse(id, TransportError::Unreachable { host, why });
        };
        let (transport, link, ended) = (Arc::clone(&self.transport), Arc::clone(link), ended.clone());
        tokio::spawn(async move {
            let send = async {
                let result = transport.send(request).await;
                link.send_result(id, result, permit).await;
            };
            tokio::select! {
                () = ended.cancelled() => {}
                () = send => {}
            }
        });
    }
}
