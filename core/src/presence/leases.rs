//! Presence sessions with an expiry. The IM server reports that a user is online, and repeats it before the expiry. Sessions
//! are in memory: after a restart all users are offline until their next heartbeat. That costs extra pushes and loses none.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Connection, Presence};
use crate::clock::Clock;
use crate::device::Platform;
use crate::ids::{AppId, DeviceId, UserId};
use crate::timestamp::Timestamp;

/// Time for which a user's last coming online is kept.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Interval at which users without a session are removed from memory.
const CLEARED: Duration = Duration::from_secs(60);

/// Presence sessions of users in memory.
pub struct Leases {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    users: HashMap<(AppId, UserId), User>,
    clear_at: Option<Timestamp>,
}

#[derive(Default)]
struct User {
    /// Sessions with their expiry.
    sessions: HashMap<(Platform, Option<DeviceId>), Timestamp>,
    /// Start of the last new session.
    came: Option<Timestamp>,
}

/// Presence session of a user on one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// App of the user.
    pub app: AppId,
    /// User who is online.
    pub user: UserId,
    /// Platform of the session.
    pub platform: Platform,
    /// Device of the session. `None` means that it is unknown.
    pub device: Option<DeviceId>,
}

impl Leases {
    /// Creates an empty set of sessions.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, table: Mutex::default() }
    }

    /// Starts or renews a session. It expires after `lease` from now, whatever its earlier expiry.
    pub fn online(&self, session: Session, lease: Duration) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        table.clear(now);
        let user = table.users.entry((session.app, session.user)).or_default();
        user.end(now);
        let known = user.sessions.insert((session.platform, session.device), now + lease);
        if known.is_none() {
            user.came = Some(now);
        }
    }

    /// Ends a session. Without a device, ends every session of the user on the platform.
    pub fn offline(&self, session: &Session) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        table.clear(now);
        if let Some(user) = table.users.get_mut(&(session.app.clone(), session.user.clone())) {
            user.sessions.retain(|(platform, device), _| {
                *platform != session.platform || (session.device.is_some() && *device != session.device)
            });
        }
    }
}

impl Table {
    fn clear(&mut self, now: Timestamp) {
        if self.clear_at.is_some_and(|at| at > now) {
            return;
        }
        self.clear_at = Some(now + CLEARED);
        self.users.retain(|_, user| {
            user.end(now);
            !user.sessions.is_empty() || user.came.is_some_and(|came| came + REMEMBERED > now)
        });
    }
}

impl User {
    /// Removes expired sessions.
    fn end(&mut self, now: Timestamp) {
        self.sessions.retain(|_, until| *until > now);
    }
}

#[async_trait]
impl Presence for Leases {
    async fn online_on(&self, app: &AppId, user: &UserId) -> Vec<Platform> {
        let mut platforms: Vec<_> =
            self.connections(app, user).await.into_iter().map(|connection| connection.platform).collect();
        platforms.sort_unstable();
        platforms.dedup();
        platforms
    }

    async fn connections(&self, app: &AppId, user: &UserId) -> Vec<Connection> {
        let now = self.clock.now();
        let table = self.table.lock();
        let Some(user) = table.users.get(&(app.clone(), user.clone())) else { return Vec::new() };
        let living = user.sessions.iter().filter(|(_, until)| **until > now);
        living
            .map(|((platform, device), _)| Connection { platform: *platform, device: device.clone() })
            .collect()
    }

    async fn came_since(&self, app: &AppId, user: &UserId, at: Timestamp) -> bool {
        let table = self.table.lock();
        let user = table.users.get(&(app.clone(), user.clone()));
        user.and_then(|user| user.came).is_some_and(|came| came >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hands(Mutex<Timestamp>);

    #[async_trait]
    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            *self.0.lock()
        }
        async fn sleep_until(&self, _: Timestamp) {}
    }

    impl Hands {
        fn advance(&self, seconds: u64) {
            let mut now = self.0.lock();
            *now = *now + Duration::from_secs(seconds);
        }
    }

    fn session(platform: Platform, device: Option<&str>) -> Session {
        Session {
            app: AppId::new("demo").unwrap(),
            user: UserId::new("bob").unwrap(),
            platform,
            device: device.map(|id| DeviceId::new(id).unwrap()),
        }
    }

    async fn online(leases: &Leases) -> Vec<Platform> {
        leases.online_on(&AppId::new("demo").unwrap(), &UserId::new("bob").unwrap()).await
    }

    #[tokio::test]
    async fn a_lease_that_is_not_renewed_ends() {
        let clock = Arc::new(Hands(Mutex::new(Timestamp::from_millis(0))));
        let leases = Leases::new(clock.clone());
        leases.online(session(Platform::Web, None), Duration::from_secs(30));
        clock.advance(29);
        assert_eq!(online(&leases).await, [Platform::Web]);
        leases.online(session(Platform::Web, None), Duration::from_secs(30));
        clock.advance(29);
        assert_eq!(online(&leases).await, [Platform::Web], "renewed");
        clock.advance(1);
        assert_eq!(online(&leases).await, []);
    }

    #[tokio::test]
    async fn one_device_that_leaves_takes_no_other_along() {
        let leases = Leases::new(Arc::new(Hands(Mutex::new(Timestamp::from_millis(0)))));
        let lease = Duration::from_secs(30);
        for device in [session(Platform::Web, Some("a")), session(Platform::Web, Some("b"))] {
            leases.online(device, lease);
        }
        leases.online(session(Platform::Ios, None), lease);
        leases.offline(&session(Platform::Web, Some("a")));
        assert_eq!(online(&leases).await, [Platform::Web, Platform::Ios]);
        leases.offline(&session(Platform::Web, None));
        assert_eq!(online(&leases).await, [Platform::Ios]);
    }

    #[tokio::test]
    async fn who_came_is_remembered_for_an_hour_and_a_renewal_is_no_coming() {
        let clock = Arc::new(Hands(Mutex::new(Timestamp::from_millis(0))));
        let leases = Leases::new(clock.clone());
        let (app, bob) = (AppId::new("demo").unwrap(), UserId::new("bob").unwrap());
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        assert!(!leases.came_since(&app, &bob, at(0)).await);
        clock.advance(5);
        leases.online(session(Platform::Web, None), Duration::from_secs(10));
        clock.advance(5);
        leases.online(session(Platform::Web, None), Duration::from_secs(10));
        assert!(leases.came_since(&app, &bob, at(5)).await);
        assert!(!leases.came_since(&app, &bob, at(6)).await, "he was there all the time");
        clock.advance(11);
        leases.online(session(Platform::Web, None), Duration::from_secs(10));
        assert!(leases.came_since(&app, &bob, at(21)).await, "the lease had ended");
        clock.advance(2 * 3600);
        leases.online(
            Session { user: UserId::new("ann").unwrap(), ..session(Platform::Web, None) },
            REMEMBERED,
        );
        assert_eq!(leases.table.lock().users.len(), 1, "bob is forgotten");
    }
}
