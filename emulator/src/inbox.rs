//! Notifications that a virtual device shows, and pushes that its service stores while it is offline.
//! This part is the same for all services. Each service passes duration, limits and collapse key of the storage with
//! the push.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{DropReason, EventKind};

/// Maximum number of notifications in an inbox. A load test sends more than memory can hold.
pub(crate) const MAX_INBOX: usize = 1000;

/// Notification as the device shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ShownNotification {
    /// Title.
    pub title: String,
    /// Text below the title.
    pub body: String,
    /// Tag. A later notification with the same tag replaces this one.
    pub tag: Option<String>,
    /// URL that a click opens.
    pub link: Option<String>,
    /// Data for the app.
    pub data: Map<String, Value>,
    /// `true` if nothing is shown and only the app gets the data.
    pub silent: bool,
    /// Number on the app's icon.
    pub badge: Option<u64>,
    /// Name of the sound.
    pub sound: Option<String>,
    /// Conversation that groups the notification.
    pub thread: Option<String>,
    /// `true` if the device rings as for a call.
    pub rings: bool,
    /// Time when it was shown, in milliseconds since 1970.
    pub at_ms: u64,
    /// Number of earlier notifications with its tag that were replaced.
    pub times_replaced: u32,
}

/// State of a virtual device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeviceState {
    /// `true` while the app is installed. Otherwise the service refuses its token.
    pub registered: bool,
    /// `true` while the device is connected. Otherwise the service stores its pushes.
    pub online: bool,
    /// `true` if notifications are switched off.
    pub muted: bool,
    /// Number of pushes that the service stores for the device.
    pub held: usize,
}

/// Change of a device's state. Fields that are `None` stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceChange {
    /// `true` if the app is installed.
    pub registered: Option<bool>,
    /// `true` if the device is connected.
    pub online: Option<bool>,
    /// `true` if notifications are switched off.
    pub muted: Option<bool>,
}

/// Storage of a push while its device is offline.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoragePolicy {
    /// Time when it expires, in milliseconds since 1970. `None` means that it is not stored.
    pub(crate) expires_at_ms: Option<u64>,
    /// Key under which it replaces a stored push.
    pub(crate) collapse_key: Option<String>,
    /// Maximum number of stored pushes of a device.
    pub(crate) max_pushes: usize,
    /// Maximum number of different collapse keys of a device.
    pub(crate) max_collapse_keys: usize,
}

struct StoredPush {
    notification: ShownNotification,
    expires_at_ms: u64,
    collapse_key: Option<String>,
}

/// Adds a notification as the newest and removes the one with the same tag. Returns `true` if there was one.
pub(crate) fn show(inbox: &mut VecDeque<ShownNotification>, mut notification: ShownNotification) -> bool {
    let has_same_tag = |old: &ShownNotification| {
        old.tag.is_some() && old.tag == notification.tag && !old.silent && !notification.silent
    };
    let position = inbox.iter().position(has_same_tag);
    if let Some(old) = position.and_then(|position| inbox.remove(position)) {
        notification.times_replaced = old.times_replaced + 1;
    }
    inbox.push_front(notification);
    inbox.truncate(MAX_INBOX);
    position.is_some()
}

/// State, inbox and stored pushes of one virtual device.
pub(crate) struct DeviceInbox {
    device: String,
    inner: Mutex<Inner>,
}

struct Inner {
    registered: bool,
    online: bool,
    muted: bool,
    stored: VecDeque<StoredPush>,
    inbox: VecDeque<ShownNotification>,
}

impl DeviceInbox {
    /// Returns the inbox of a new device: registered, online and not muted.
    pub(crate) fn new(device: &str) -> Self {
        let inner = Inner {
            registered: true,
            online: true,
            muted: false,
            stored: VecDeque::new(),
            inbox: VecDeque::new(),
        };
        Self { device: device.to_owned(), inner: Mutex::new(inner) }
    }

    /// Returns `true` while the app is installed.
    pub(crate) fn is_registered(&self) -> bool {
        self.inner.lock().registered
    }

    pub(crate) fn state(&self) -> DeviceState {
        let inner = self.inner.lock();
        let (registered, online, muted) = (inner.registered, inner.online, inner.muted);
        DeviceState { registered, online, muted, held: inner.stored.len() }
    }

    /// Returns the shown notifications, newest first.
    pub(crate) fn notifications(&self) -> Vec<ShownNotification> {
        self.inner.lock().inbox.iter().cloned().collect()
    }

    /// Delivers a push, or stores it while the device is offline. Returns the events to record.
    pub(crate) fn deliver(
        &self,
        notification: ShownNotification,
        policy: StoragePolicy,
        now_ms: u64,
    ) -> Vec<EventKind> {
        let mut inner = self.inner.lock();
        if inner.online {
            vec![self.show(&mut inner, notification, now_ms)]
        } else {
            self.store(&mut inner, notification, policy, now_ms)
        }
    }

    /// Changes the state of the device. Returns the events of the pushes that are shown or dropped because of it.
    pub(crate) fn change(&self, change: &DeviceChange, now_ms: u64) -> Vec<EventKind> {
        let mut inner = self.inner.lock();
        let DeviceChange { registered, online, muted } = *change;
        inner.registered = registered.unwrap_or(inner.registered);
        inner.online = online.unwrap_or(inner.online);
        inner.muted = muted.unwrap_or(inner.muted);
        if !inner.registered {
            inner.stored.clear();
        }
        if !inner.online {
            return Vec::new();
        }
        let stored: Vec<_> = inner.stored.drain(..).collect();
        let deliver = |push: StoredPush| {
            if push.expires_at_ms <= now_ms {
                self.dropped(DropReason::Expired)
            } else {
                self.show(&mut inner, push.notification, now_ms)
            }
        };
        stored.into_iter().map(deliver).collect()
    }

    fn dropped(&self, why: DropReason) -> EventKind {
        EventKind::Dropped { device: self.device.clone(), why }
    }

    /// Stores a push and drops those above the limits of its policy. Returns the events to record.
    fn store(
        &self,
        inner: &mut Inner,
        notification: ShownNotification,
        policy: StoragePolicy,
        now_ms: u64,
    ) -> Vec<EventKind> {
        let Some(expires_at_ms) = policy.expires_at_ms.filter(|expires_at| *expires_at > now_ms) else {
            return vec![self.dropped(DropReason::Expired)];
        };
        let old_length = inner.stored.len();
        inner.stored.retain(|push| policy.collapse_key.is_none() || push.collapse_key != policy.collapse_key);
        let replaced = inner.stored.len() < old_length;
        let mut events = vec![EventKind::Waits { device: self.device.clone(), replaced }];
        inner.stored.push_back(StoredPush { notification, expires_at_ms, collapse_key: policy.collapse_key });
        let keys = inner.stored.iter().filter(|push| push.collapse_key.is_some()).count();
        if keys > policy.max_collapse_keys
            && let Some(oldest) = inner.stored.iter().position(|push| push.collapse_key.is_some())
        {
            inner.stored.remove(oldest);
            events.push(self.dropped(DropReason::Overflow));
        }
        while inner.stored.len() > policy.max_pushes {
            inner.stored.pop_front();
            events.push(self.dropped(DropReason::Overflow));
        }
        events
    }

    /// Shows a notification, unless the device is muted. Returns the event to record.
    fn show(&self, inner: &mut Inner, mut notification: ShownNotification, now_ms: u64) -> EventKind {
        // A muted device still gets pushes that show nothing.
        if inner.muted && !notification.silent {
            return self.dropped(DropReason::Muted);
        }
        notification.at_ms = now_ms;
        let replaced = show(&mut inner.inbox, notification);
        EventKind::Arrived { device: self.device.clone(), replaced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(title: &str) -> ShownNotification {
        ShownNotification { title: title.to_owned(), ..ShownNotification::default() }
    }

    fn policy(expires_at_ms: u64, collapse_key: Option<&str>) -> StoragePolicy {
        StoragePolicy {
            expires_at_ms: Some(expires_at_ms),
            collapse_key: collapse_key.map(str::to_owned),
            max_pushes: 3,
            max_collapse_keys: 2,
        }
    }

    fn offline() -> DeviceInbox {
        let inbox = DeviceInbox::new("bob");
        inbox.change(&DeviceChange { online: Some(false), ..DeviceChange::default() }, 0);
        inbox
    }

    fn titles_when_online(inbox: &DeviceInbox, now_ms: u64) -> Vec<String> {
        inbox.change(&DeviceChange { online: Some(true), ..DeviceChange::default() }, now_ms);
        inbox.notifications().into_iter().rev().map(|shown| shown.title).collect()
    }

    #[test]
    fn pushes_stored_for_an_offline_device_are_shown_in_order_when_it_is_online() {
        let inbox = offline();
        for title in ["one", "two"] {
            assert_eq!(
                inbox.deliver(titled(title), policy(100, None), 0),
                [EventKind::Waits { device: "bob".to_owned(), replaced: false }]
            );
        }
        assert!(inbox.notifications().is_empty());
        assert_eq!(titles_when_online(&inbox, 99), ["one", "two"]);
    }

    #[test]
    fn a_stored_push_expires_with_its_time_to_live() {
        let inbox = offline();
        inbox.deliver(titled("short"), policy(100, None), 0);
        inbox.deliver(titled("long"), policy(200, None), 0);
        let now_or_never = StoragePolicy { expires_at_ms: None, ..policy(0, None) };
        let events = inbox.deliver(titled("never"), now_or_never, 0);
        assert_eq!(events, [EventKind::Dropped { device: "bob".to_owned(), why: DropReason::Expired }]);
        assert_eq!(titles_when_online(&inbox, 100), ["long"]);
    }

    #[test]
    fn a_push_replaces_the_stored_one_with_its_collapse_key() {
        let inbox = offline();
        inbox.deliver(titled("old"), policy(100, Some("k")), 0);
        inbox.deliver(titled("apart"), policy(100, None), 0);
        inbox.deliver(titled("new"), policy(100, Some("k")), 0);
        assert_eq!(titles_when_online(&inbox, 1), ["apart", "new"]);
    }

    #[test]
    fn pushes_and_collapse_keys_are_limited_and_the_oldest_is_dropped_first() {
        let inbox = offline();
        for title in ["one", "two", "three", "four"] {
            inbox.deliver(titled(title), policy(100, None), 0);
        }
        assert_eq!(titles_when_online(&inbox, 1), ["two", "three", "four"]);
        let inbox = offline();
        for key in ["a", "b", "c"] {
            inbox.deliver(titled(key), policy(100, Some(key)), 0);
        }
        assert_eq!(titles_when_online(&inbox, 1), ["b", "c"]);
    }

    #[test]
    fn a_muted_device_shows_nothing_and_still_gets_data() {
        let inbox = DeviceInbox::new("bob");
        inbox.change(&DeviceChange { muted: Some(true), ..DeviceChange::default() }, 0);
        let events = inbox.deliver(titled("hello"), StoragePolicy::default(), 0);
        assert_eq!(events, [EventKind::Dropped { device: "bob".to_owned(), why: DropReason::Muted }]);
        inbox.deliver(
            ShownNotification { silent: true, ..ShownNotification::default() },
            StoragePolicy::default(),
            0,
        );
        assert_eq!(inbox.notifications().len(), 1);
    }
}
