//! Prunes the dead addresses of a lane. The prune guard may hold them back until pushes succeed again.

use super::Lane;
use super::alarms::Cause;
use super::prune_guard::{MAX_HELD_BACK, MIN_ALLOWANCE, Verdict};
use crate::dead::{DeadId, DeadQuery, DeadState, Death, PruneGuardState};
use crate::delivery::Target;
use crate::device::Address;
use crate::fault::{Fault, Kind};
use crate::ids::DeviceId;
use crate::observe::{AlarmState, Event};
use crate::report::Outcome;
use crate::store::StorageError;
use crate::timestamp::Timestamp;

/// Note in the receipt of an address that is held back.
const HELD_BACK: &str = "the address is kept: the prune guard holds it back until pushes succeed again";

/// Result of pruning one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pruned {
    /// The address was pruned.
    Done,
    /// The address was kept, because it was registered again after the push service reported it dead.
    RegisteredLater,
    /// The address was kept, because storage failed.
    Failed,
}

impl Pruned {
    /// Returns the note for the receipt of an address that is kept. `None` means that the address was pruned.
    const fn note(self) -> Option<&'static str> {
        match self {
            Self::Done => None,
            Self::RegisteredLater => {
                Some("the address is kept: it was registered after the push service reported it dead")
            }
            Self::Failed => Some("the address is kept: storage failed"),
        }
    }
}

impl Lane {
    /// Restores the state of the prune guard that an earlier process has stored.
    pub(super) async fn resume_prune_guard(&self) -> Result<(), StorageError> {
        let store = &self.context.store;
        let state = store.prune_guard(&self.app, &self.name).await?.unwrap_or_default();
        let mut query = DeadQuery {
            channel: Some(self.name.clone()),
            state: Some(DeadState::HeldBack),
            ..DeadQuery::new(DeadQuery::MAX_LIMIT)
        };
        let mut held_back = Vec::new();
        while held_back.len() < MAX_HELD_BACK {
            let page = store.dead(&self.app, &query).await?;
            let is_last = page.len() < query.limit;
            query.after = page.last().map(|dead| dead.id);
            held_back.extend(page);
            if is_last {
                break;
            }
        }
        self.prune_guard.resume(state, held_back);
        if state.is_alarm_open {
            self.resume_alarm(Cause::PruneGuard, prune_guard_fault(), self.context.clock.now());
        }
        self.update_held_back_gauge();
        Ok(())
    }

    /// Stores the counts of the prune guard for the next process.
    pub(super) async fn store_prune_guard(&self) {
        let state = self.prune_guard.state();
        if state.window_began.is_some() {
            self.store_prune_guard_state(state).await;
        }
    }

    /// Counts the accepted pushes of an attempt, closes the alarms that they end, and prunes the addresses they release.
    pub(super) async fn record_successes(&self, targets: &[Target], outcomes: &[Outcome], now: Timestamp) {
        let accepted = targets.iter().zip(outcomes).filter(|(_, outcome)| outcome.fault().is_none());
        let accepted: Vec<&Address> = accepted.map(|(target, _)| &target.address).collect();
        if accepted.is_empty() {
            return;
        }
        self.close_alarms(now);
        let released = self.prune_guard.record_accepted(accepted.into_iter(), now);
        let Some(state) = released.state else { return };
        self.store_prune_guard_state(state).await;
        self.release_held_back(&released.alive, now).await;
        for (id, address, death) in released.dead {
            if self.prune_now(None, &address, &death, now).await == Pruned::RegisteredLater {
                self.release_held_back(&[id], now).await;
            }
        }
        self.update_held_back_gauge();
        if self.prune_guard.held_back() == 0
            && let Some(state) = self.prune_guard.set_alarm(AlarmState::Closed)
        {
            self.close_alarm(Cause::PruneGuard);
            self.store_prune_guard_state(state).await;
        }
    }

    /// Prunes an address that the push service reported dead, or holds it back.
    ///
    /// An address that was registered after the report is kept. Returns a note for the receipt if the address is kept.
    pub(super) async fn prune_or_hold_back(
        &self,
        target: &Target,
        fault: &Fault,
        started_at: Timestamp,
    ) -> Option<&'static str> {
        let Some(device) = &target.device else { return Some("no device is registered with the address") };
        let (death, now) = (Death::new(fault, started_at), self.context.clock.now());
        match self.prune_guard.decide(&target.address, now) {
            Verdict::Prune(state) => {
                let pruned = self.prune_now(Some(device), &target.address, &death, now);
                let ((), pruned) = tokio::join!(self.store_prune_guard_state(state), pruned);
                pruned.note()
            }
            Verdict::HoldBack => self.hold_back(&target.address, death, now).await,
            Verdict::Keep => Some(HELD_BACK),
        }
    }

    /// Prunes an address in storage, counts it, and notifies observers.
    async fn prune_now(
        &self,
        device: Option<&DeviceId>,
        address: &Address,
        death: &Death,
        now: Timestamp,
    ) -> Pruned {
        match self.context.store.prune(&self.app, address, death, now).await {
            Ok(true) => {
                metrics::counter!("pushgate_pruned_total", &self.labels()).increment(1);
                let (app, channel) = (self.app.clone(), self.name.clone());
                self.context.notify_observers(&Event::Pruned { app, device: device.cloned(), channel });
                Pruned::Done
            }
            Ok(false) => Pruned::RegisteredLater,
            Err(error) => {
                tracing::error!(app = %self.app, channel = %self.name, %error, "dead address cannot be pruned; the next push to it tries again");
                Pruned::Failed
            }
        }
    }

    /// Stores an address as held back, and opens the alarm if too many are. Returns the note for the receipt.
    async fn hold_back(&self, address: &Address, death: Death, now: Timestamp) -> Option<&'static str> {
        match self.context.store.hold_back(&self.app, address, &death, now).await {
            Ok(Some(id)) => self.prune_guard.hold_back(id, address.clone(), death),
            Ok(None) => return Pruned::RegisteredLater.note(),
            Err(error) => {
                tracing::error!(app = %self.app, channel = %self.name, %error, "dead address cannot be held back; the next push to it tries again");
                return Pruned::Failed.note();
            }
        }
        self.update_held_back_gauge();
        if self.prune_guard.held_back() as u64 > MIN_ALLOWANCE
            && let Some(state) = self.prune_guard.set_alarm(AlarmState::Opened)
        {
            self.open_alarm(Cause::PruneGuard, &prune_guard_fault(), now);
            self.store_prune_guard_state(state).await;
        }
        Some(HELD_BACK)
    }

    /// Restores addresses that were held back and are alive.
    async fn release_held_back(&self, ids: &[DeadId], now: Timestamp) {
        if ids.is_empty() {
            return;
        }
        if let Err(error) = self.context.store.restore(&self.app, ids, now).await {
            tracing::error!(app = %self.app, channel = %self.name, %error, "addresses that were held back cannot be restored");
        }
    }

    /// Stores the state of the prune guard. A failure is logged only: the next change stores it again.
    async fn store_prune_guard_state(&self, state: PruneGuardState) {
        if let Err(error) = self.context.store.set_prune_guard(&self.app, &self.name, &state).await {
            tracing::error!(app = %self.app, channel = %self.name, %error, "state of the prune guard cannot be stored");
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are never that many")]
    fn update_held_back_gauge(&self) {
        let held_back = self.prune_guard.held_back() as f64;
        metrics::gauge!("pushgate_addresses_held_back", &self.labels()).set(held_back);
    }

    fn labels(&self) -> [(&'static str, String); 2] {
        [("app", self.app.to_string()), ("channel", self.name.to_string())]
    }
}

/// Returns the fault of the prune guard's alarm.
fn prune_guard_fault() -> Fault {
    let detail = format!(
        "over {MIN_ALLOWANCE} addresses were reported dead while hardly any push succeeds, so they are held back; compare the credentials with the app's build, and see `pushgate devices pruned`"
    );
    Fault::new(Kind::WrongApp, detail).of_lane()
}
