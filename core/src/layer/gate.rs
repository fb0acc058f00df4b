//! The gate of a lane: pauses that a push service asked for, and refused credentials, for which one delivery at a time
//! probes while all others wait. Decision 0005 has the reasons.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::words::Timestamp;

/// The pause before the first probe of refused credentials. It doubles with each probe that is refused.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);
/// The longest pause between two probes: mended credentials are noticed within this time.
pub const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(300);

/// The gate of one lane.
#[derive(Debug)]
pub struct Gate {
    state: watch::Sender<State>,
    closing: CancellationToken,
}

#[derive(Debug)]
struct State {
    paused_until: Timestamp,
    /// Refused credentials; `None` while they are taken.
    refusal: Option<Refusal>,
    /// Rises with each refusal and each end of one, so that late answers to older requests change nothing.
    generation: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Refusal {
    /// How often the push service has refused since the credentials were last taken. Zero while only a bearer has aged.
    refusals: u32,
    is_probed: bool,
}

impl Refusal {
    /// Returns the pause before the next probe.
    fn interval(self) -> Duration {
        match self.refusals.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => {
                PROBE_INTERVAL.saturating_mul(2u32.saturating_pow(doublings)).min(MAX_PROBE_INTERVAL)
            }
        }
    }
}

/// Permission to send one delivery.
pub enum Pass<'a> {
    /// The lane is open.
    Open {
        /// The state of the gate at that moment, for [`Gate::refuse`].
        generation: u64,
    },
    /// The credentials were refused; this delivery alone finds out whether they are taken again.
    Probe(ProbePass<'a>),
    /// The delivery expired while it waited. It passes, so that the layers inside can say so.
    Expired,
    /// The gateway is shutting down.
    Closed,
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The push service took the credentials.
    Taken,
    /// It refused them again; the next probe waits at least so long.
    Refused(Option<Duration>),
    /// The push service did not say.
    Unanswered,
    /// Perhaps nothing was sent. The next delivery probes at once.
    NotSent,
}

/// The right to probe. When it is dropped without a result, another delivery probes.
pub struct ProbePass<'a> {
    gate: &'a Gate,
    is_reported: bool,
}

impl Gate {
    /// Returns an open gate, which closes when `closing` is cancelled.
    #[must_use]
    pub fn new(closing: CancellationToken) -> Self {
        let state = State { paused_until: Timestamp::from_millis(i64::MIN), refusal: None, generation: 0 };
        Self { state: watch::Sender::new(state), closing }
    }

    /// Waits until the gateway begins to shut down.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Waits until the delivery may be sent, or has expired.
    pub async fn enter(&self, clock: &dyn Clock, expires_at: Timestamp) -> Pass<'_> {
        if let Some(generation) = self.open_generation(clock.now()) {
            return Pass::Open { generation };
        }
        let mut changes = self.state.subscribe();
        loop {
            changes.mark_unchanged();
            let now = clock.now();
            if let Some(generation) = self.open_generation(now) {
                return Pass::Open { generation };
            }
            if expires_at <= now {
                return Pass::Expired;
            }
            if self.begin_probe(now) {
                return Pass::Probe(ProbePass { gate: self, is_reported: false });
            }
            let paused_until = self.state.borrow().paused_until;
            let wake_at = if paused_until > now { paused_until.min(expires_at) } else { expires_at };
            tokio::select! {
                // The sender is `self`, so there is always another change to wait for.
                _ = changes.changed() => {}
                () = clock.sleep_until(wake_at) => {}
                () = self.closed() => return Pass::Closed,
            }
        }
    }

    /// Keeps everything back until then.
    pub fn pause(&self, until: Timestamp) {
        self.state.send_if_modified(|state| {
            let is_later = until > state.paused_until;
            state.paused_until = state.paused_until.max(until);
            is_later
        });
    }

    /// Closes the gate, because the push service refused the credentials of a delivery with an open pass. From then on single
    /// deliveries probe, the first one `after` this time. Without it only a bearer has aged and the first probe goes at once.
    /// Returns `true` if the gate was open.
    pub fn refuse(&self, generation: u64, now: Timestamp, after: Option<Duration>) -> bool {
        self.state.send_if_modified(|state| {
            let is_news = state.refusal.is_none() && state.generation == generation;
            if is_news {
                let refusal = Refusal { refusals: u32::from(after.is_some()), is_probed: false };
                state.paused_until = state.paused_until.max(now + after.unwrap_or_default());
                state.refusal = Some(refusal);
                state.generation += 1;
            }
            is_news
        })
    }

    /// Returns `true` while the push service refuses the credentials.
    pub fn is_refused(&self) -> bool {
        self.state.borrow().refusal.is_some()
    }

    fn open_generation(&self, now: Timestamp) -> Option<u64> {
        let state = self.state.borrow();
        (state.paused_until <= now && state.refusal.is_none()).then_some(state.generation)
    }

    /// Returns `true` if the caller is the one that probes now.
    fn begin_probe(&self, now: Timestamp) -> bool {
        let mut is_ours = false;
        self.state.send_if_modified(|state| {
            if let Some(refusal) = state.refusal.as_mut().filter(|_| state.paused_until <= now) {
                is_ours = !refusal.is_probed;
                refusal.is_probed = true;
            }
            // Nobody has to wake up for this.
            false
        });
        is_ours
    }
}

impl ProbePass<'_> {
    /// Tells the gate what came of the probe.
    pub fn report(mut self, probed: Probed, now: Timestamp) {
        self.is_reported = true;
        self.gate.state.send_modify(|state| {
            let Some(refusal) = &mut state.refusal else { return };
            refusal.is_probed = false;
            match probed {
                Probed::Taken => {
                    state.refusal = None;
                    state.generation += 1;
                }
                Probed::Refused(hint) => {
                    refusal.refusals = refusal.refusals.saturating_add(1);
                    let interval = refusal.interval().max(hint.unwrap_or_default());
                    state.paused_until = state.paused_until.max(now + interval);
                }
                Probed::Unanswered => {
                    state.paused_until = state.paused_until.max(now + refusal.interval());
                }
                Probed::NotSent => {}
            }
        });
    }
}

impl Drop for ProbePass<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            self.gate.state.send_modify(|state| {
                if let Some(refusal) = &mut state.refusal {
                    refusal.is_probed = false;
                }
            });
        }
    }
}
