//! Layer that applies the pauses a push service asks for, and probes refused credentials with one delivery at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::delegate_to_inner;
use super::gate::{Gate, PROBE_INTERVAL, Pass, Probed};
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::delivery::Delivery;
use crate::fault::{Fault, Kind, Retry, Scope};
use crate::report::{Outcome, Report};

/// Returns the fault of a delivery that was waiting when the gateway began to shut down. Nothing was sent.
#[must_use]
pub fn closing_fault() -> Fault {
    Fault::new(Kind::Unreachable, NOT_SENT)
}

/// Returns `true` for a fault made by [`closing_fault`]. The delivery was not tried and stays as it was.
#[must_use]
pub fn is_closing_fault(fault: &Fault) -> bool {
    fault.kind == Kind::Unreachable && fault.detail == NOT_SENT
}

/// Detail that marks a [`closing_fault`].
const NOT_SENT: &str = "the gateway is shutting down; the delivery stays queued";

/// Layer that applies requested pauses.
pub struct Throttle {
    inner: Arc<dyn PushChannel>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
}

impl Throttle {
    /// Wraps a channel. Pauses that its reports ask for apply to the whole lane.
    pub fn new(inner: Arc<dyn PushChannel>, gate: Arc<Gate>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, gate, clock }
    }

    /// Returns the pause that a fault requests for the lane. `None` means no pause. Refused credentials are not considered.
    fn requested_pause(&self, fault: &Fault) -> Option<Duration> {
        if fault.scope != Scope::Lane {
            return None;
        }
        match fault.info().retry {
            Retry::Wait => Some(fault.retry_after.unwrap_or(self.info().capability.throttle_pause)),
            Retry::Backoff => fault.retry_after,
            Retry::Slowly | Retry::Never | Retry::Once => None,
        }
    }

    /// Pauses the lane for the longest pause that the report requests.
    fn apply_requested_pause(&self, report: &Report, delivery: &Delivery) {
        let requested = faults(report).filter_map(|fault| self.requested_pause(fault)).max();
        if let Some(pause) = requested {
            self.gate.pause(self.clock.now() + pause);
            tracing::warn!(channel = %delivery.channel, app = %delivery.message.app, seconds = pause.as_secs(), "lane paused");
        }
    }
}

#[async_trait]
impl PushChannel for Throttle {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let pass = self.gate.enter(&*self.clock, delivery.message.expires_at()).await;
        if matches!(pass, Pass::Closed) {
            return Report::all_failed(delivery.targets.len(), &closing_fault());
        }
        let report = self.inner.send(delivery).await;
        self.apply_requested_pause(&report, delivery);
        match pass {
            Pass::Open { generation } => {
                if let Some(refusal_fault) = refusal(&report) {
                    let after = match refusal_fault.kind {
                        Kind::AuthExpired => None,
                        _ => Some(refusal_fault.retry_after.unwrap_or(PROBE_INTERVAL)),
                    };
                    if self.gate.refuse(generation, self.clock.now(), after) && after.is_some() {
                        tracing::warn!(channel = %delivery.channel, app = %delivery.message.app, "credentials refused: single pushes probe, the others wait");
                    }
                }
                report
            }
            Pass::Probe(probe) => {
                probe.report(probe_result(&report), self.clock.now());
                fail_refused_bearer(report)
            }
            Pass::Expired | Pass::Closed => report,
        }
    }
}

/// Returns the faults of a report.
fn faults(report: &Report) -> impl Iterator<Item = &Fault> {
    report.outcomes().iter().filter_map(Outcome::fault)
}

/// Returns the fault by which the push service refuses the credentials of the whole lane. `None` means that it does not.
fn refusal(report: &Report) -> Option<&Fault> {
    let is_refusal = |fault: &&Fault| {
        fault.scope == Scope::Lane && matches!(fault.kind, Kind::Credentials | Kind::AuthExpired)
    };
    // Refused credentials take precedence over an expired bearer token.
    faults(report).filter(is_refusal).min_by_key(|fault| fault.kind == Kind::AuthExpired)
}

/// Returns the result of a probe from the report of its delivery.
fn probe_result(report: &Report) -> Probed {
    if let Some(refusal_fault) = refusal(report) {
        return Probed::Refused(refusal_fault.retry_after);
    }
    let results = report
        .outcomes()
        .iter()
        .map(|outcome| outcome.fault().map_or(Probed::Accepted, probe_result_of_fault));
    let order = |probed: &Probed| match probed {
        Probed::Accepted => 0,
        Probed::Unanswered | Probed::Refused(_) => 1,
        Probed::NotSent => 2,
    };
    results.min_by_key(order).unwrap_or(Probed::NotSent)
}

/// Returns what a fault says about the lane's credentials.
fn probe_result_of_fault(fault: &Fault) -> Probed {
    match fault.kind {
        // The push service looked the device token up, so it accepted the credentials.
        Kind::TokenGone | Kind::TokenMuted | Kind::WrongApp | Kind::Quota => Probed::Accepted,
        // A layer or the channel may report these without a request to the push service.
        Kind::Quarantined
        | Kind::BadMessage
        | Kind::TooLarge
        | Kind::Expired
        | Kind::Revoked
        | Kind::Unsupported => Probed::NotSent,
        Kind::AuthExpired
        | Kind::Credentials
        | Kind::Throttled
        | Kind::VendorDown
        | Kind::ChannelDown
        | Kind::Timeout
        | Kind::Unreachable
        | Kind::Bug => Probed::Unanswered,
    }
}

/// Turns an expired bearer token into refused credentials in the report of a probe.
///
/// The probe's bearer token is a second one that was refused in a row, so age is not the reason.
fn fail_refused_bearer(report: Report) -> Report {
    let outcomes = report.into_outcomes().into_iter().map(|outcome| match outcome {
        Outcome::Failed(fault) if fault.kind == Kind::AuthExpired && fault.scope == Scope::Lane => {
            Outcome::Failed(Fault { kind: Kind::Credentials, ..fault })
        }
        other => other,
    });
    let outcomes: Vec<_> = outcomes.collect();
    Report::new(outcomes.len(), outcomes)
}
