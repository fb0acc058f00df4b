//! Alarms of a lane: one event when an episode opens and one when it closes, however many pushes it concerns.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::Lane;
use crate::fault::{Fault, Kind, Scope};
use crate::observe::{AlarmState, Event};
use crate::words::Timestamp;

/// The time without another fault after which a success closes an episode of single addresses. Successes of other addresses
/// prove nothing before: they go on beside a token of the wrong app.
const QUIET: Duration = Duration::from_secs(3600);

/// What an alarm is about. Each cause has at most one open episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// A fault that an operator has to mend.
    Fault(Kind),
    /// More dead addresses than the prune guard allows to forget.
    PruneGuard,
}

impl Cause {
    const fn code(self) -> &'static str {
        match self {
            Self::Fault(kind) => kind.row().code,
            Self::PruneGuard => "prune_guard",
        }
    }
}

/// The open episodes of a lane.
#[derive(Default)]
pub(super) struct Alarms(Mutex<BTreeMap<Cause, Episode>>);

struct Episode {
    fault: Fault,
    last_fault_at: Timestamp,
}

impl Alarms {
    /// Records a fault. Returns `true` if it opens an episode.
    fn record(&self, cause: Cause, fault: &Fault, now: Timestamp) -> bool {
        let mut open = self.0.lock();
        if let Some(episode) = open.get_mut(&cause) {
            episode.last_fault_at = now;
            return false;
        }
        open.insert(cause, Episode { fault: fault.clone(), last_fault_at: now });
        true
    }

    /// Removes the episodes that a success ends.
    fn end(&self, now: Timestamp, is_refused: bool) -> Vec<(Cause, Fault)> {
        let mut open = self.0.lock();
        let ends = |cause: &Cause, episode: &mut Episode| match cause {
            Cause::PruneGuard => false,
            Cause::Fault(Kind::Credentials) if episode.fault.scope == Scope::Lane => !is_refused,
            Cause::Fault(_) => now.since(episode.last_fault_at) >= QUIET,
        };
        open.extract_if(.., ends).map(|(cause, episode)| (cause, episode.fault)).collect()
    }

    fn remove(&self, cause: Cause) -> Option<Fault> {
        self.0.lock().remove(&cause).map(|episode| episode.fault)
    }
}

impl Lane {
    /// Takes up an episode that an earlier process has told.
    pub(super) fn resume_alarm(&self, cause: Cause, fault: Fault, now: Timestamp) {
        self.alarms.record(cause, &fault, now);
        metrics::gauge!("pushgate_alarms_open", &self.alarm_labels(cause)).set(1.0);
    }

    /// Opens an episode, or counts the fault to the one that is open.
    pub(super) fn open_alarm(&self, cause: Cause, fault: &Fault, now: Timestamp) {
        if self.alarms.record(cause, fault, now) {
            self.report_alarm(cause, fault.clone(), AlarmState::Opened);
        }
    }

    /// Closes what the success of a push has ended.
    pub(super) fn close_alarms(&self, now: Timestamp) {
        for (cause, fault) in self.alarms.end(now, self.gate.is_refused()) {
            self.report_alarm(cause, fault, AlarmState::Closed);
        }
    }

    /// Closes the episode of this cause, if one is open.
    pub(super) fn close_alarm(&self, cause: Cause) {
        if let Some(fault) = self.alarms.remove(cause) {
            self.report_alarm(cause, fault, AlarmState::Closed);
        }
    }

    fn report_alarm(&self, cause: Cause, fault: Fault, state: AlarmState) {
        let labels = self.alarm_labels(cause);
        match state {
            AlarmState::Opened => {
                metrics::counter!("pushgate_alarms_total", &labels).increment(1);
                metrics::gauge!("pushgate_alarms_open", &labels).set(1.0);
                tracing::error!(app = %self.app, channel = %self.name, alarm = cause.code(), %fault, "alarm opened");
            }
            AlarmState::Closed => {
                metrics::gauge!("pushgate_alarms_open", &labels).set(0.0);
                tracing::info!(app = %self.app, channel = %self.name, alarm = cause.code(), "alarm closed");
            }
        }
        self.context.notify_observers(&Event::Alarm {
            app: self.app.clone(),
            channel: self.name.clone(),
            fault,
            state,
        });
    }

    fn alarm_labels(&self, cause: Cause) -> [(&'static str, String); 3] {
        [
            ("app", self.app.to_string()),
            ("channel", self.name.to_string()),
            ("fault", cause.code().to_owned()),
        ]
    }
}
