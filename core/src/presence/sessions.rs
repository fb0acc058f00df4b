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
const LAST_START_RETENTION: Duration = Duration::from_secs(3600);
/// Interval at which users without a session are removed from memory.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// Presence sessions of users in memory.
pub struct Sessions {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    users: HashMap<(AppId, UserId), User>,
    next_cleanup_at: Option<Timestamp>,
}

#[derive(Default)]
struct User {
    /// Sessions with their expiry.
    sessions: HashMap<(Platform, Option<DeviceId>), Timestamp>,
    /// Start of the last new session.
    last_started_at: Option<Timestamp>,
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

impl Sessions {
    /// Creates an empty set of sessions.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, table: Mutex::default() }
    }

    /// Starts or renews a session. It expires after `expires_after` from now, whatever its earlier expiry.
    pub fn renew(&self, session: Session, expires_after: Duration) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        table.remove_offline_users(now);
        let user = table.users.entry((session.app, session.user)).or_default();
        user.remove_expired(now);
        let known = user.sessions.insert((session.platform, session.device), now + expires_after);
        if known.is_none() {
            user.last_started_at = Some(now);
        }
    }

    /// Ends a session. Without a device, ends every session of the user on the platform.
    pub fn end(&self, session: &Session) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        table.remove_offline_users(now);
        if let Some(user) = table.users.get_mut(&(session.app.clone(), session.user.clone())) {
            user.sessions.retain(|(platform, device), _| {
                *platform != session.platform || (session.device.is_some() && *device != session.device)
            });
        }
    }
}

impl Table {
    fn remove_offline_users(&mut self, now: Timestamp) {
        if self.next_cleanup_at.is_some_and(|at| at > now) {
            return;
        }
        self.next_cleanup_at = Some(now + CLEANUP_INTERVAL);
        self.users.retain(|_, user| {
            user.remove_expired(now);
            !user.sessions.is_empty()
                || user
                    .last_started_at
                    .is_some_and(|last_started_at| last_started_at + LAST_START_RETENTION > now)
        });
    }
}

impl User {
    /// Removes expired sessions.
    fn remove_expired(&mut self, now: Timestamp) {
        self.sessions.retain(|_, expires_at| *expires_at > now);
    }
}

#[async_trait]
impl Presence for Sessions {
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
        let live = user.sessions.iter().filter(|(_, expires_at)| **expires_at > now);
        live.map(|((platform, device), _)| Connection { platform: *platform, device: device.clone() })
            .collect()
    }

    async fn has_connected_since(&self, app: &AppId, user: &UserId, at: Timestamp) -> bool {
        let table = self.table.lock();
        let user = table.users.get(&(app.clone(), user.clone()));
        user.and_then(|user| user.last_started_at).is_some_and(|last_started_at| last_started_at >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ManualClock(Mutex<Timestamp>);

    #[async_trait]
    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            *self.0.lock()
        }
        async fn sleep_until(&self, _: Timestamp) {}
    }

    impl ManualClock {
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

    async fn online(sessions: &Sessions) -> Vec<Platform> {
        sessions.online_on(&AppId::new("demo").unwrap(), &UserId::new("bob").unwrap()).await
    }

    #[tokio::test]
    async fn a_session_that_is_not_renewed_ends() {
        let clock = Arc::new(ManualClock(Mutex::new(Timestamp::from_millis(0))));
        let sessions = Sessions::new(clock.clone());
        sessions.renew(session(Platform::Web, None), Duration::from_secs(30));
        clock.advance(29);
        assert_eq!(online(&sessions).await, [Platform::Web]);
        sessions.renew(session(Platform::Web, None), Duration::from_secs(30));
        clock.advance(29);
        assert_eq!(online(&sessions).await, [Platform::Web], "renewed");
        clock.advance(1);
        assert_eq!(online(&sessions).await, []);
    }

    #[tokio::test]
    async fn ending_the_session_of_one_device_keeps_those_of_others() {
        let sessions = Sessions::new(Arc::new(ManualClock(Mutex::new(Timestamp::from_millis(0)))));
        let expires_after = Duration::from_secs(30);
        for device in [session(Platform::Web, Some("a")), session(Platform::Web, Some("b"))] {
            sessions.renew(device, expires_after);
        }
        sessions.renew(session(Platform::Ios, None), expires_after);
        sessions.end(&session(Platform::Web, Some("a")));
        assert_eq!(online(&sessions).await, [Platform::Web, Platform::Ios]);
        sessions.end(&session(Platform::Web, None));
        assert_eq!(online(&sessions).await, [Platform::Ios]);
    }

    #[tokio::test]
    async fn a_new_session_is_remembered_for_an_hour_and_a_renewal_is_no_new_session() {
        let clock = Arc::new(ManualClock(Mutex::new(Timestamp::from_millis(0))));
        let sessions = Sessions::new(clock.clone());
        let (app, bob) = (AppId::new("demo").unwrap(), UserId::new("bob").unwrap());
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        assert!(!sessions.has_connected_since(&app, &bob, at(0)).await);
        clock.advance(5);
        sessions.renew(session(Platform::Web, None), Duration::from_secs(10));
        clock.advance(5);
        sessions.renew(session(Platform::Web, None), Duration::from_secs(10));
        assert!(sessions.has_connected_since(&app, &bob, at(5)).await);
        assert!(!sessions.has_connected_since(&app, &bob, at(6)).await, "he was online all the time");
        clock.advance(11);
        sessions.renew(session(Platform::Web, None), Duration::from_secs(10));
        assert!(sessions.has_connected_since(&app, &bob, at(21)).await, "the session had expired");
        clock.advance(2 * 3600);
        sessions.renew(
            Session { user: UserId::new("ann").unwrap(), ..session(Platform::Web, None) },
            LAST_START_RETENTION,
        );
        assert_eq!(sessions.table.lock().users.len(), 1, "bob is forgotten");
    }
}
