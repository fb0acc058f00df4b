//! Alarms of a lane. An episode causes one event when it opens and one when it closes, however many pushes it concerns.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::Lane;
use crate::fault::{Fault, Kind, Scope};
use crate::layer::gate::Gate;
use crate::observe::{AlarmState, Event};
use crate::timestamp::Timestamp;

/// Time without another fault after which a success closes an episode that concerns single addresses.
///
/// Before that, a success proves nothing: other addresses succeed while a token of the wrong app keeps failing.
const QUIET: Duration = Duration::from_secs(3600);

/// Cause of an alarm. Each cause has at most one open episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Fault that an operator has to resolve.
    Fault(Kind),
    /// More dead addresses than the prune guard allows to prune.
    PruneGuard,
}

impl Cause {
    /// Returns the code used in metrics and logs.
    const fn code(self) -> &'static str {
        match self {
            Self::Fault(kind) => kind.info().code,
            Self::PruneGuard => "prune_guard",
        }
    }
}

/// Open episodes of a lane.
#[derive(Default)]
pub(super) struct Alarms(Mutex<BTreeMap<Cause, Episode>>);

/// Time from the first fault of a cause to its resolution.
struct Episode {
    /// First fault of the episode.
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

    /// Removes the episodes that a success ends, and returns them.
    fn end(&self, now: Timestamp, gate: &Gate) -> Vec<(Cause, Fault)> {
        let mut open = self.0.lock();
        let ends = |cause: &Cause, episode: &mut Episode| match cause {
            Cause::PruneGuard => false,
            Cause::Fault(Kind::Credentials) if episode.fault.scope == Scope::Lane => !gate.is_refused(),
            Cause::Fault(_) => now.since(episode.last_fault_at) >= QUIET,
        };
        open.extract_if(.., ends).map(|(cause, episode)| (cause, episode.fault)).collect()
    }

    /// Removes the open episode of a cause. `None` means that there is none.
    fn remove(&self, cause: Cause) -> Option<Fault> {
        self.0.lock().remove(&cause).map(|episode| episode.fault)
    }
}

impl Lane {
    /// Resumes an episode that an earlier process has reported. Reports no event.
    pub(super) fn resume_alarm(&self, cause: Cause, fault: Fault, now: Timestamp) {
        self.alarms.record(cause, &fault, now);
        metrics::gauge!("pushgate_alarms_open", &self.alarm_labels(cause)).set(1.0);
    }

    /// Opens an episode and reports it, or adds the fault to the open episode of the same cause.
    pub(super) fn open_alarm(&self, cause: Cause, fault: &Fault, now: Timestamp) {
        if self.alarms.record(cause, fault, now) {
            self.report_alarm(cause, fault.clone(), AlarmState::Opened);
        }
    }

    /// Closes the episodes that a successful push ends.
    pub(super) fn close_alarms(&self, now: Timestamp) {
        for (cause, fault) in self.alarms.end(now, &self.gate) {
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
