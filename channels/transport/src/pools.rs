//! The pools of all origins. Bounded: where addresses come from clients, the number of origins is theirs to choose.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::dial::Scheme;
use crate::pool::Pool;

/// How many origins of a scheme are kept; beyond it the one that was used least recently goes, with its idle connections.
const MOST: usize = 512;

/// By scheme and authority as it is written: a look-up for each request must not cost an allocation.
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
    /// The origin's pool, made by `new` where there is none.
    ///
    /// # Errors
    /// Those of `new`.
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
        if kept.by_authority.len() >= MOST {
            kept.forget_one();
        }
        kept.by_authority.insert(authority.to_owned(), Entry { pool: Arc::clone(&pool), used });
        Ok(pool)
    }
}

impl Kept {
    /// Whoever waits, dials or has a stream holds the pool; one that nobody else holds is idle.
    fn forget_one(&mut self) {
        let idle = self.by_authority.iter().filter(|(_, entry)| Arc::strong_count(&entry.pool) == 1);
        if let Some(authority) =
            idle.min_by_key(|(_, entry)| entry.used).map(|(authority, _)| authority.clone())
        {
            self.by_authority.remove(&authority);
        }
    }
}
