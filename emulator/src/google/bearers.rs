//! The bearers Google has given out: how old they are, and which are refused.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;

/// More are forgotten, the expired ones first: a load test fetches many.
const KEPT: usize = 10_000;

/// How long a bearer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BearerLife {
    /// What its receiver is told, in seconds.
    pub announced_s: u32,
    /// What is true, in seconds.
    pub real_s: u32,
}

impl Default for BearerLife {
    fn default() -> Self {
        // What Google says: an hour, less the second it took.
        Self { announced_s: 3599, real_s: 3599 }
    }
}

#[derive(Default)]
pub(super) struct Bearers(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    life: BearerLife,
    until: HashMap<String, SystemTime>,
}

impl Bearers {
    /// Gives one out; its announced life in seconds.
    pub(super) fn give(&self, bearer: &str, now: SystemTime) -> u32 {
        let mut inside = self.0.lock();
        if inside.until.len() >= KEPT {
            inside.until.retain(|_, until| *until > now);
        }
        let life = inside.life;
        inside.until.insert(bearer.to_owned(), now + Duration::from_secs(u64::from(life.real_s)));
        life.announced_s
    }

    pub(super) fn good(&self, bearer: &str, now: SystemTime) -> bool {
        self.0.lock().until.get(bearer).is_some_and(|until| *until > now)
    }

    pub(super) fn life(&self, life: BearerLife) {
        self.0.lock().life = life;
    }

    pub(super) fn age(&self, by: Duration) {
        for until in self.0.lock().until.values_mut() {
            *until = until.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH);
        }
    }

    pub(super) fn revoke(&self) {
        self.0.lock().until.clear();
    }
}
