//! Gate of a lane: holds deliveries back during a pause and while the push service refuses the credentials.
//!
//! While credentials are refused, one delivery at a time probes and all others wait. See decision 0005.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::timestamp::Timestamp;

/// Pause before the first probe of refused credentials. It doubles with each probe that is refused.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum pause between two probes. Corrected credentials are noticed within this time.
pub const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(300);

/// Gate of one lane.
#[derive(Debug)]
pub struct Gate {
    state: watch::Sender<State>,
    closing: CancellationToken,
}

/// State of a [`Gate`].
#[derive(Debug)]
struct State {
    /// End of the current or last pause.
    paused_until: Timestamp,
    /// Refusal of the credentials. `None` while they are accepted.
    refusal: Option<Refusal>,
    /// Number that grows when a refusal begins or ends. Late responses to requests of an older generation are ignored.
    generation: u64,
}

/// Refusal of the credentials by the push service.
#[derive(Debug, Clone, Copy, Default)]
struct Refusal {
    /// Number of refusals since the credentials were last accepted. 0 if only a bearer token has expired.
    refusals: u32,
    /// `true` while a delivery probes.
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
        /// Generation of the gate at that moment, for [`Gate::refuse`].
        generation: u64,
    },
    /// The credentials were refused. This delivery alone probes whether they are accepted again.
    Probe(ProbePass<'a>),
    /// The delivery expired while it waited. It passes, so that the inner layers can report it.
    Expired,
    /// The gateway is shutting down.
    Closed,
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The push service accepted the credentials.
    Accepted,
    /// The push service refused the credentials again. The next probe waits for at least this time.
    Refused(Option<Duration>),
    /// The response says nothing about the credentials.
    Unanswered,
    /// The request may not have been sent. The next delivery probes at once.
    NotSent,
}

/// Permission to probe. If it is dropped without a result, another delivery may probe.
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

    /// Waits until the delivery may be sent, has expired, or the gateway shuts down.
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

    /// Holds all deliveries back until this time, or until the end of an earlier and longer pause.
    pub fn pause(&self, until: Timestamp) {
        self.state.send_if_modified(|state| {
            let is_later = until > state.paused_until;
            state.paused_until = state.paused_until.max(until);
            is_later
        });
    }

    /// Closes the gate, because the push service refused the credentials of a delivery with an open pass.
    ///
    /// From then on single deliveries probe, the first one `after` this time. `None` means that only a bearer token has expired,
    /// and the first probe is sent at once. Returns `true` if the gate was open.
    pub fn refuse(&self, generation: u64, now: Timestamp, after: Option<Duration>) -> bool {
        self.state.send_if_modified(|state| {
            let is_closed_now = state.refusal.is_none() && state.generation == generation;
            if is_closed_now {
                let refusal = Refusal { refusals: u32::from(after.is_some()), is_probed: false };
                state.paused_until = state.paused_until.max(now + after.unwrap_or_default());
                state.refusal = Some(refusal);
                state.generation += 1;
            }
            is_closed_now
        })
    }

    /// Returns `true` while the push service refuses the credentials.
    pub fn is_refused(&self) -> bool {
        self.state.borrow().refusal.is_some()
    }

    /// Returns the generation of an open gate. `None` means that the gate is paused or closed.
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
            // No waiting delivery has to wake up for this change.
            false
        });
        is_ours
    }
}

impl ProbePass<'_> {
    /// Reports the result of the probe to the gate.
    pub fn report(mut self, probed: Probed, now: Timestamp) {
        self.is_reported = true;
        self.gate.state.send_modify(|state| {
            let Some(refusal) = &mut state.refusal else { return };
            refusal.is_probed = false;
            match probed {
                Probed::Accepted => {
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
