//! Limits how many dead addresses a lane forgets. Too many at once mean that a configuration is wrong, not that a thousand
//! users are gone. Decision 0023 has the reasons.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

use crate::dead::{DeadAddress, DeadId, Death, PruneGuardState};
use crate::device::Address;
use crate::words::Timestamp;

/// The window over which pushes are counted.
const WINDOW: Duration = Duration::from_secs(600);
/// So many addresses may be pruned in a window with a success, however few pushes there are: a small app has bad days.
pub(super) const MIN_ALLOWANCE: u64 = 20;
/// The most addresses that a lane holds back. More are found dead again when they are next pushed to.
pub(super) const MAX_HELD_BACK: usize = 10_000;
/// The most addresses held back that one success lets go, so that a delivery does not wait for all of them.
const MAX_RELEASED: u64 = 100;

/// Prune guard of one lane.
#[derive(Default)]
pub(super) struct PruneGuard(Mutex<Guard>);

#[derive(Default)]
struct Guard {
    state: PruneGuardState,
    /// Addresses held back, oldest first.
    held_back: BTreeMap<DeadId, (Address, Death)>,
    ids: HashMap<Address, DeadId>,
}

/// Decision about one dead address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Prune it. The state is to be kept.
    Prune(PruneGuardState),
    /// Hold it back.
    HoldBack,
    /// It is held back already, or there is no room to remember it.
    Keep,
}

/// Consequences of successes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// Held back, and alive: a push to them was accepted.
    pub(super) alive: Vec<DeadId>,
    /// Held back, and to be pruned now.
    pub(super) dead: Vec<(DeadId, Address, Death)>,
    /// The state to keep, if anything was released.
    pub(super) state: Option<PruneGuardState>,
}

impl PruneGuard {
    /// Takes up what an earlier process has kept.
    pub(super) fn resume(&self, state: PruneGuardState, held_back: Vec<DeadAddress>) {
        let mut guard = self.0.lock();
        guard.state = state;
        for dead in held_back {
            guard.insert(dead.id, dead.address, dead.death);
        }
    }

    /// Counts accepted pushes and releases what they allow to prune.
    pub(super) fn accepted<'a>(
        &self,
        addresses: impl ExactSizeIterator<Item = &'a Address>,
        now: Timestamp,
    ) -> Released {
        let mut guard = self.0.lock();
        guard.turn(now);
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

    /// Counts a dead address and decides what happens to it.
    pub(super) fn dead(&self, address: &Address, now: Timestamp) -> Verdict {
        let mut guard = self.0.lock();
        guard.turn(now);
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

    /// Remembers an address that is held back.
    pub(super) fn hold_back(&self, id: DeadId, address: Address, death: Death) {
        self.0.lock().insert(id, address, death);
    }

    /// Returns the number of addresses that are held back.
    pub(super) fn held_back(&self) -> usize {
        self.0.lock().held_back.len()
    }

    /// Returns the state, to be kept.
    pub(super) fn state(&self) -> PruneGuardState {
        self.0.lock().state
    }

    /// Records whether the alarm is open. Returns the state to keep if that is news.
    pub(super) fn set_alarm(&self, is_open: bool) -> Option<PruneGuardState> {
        let mut guard = self.0.lock();
        let is_news = guard.state.is_alarm_open != is_open;
        guard.state.is_alarm_open = is_open;
        is_news.then_some(guard.state)
    }
}

impl Guard {
    fn turn(&mut self, now: Timestamp) {
        if self.state.window_began.is_none_or(|began| now.since(began) >= WINDOW) {
            self.state = PruneGuardState {
                window_began: Some(now),
                accepted: 0,
                pruned: 0,
                is_alarm_open: self.state.is_alarm_open,
            };
        }
    }

    /// Returns how many more addresses may be pruned in this window: none without a success, else as many as were reached.
    fn allowance(&self) -> u64 {
        match self.state.accepted {
            0 => 0,
            accepted => accepted.max(MIN_ALLOWANCE).saturating_sub(self.state.pruned),
        }
    }

    fn insert(&mut self, id: DeadId, address: Address, death: Death) {
        if let Some(earlier) = self.ids.insert(address.clone(), id) {
            self.held_back.remove(&earlier);
        }
        self.held_back.insert(id, (address, death));
    }

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
    use crate::words::ChannelName;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn address(number: u64) -> Address {
        let channel = ChannelName::new("way").unwrap();
        Address { channel, kind: TokenKind::Token, token: format!("token {number}").into() }
    }

    fn success(guard: &PruneGuard, number: u64, now: Timestamp) -> Released {
        guard.accepted([address(number)].iter(), now)
    }

    /// Hands a dead address to the guard, as the worker does. Returns `true` if it was pruned.
    fn dies(guard: &PruneGuard, number: u64, now: Timestamp) -> bool {
        match guard.dead(&address(number), now) {
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
            assert!(!dies(&guard, number, NOW + WINDOW * u32::try_from(number).unwrap()));
        }
        assert_eq!(guard.held_back(), 50);
    }

    #[test]
    fn the_first_success_releases_what_was_held_back_within_the_allowance() {
        let guard = PruneGuard::default();
        for number in 0..30 {
            assert!(!dies(&guard, number, NOW));
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
        assert!(!dies(&guard, 7, NOW));
        let released = success(&guard, 7, NOW);
        assert_eq!((released.alive, released.dead), (vec![DeadId(7)], Vec::new()));
    }

    #[test]
    fn dead_addresses_among_living_ones_are_pruned() {
        let guard = PruneGuard::default();
        for number in 0..1000 {
            success(&guard, number, NOW);
            assert!(dies(&guard, 1000 + number, NOW));
        }
        let pruned = (0..100).filter(|number| dies(&guard, 5000 + number, NOW)).count();
        assert_eq!(pruned, 0, "as many as were reached");
    }

    #[test]
    fn a_guard_goes_on_where_an_earlier_process_has_stopped() {
        let guard = PruneGuard::default();
        success(&guard, 0, NOW);
        for number in 1..=MIN_ALLOWANCE {
            assert!(dies(&guard, number, NOW));
        }
        let next = PruneGuard::default();
        next.resume(guard.state(), Vec::new());
        success(&next, 0, NOW);
        assert!(!dies(&next, 99, NOW), "the window of the earlier process counts");
    }
}
