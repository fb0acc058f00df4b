//! The pools of all origins. Bounded: where addresses come from clients, the number of origins is theirs to choose.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::pool::Pool;

/// How many origins are kept; beyond it the one that was used least recently goes, with its idle connections.
const MOST: usize = 512;

/// By scheme (is it TLS?), host and port.
#[derive(Default)]
pub(crate) struct Pools(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_origin: HashMap<(bool, String), Entry>,
    uses: u64,
}

struct Entry {
    pool: Arc<Pool>,
    used: u64,
}

impl Pools {
    /// The origin's pool, made by `new` where there is none.
    pub(crate) fn pool(&self, tls: bool, authority: String, new: impl FnOnce() -> Pool) -> Arc<Pool> {
        let mut kept = self.0.lock();
        kept.uses += 1;
        let used = kept.uses;
        if let Some(entry) = kept.by_origin.get_mut(&(tls, authority.clone())) {
            entry.used = used;
            return Arc::clone(&entry.pool);
        }
        if kept.by_origin.len() >= MOST {
            kept.forget_one();
        }
        let pool = Arc::new(new());
        kept.by_origin.insert((tls, authority), Entry { pool: Arc::clone(&pool), used });
        pool
    }
}

impl Kept {
    /// Whoever waits, dials or has a stream holds the pool; one that nobody else holds is idle.
    fn forget_one(&mut self) {
        let idle = self.by_origin.iter().filter(|(_, entry)| Arc::strong_count(&entry.pool) == 1);
        if let Some(origin) = idle.min_by_key(|(_, entry)| entry.used).map(|(origin, _)| origin.clone()) {
            self.by_origin.remove(&origin);
        }
    }
}
