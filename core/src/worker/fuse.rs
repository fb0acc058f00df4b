//! Stops pruning when too many tokens die at once: then a configuration is wrong, not a thousand users gone.

use parking_lot::Mutex;

use crate::words::Timestamp;
use std::time::Duration;

/// The window that is looked at.
const WINDOW: Duration = Duration::from_secs(600);
/// So many tokens may die in a window whatever else happens: a small app has bad days.
const FREE: u32 = 20;

/// Counts what lives and what dies.
#[derive(Default)]
pub(super) struct Fuse(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Timestamp>,
    sent: u32,
    dead: u32,
}

/// What the fuse says to one dead token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Prune it.
    Prune,
    /// Too many: keep it. `first` when this is the one at which the fuse blew.
    Blown {
        /// The first of this window.
        first: bool,
    },
}

impl Fuse {
    pub(super) fn sent(&self, now: Timestamp) {
        let mut window = self.0.lock();
        window.turn(now);
        window.sent += 1;
    }

    /// Counts a dead token and says what to do: beyond the free ones, there must be as many living as dead.
    pub(super) fn dead(&self, now: Timestamp) -> Verdict {
        let mut window = self.0.lock();
        window.turn(now);
        window.dead += 1;
        if window.dead <= FREE || window.dead <= window.sent {
            return Verdict::Prune;
        }
        Verdict::Blown { first: window.dead == window.sent.max(FREE) + 1 }
    }
}

impl Window {
    fn turn(&mut self, now: Timestamp) {
        if self.began.is_none_or(|began| now.since(began) >= WINDOW) {
            *self = Self { began: Some(now), sent: 0, dead: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_only_dead_tokens_blows_the_fuse_and_says_so_once() {
        let (fuse, now) = (Fuse::default(), Timestamp::from_millis(0));
        for _ in 0..FREE {
            assert_eq!(fuse.dead(now), Verdict::Prune);
        }
        assert_eq!(fuse.dead(now), Verdict::Blown { first: true });
        assert_eq!(fuse.dead(now), Verdict::Blown { first: false });
        assert_eq!(fuse.dead(now + WINDOW), Verdict::Prune);
    }

    #[test]
    fn dead_tokens_among_living_ones_are_pruned() {
        let (fuse, now) = (Fuse::default(), Timestamp::from_millis(0));
        for _ in 0..1000 {
            fuse.sent(now);
            assert_eq!(fuse.dead(now), Verdict::Prune);
        }
    }
}
