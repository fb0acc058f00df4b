//! Pools of all origins. Bounded, because clients choose the origins of Web Push endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::dial::Scheme;
use crate::pool::Pool;

/// Maximum number of origins per scheme. Beyond it the least recently used idle one is dropped with its connections.
const MAX_ORIGINS: usize = 512;

/// Pools by scheme and authority. The authority is compared as written, so that a lookup needs no allocation.
#[derive(Default)]
pub(crate) struct Pools {
    http: Mutex<Kept>,
    https: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_authority: HashMap<String, Entry>,
    uses: u64,
}

struct Entry {
    pool: Arc<Pool>,
    used: u64,
}

impl Pools {
    /// Returns the pool of an origin, and creates it by `new` if there is none.
    ///
    /// # Errors
    /// Returns the error of `new`.
    pub(crate) fn pool<E>(
        &self,
        scheme: Scheme,
        authority: &str,
        new: impl FnOnce() -> Result<Pool, E>,
    ) -> Result<Arc<Pool>, E> {
        let mut kept = match scheme {
            Scheme::Http => self.http.lock(),
            Scheme::Https => self.https.lock(),
        };
        kept.uses += 1;
        let used = kept.uses;
        if let Some(entry) = kept.by_authority.get_mut(authority) {
            entry.used = used;
            return Ok(Arc::clone(&entry.pool));
        }
        let pool = Arc::new(new()?);
        if kept.by_authority.len() >= MAX_ORIGINS {
            kept.evict_one();
        }
        kept.by_authority.insert(authority.to_owned(), Entry { pool: Arc::clone(&pool), used });
        Ok(pool)
    }
}

impl Kept {
    /// Removes the least recently used idle pool. Waiting requests, dials and open streams hold a reference, so a pool
    /// without another reference is idle.
    fn evict_one(&mut self) {
        let idle = self.by_authority.iter().filter(|(_, entry)| Arc::strong_count(&entry.pool) == 1);
        if let Some(authority) =
            idle.min_by_key(|(_, entry)| entry.used).map(|(authority, _)| authority.clone())
        {
            self.by_authority.remove(&authority);
        }
    }
}
