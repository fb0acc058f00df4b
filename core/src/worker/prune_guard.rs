//! Prune guard: limits how many dead addresses a lane prunes.
//!
//! Many dead addresses at once mean a wrong configuration, not a thousand users who left. See decision 0023.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

use crate::dead::{DeadAddress, DeadId, Death, PruneGuardState};
use crate::device::Address;
use crate::observe::AlarmState;
use crate::timestamp::Timestamp;

/// Time window over which pushes are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// Number of addresses that may be pruned in any window with a success. A small app has few pushes to compare with.
pub(super) const MIN_ALLOWANCE: u64 = 20;
/// Maximum number of addresses that a lane holds back. Others are reported dead again by the next push to them.
pub(super) const MAX_HELD_BACK: usize = 10_000;
/// Maximum number of held-back addresses that one attempt prunes, so that a delivery does not wait for all of them.
const MAX_RELEASED: u64 = 100;

/// Prune guard of one lane.
#[derive(Default)]
pub(super) struct PruneGuard(Mutex<Guard>);

/// State of a [`PruneGuard`].
#[derive(Default)]
struct Guard {
    state: PruneGuardState,
    /// Addresses that are held back, oldest first.
    held_back: BTreeMap<DeadId, (Address, Death)>,
    ids: HashMap<Address, DeadId>,
}

/// Decision about one dead address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Prune the address, and store the state.
    Prune(PruneGuardState),
    /// Hold the address back.
    HoldBack,
    /// Keep the address: it is held back already, or the limit of held-back addresses is reached.
    Keep,
}

/// Addresses released by successful pushes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// Held-back addresses that are alive: a push to them was accepted.
    pub(super) alive: Vec<DeadId>,
    /// Held-back addresses to prune now.
    pub(super) dead: Vec<(DeadId, Address, Death)>,
    /// State to store. `None` means that nothing was released.
    pub(super) state: Option<PruneGuardState>,
}

impl PruneGuard {
    /// Restores the state and the addresses that an earlier process has stored.
    pub(super) fn resume(&self, state: PruneGuardState, held_back: Vec<DeadAddress>) {
        let mut guard = self.0.lock();
        guard.state = state;
        for dead in held_back {
            guard.insert(dead.id, dead.address, dead.death);
        }
    }

    /// Counts accepted pushes, and returns the held-back addresses that they release.
    pub(super) fn record_accepted<'a>(
        &self,
        addresses: impl ExactSizeIterator<Item = &'a Address>,
        now: Timestamp,
    ) -> Released {
        let mut guard = self.0.lock();
        guard.start_window_if_ended(now);
        guard.state.accepted += addresses.len() as u64;
        if guard.held_back.is_empty() {
            return Released::default();
        }
        let alive: Vec<_> = addresses.filter_map(|address| guard.remove(address)).collect();
        let count = guard.allowance().min(MAX_RELEASED);
        let mut dead = Vec::new();
        for _ in 0..count {
            let Some((id, (address, death))) = guard.held_back.pop_first() else { break };
            guard.ids.remove(&address);
            dead.push((id, address, death));
        }
        guard.state.pruned += dead.len() as u64;
        let state = (!alive.is_empty() || !dead.is_empty()).then_some(guard.state);
        Released { alive, dead, state }
    }

    /// Decides what happens to a dead address, and counts it if it is pruned.
    pub(super) fn decide(&self, address: &Address, now: Timestamp) -> Verdict {
        let mut guard = self.0.lock();
        guard.start_window_if_ended(now);
        if guard.allowance() > 0 {
            guard.state.pruned += 1;
            guard.remove(address);
            return Verdict::Prune(guard.state);
        }
        if guard.ids.contains_key(address) || guard.held_back.len() >= MAX_HELD_BACK {
            return Verdict::Keep;
        }
        Verdict::HoldBack
    }

    /// Records an address that is held back.
    pub(super) fn hold_back(&self, id: DeadId, address: Address, death: Death) {
        self.0.lock().insert(id, address, death);
    }

    /// Returns the number of addresses that are held back.
    pub(super) fn held_back(&self) -> usize {
        self.0.lock().held_back.len()
    }

    /// Returns the state to store.
    pub(super) fn state(&self) -> PruneGuardState {
        self.0.lock().state
    }

    /// Records whether the alarm is open. Returns the state to store, or `None` if nothing changed.
    pub(super) fn set_alarm(&self, alarm: AlarmState) -> Option<PruneGuardState> {
        let mut guard = self.0.lock();
        let is_open = alarm == AlarmState::Opened;
        let is_changed = guard.state.is_alarm_open != is_open;
        guard.state.is_alarm_open = is_open;
        is_changed.then_some(guard.state)
    }
}

impl Guard {
    /// Starts a new window if the current one has ended.
    fn start_window_if_ended(&mut self, now: Timestamp) {
        if self.state.window_began.is_none_or(|began| now.since(began) >= WINDOW) {
            self.state = PruneGuardState {
                window_began: Some(now),
                accepted: 0,
                pruned: 0,
                is_alarm_open: self.state.is_alarm_open,
            };
        }
    }

    /// Returns how many more addresses may be pruned in this window: 0 without a success, else as many as were reached,
    /// and [`MIN_ALLOWANCE`] at least.
    fn allowance(&self) -> u64 {
        match self.state.accepted {
            0 => 0,
            accepted => accepted.max(MIN_ALLOWANCE).saturating_sub(self.state.pruned),
        }
    }

    /// Records a held-back address in place of an earlier record of it.
    fn insert(&mut self, id: DeadId, address: Address, death: Death) {
        if let Some(earlier) = self.ids.insert(address.clone(), id) {
            self.held_back.remove(&earlier);
        }
        self.held_back.insert(id, (address, death));
    }

    /// Removes a held-back address. `None` means that it is not held back.
    fn remove(&mut self, address: &Address) -> Option<DeadId> {
        let id = self.ids.remove(address)?;
        self.held_back.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::TokenKind;
    use crate::fault::Kind;
    use crate::ids::ChannelName;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn address(number: u64) -> Address {
        let channel = ChannelName::new("way").unwrap();
        Address { channel, kind: TokenKind::Token, token: format!("token {number}").into() }
    }

    fn success(guard: &PruneGuard, number: u64, now: Timestamp) -> Released {
        guard.record_accepted([address(number)].iter(), now)
    }

    /// Reports a dead address to the guard, as the worker does. Returns `true` if it was pruned.
    fn report_dead(guard: &PruneGuard, number: u64, now: Timestamp) -> bool {
        match guard.decide(&address(number), now) {
            Verdict::Prune(_) => return true,
            Verdict::HoldBack => {
                let death = Death { since: now, fault: Kind::TokenGone, vendor_code: None };
                guard.hold_back(DeadId(i64::try_from(number).unwrap()), address(number), death);
            }
            Verdict::Keep => {}
        }
        false
    }

    #[test]
    fn a_window_without_a_success_prunes_nothing_however_long_it_lasts() {
        let guard = PruneGuard::default();
        for number in 0..50 {
            assert!(!report_dead(&guard, number, NOW + WINDOW * u32::try_from(number).unwrap()));
        }
        assert_eq!(guard.held_back(), 50);
    }

    #[test]
    fn the_first_success_releases_what_was_held_back_within_the_allowance() {
        let guard = PruneGuard::default();
        for number in 0..30 {
            assert!(!report_dead(&guard, number, NOW));
        }
        let later = NOW + WINDOW * 5;
        let released = success(&guard, 100, later);
        assert_eq!(released.dead.len() as u64, MIN_ALLOWANCE);
        assert_eq!(released.dead[0].1, address(0), "the oldest first");
        assert_eq!(success(&guard, 101, later), Released::default(), "the window is used up");
        assert_eq!(success(&guard, 102, later + WINDOW).dead.len(), 10);
        assert_eq!(guard.held_back(), 0);
    }

    #[test]
    fn an_address_that_is_reached_again_is_no_longer_held_back() {
        let guard = PruneGuard::default();
        assert!(!report_dead(&guard, 7, NOW));
        let released = success(&guard, 7, NOW);
        assert_eq!((released.alive, released.dead), (vec![DeadId(7)], Vec::new()));
    }

    #[test]
    fn dead_addresses_among_living_ones_are_pruned() {
        let guard = PruneGuard::default();
        for number in 0..1000 {
            success(&guard, number, NOW);
            assert!(report_dead(&guard, 1000 + number, NOW));
        }
        let pruned = (0..100).filter(|number| report_dead(&guard, 5000 + number, NOW)).count();
        assert_eq!(pruned, 0, "as many as were reached");
    }

    #[test]
    fn a_prune_guard_resumes_the_counts_of_an_earlier_process() {
        let guard = PruneGuard::default();
        success(&guard, 0, NOW);
        for number in 1..=MIN_ALLOWANCE {
            assert!(report_dead(&guard, number, NOW));
        }
        let next = PruneGuard::default();
        next.resume(guard.state(), Vec::new());
        success(&next, 0, NOW);
        assert!(!report_dead(&next, 99, NOW), "the window of the earlier process counts");
    }
}
