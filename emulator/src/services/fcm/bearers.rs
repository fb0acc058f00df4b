//! Bearers (OAuth 2.0 access tokens) that the token endpoint has issued, with their expiry.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Deserialize;

/// Number of bearers from which expired ones are removed at the next issue. A load test fetches many.
const CLEANUP_THRESHOLD: usize = 10_000;

/// Lifetime of a bearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BearerLifetime {
    /// Lifetime that the response announces, in seconds.
    pub announced_s: u32,
    /// Actual lifetime, in seconds.
    pub real_s: u32,
}

impl Default for BearerLifetime {
    fn default() -> Self {
        // Google announces one second less than an hour.
        Self { announced_s: 3599, real_s: 3599 }
    }
}

/// Issued bearers of a project.
#[derive(Default)]
pub(super) struct Bearers(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    lifetime: BearerLifetime,
    expiry_by_bearer: HashMap<String, SystemTime>,
}

impl Bearers {
    /// Issues a bearer. Returns its announced lifetime in seconds.
    pub(super) fn issue(&self, bearer: &str, now: SystemTime) -> u32 {
        let mut inner = self.0.lock();
        if inner.expiry_by_bearer.len() >= CLEANUP_THRESHOLD {
            inner.expiry_by_bearer.retain(|_, expires_at| *expires_at > now);
        }
        let lifetime = inner.lifetime;
        inner
            .expiry_by_bearer
            .insert(bearer.to_owned(), now + Duration::from_secs(u64::from(lifetime.real_s)));
        lifetime.announced_s
    }

    /// Returns `true` if the bearer was issued and has not expired.
    pub(super) fn is_valid(&self, bearer: &str, now: SystemTime) -> bool {
        self.0.lock().expiry_by_bearer.get(bearer).is_some_and(|expires_at| *expires_at > now)
    }

    /// Sets the lifetime of bearers issued from now on.
    pub(super) fn set_lifetime(&self, lifetime: BearerLifetime) {
        self.0.lock().lifetime = lifetime;
    }

    /// Makes every issued bearer older by this duration.
    pub(super) fn age(&self, by: Duration) {
        for expires_at in self.0.lock().expiry_by_bearer.values_mut() {
            *expires_at = expires_at.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH);
        }
    }

    /// Revokes every issued bearer.
    pub(super) fn revoke(&self) {
        self.0.lock().expiry_by_bearer.clear();
    }
}
