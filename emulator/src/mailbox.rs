//! What a device shows, and what the vendor keeps for it while it is offline. The same for all vendors; how long, how much
//! and under which key something is kept, each vendor says with the push.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::event::{What, Why};

/// The longest inbox. Older notifications are forgotten: a load test sends more than memory has room for.
pub(crate) const KEPT: usize = 1000;

/// A notification as the device shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Shown {
    /// The title.
    pub title: String,
    /// The text below.
    pub body: String,
    /// Showing the same tag again takes this one's place.
    pub tag: Option<String>,
    /// Where a click leads.
    pub link: Option<String>,
    /// What the app gets.
    pub data: Map<String, Value>,
    /// Nothing is shown: data for the app alone.
    pub silent: bool,
    /// The number on the app's icon.
    pub badge: Option<u64>,
    /// The sound it makes.
    pub sound: Option<String>,
    /// The conversation it is shown with.
    pub thread: Option<String>,
    /// The device rings, as for a call.
    pub rings: bool,
    /// When it was shown, in milliseconds since 1970.
    pub at_ms: u64,
    /// How often it took the place of one shown before under its tag.
    pub times_replaced: u32,
}

/// What a device does with pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether the app is still there; the vendor refuses its token otherwise.
    pub registered: bool,
    /// Whether pushes reach it; the vendor keeps them otherwise.
    pub online: bool,
    /// Whether notifications are switched off.
    pub muted: bool,
    /// How many pushes the vendor keeps for it.
    pub held: usize,
}

/// A change of a device's state; what is none stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Change {
    /// Whether the app is there.
    pub registered: Option<bool>,
    /// Whether pushes reach it.
    pub online: Option<bool>,
    /// Whether notifications are switched off.
    pub muted: Option<bool>,
}

/// How a push is kept while its device is offline.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold {
    /// Until when, in milliseconds since 1970; none: not at all.
    pub(crate) until_ms: Option<u64>,
    /// It takes the place of one kept under the same key.
    pub(crate) collapse: Option<String>,
    /// How many pushes the vendor keeps for a device.
    pub(crate) most: usize,
    /// How many different keys it keeps for a device.
    pub(crate) most_keys: usize,
}

struct Held {
    shown: Shown,
    until_ms: u64,
    collapse: Option<String>,
}

/// Puts a notification on top, in place of one with the same tag. Whether there was one.
pub(crate) fn show(inbox: &mut VecDeque<Shown>, mut shown: Shown) -> bool {
    let same = |old: &Shown| old.tag.is_some() && old.tag == shown.tag && !old.silent && !shown.silent;
    let place = inbox.iter().position(same);
    if let Some(old) = place.and_then(|place| inbox.remove(place)) {
        shown.times_replaced = old.times_replaced + 1;
    }
    inbox.push_front(shown);
    inbox.truncate(KEPT);
    place.is_some()
}

/// One device's mail.
pub(crate) struct Mailbox {
    device: String,
    inside: Mutex<Inside>,
}

struct Inside {
    registered: bool,
    online: bool,
    muted: bool,
    held: VecDeque<Held>,
    inbox: VecDeque<Shown>,
}

impl Mailbox {
    pub(crate) fn new(device: &str) -> Self {
        let inside = Inside {
            registered: true,
            online: true,
            muted: false,
            held: VecDeque::new(),
            inbox: VecDeque::new(),
        };
        Self { device: device.to_owned(), inside: Mutex::new(inside) }
    }

    pub(crate) fn registered(&self) -> bool {
        self.inside.lock().registered
    }

    pub(crate) fn state(&self) -> State {
        let inside = self.inside.lock();
        let (registered, online, muted) = (inside.registered, inside.online, inside.muted);
        State { registered, online, muted, held: inside.held.len() }
    }

    /// What it shows, newest first.
    pub(crate) fn inbox(&self) -> Vec<Shown> {
        self.inside.lock().inbox.iter().cloned().collect()
    }

    /// Takes a push; what became of it.
    pub(crate) fn put(&self, shown: Shown, hold: Hold, now_ms: u64) -> Vec<What> {
        let mut inside = self.inside.lock();
        if inside.online {
            vec![self.show(&mut inside, shown, now_ms)]
        } else {
            self.hold(&mut inside, shown, hold, now_ms)
        }
    }

    /// Changes its state; what is shown or lost by it.
    pub(crate) fn change(&self, change: &Change, now_ms: u64) -> Vec<What> {
        let mut inside = self.inside.lock();
        let Change { registered, online, muted } = *change;
        inside.registered = registered.unwrap_or(inside.registered);
        inside.online = online.unwrap_or(inside.online);
        inside.muted = muted.unwrap_or(inside.muted);
        if !inside.registered {
            inside.held.clear();
        }
        if !inside.online {
            return Vec::new();
        }
        let held: Vec<_> = inside.held.drain(..).collect();
        let arrive = |one: Held| {
            if one.until_ms <= now_ms {
                self.dropped(Why::Expired)
            } else {
                self.show(&mut inside, one.shown, now_ms)
            }
        };
        held.into_iter().map(arrive).collect()
    }

    fn dropped(&self, why: Why) -> What {
        What::Dropped { device: self.device.clone(), why }
    }

    fn hold(&self, inside: &mut Inside, shown: Shown, hold: Hold, now_ms: u64) -> Vec<What> {
        let Some(until_ms) = hold.until_ms.filter(|until| *until > now_ms) else {
            return vec![self.dropped(Why::Expired)];
        };
        let before = inside.held.len();
        inside.held.retain(|one| hold.collapse.is_none() || one.collapse != hold.collapse);
        let replaced = inside.held.len() < before;
        let mut told = vec![What::Waits { device: self.device.clone(), replaced }];
        inside.held.push_back(Held { shown, until_ms, collapse: hold.collapse });
        let keys = inside.held.iter().filter(|one| one.collapse.is_some()).count();
        if keys > hold.most_keys
            && let Some(oldest) = inside.held.iter().position(|one| one.collapse.is_some())
        {
            inside.held.remove(oldest);
            told.push(self.dropped(Why::Overflow));
        }
        while inside.held.len() > hold.most {
            inside.held.pop_front();
            told.push(self.dropped(Why::Overflow));
        }
        told
    }

    fn show(&self, inside: &mut Inside, mut shown: Shown, now_ms: u64) -> What {
        // What has nothing to show comes to a muted device, too.
        if inside.muted && !shown.silent {
            return self.dropped(Why::Muted);
        }
        shown.at_ms = now_ms;
        let replaced = show(&mut inside.inbox, shown);
        What::Arrived { device: self.device.clone(), replaced }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(title: &str) -> Shown {
        Shown { title: title.to_owned(), ..Shown::default() }
    }

    fn hold(until_ms: u64, collapse: Option<&str>) -> Hold {
        Hold { until_ms: Some(until_ms), collapse: collapse.map(str::to_owned), most: 3, most_keys: 2 }
    }

    fn offline() -> Mailbox {
        let mailbox = Mailbox::new("bob");
        mailbox.change(&Change { online: Some(false), ..Change::default() }, 0);
        mailbox
    }

    fn titles_when_back(mailbox: &Mailbox, now_ms: u64) -> Vec<String> {
        mailbox.change(&Change { online: Some(true), ..Change::default() }, now_ms);
        mailbox.inbox().into_iter().rev().map(|shown| shown.title).collect()
    }

    #[test]
    fn what_is_kept_for_an_offline_device_is_shown_in_order_when_it_is_back() {
        let mailbox = offline();
        for title in ["one", "two"] {
            assert_eq!(
                mailbox.put(titled(title), hold(100, None), 0),
                [What::Waits { device: "bob".to_owned(), replaced: false }]
            );
        }
        assert!(mailbox.inbox().is_empty());
        assert_eq!(titles_when_back(&mailbox, 99), ["one", "two"]);
    }

    #[test]
    fn nothing_is_kept_longer_than_its_time_to_live() {
        let mailbox = offline();
        mailbox.put(titled("short"), hold(100, None), 0);
        mailbox.put(titled("long"), hold(200, None), 0);
        let now_or_never = Hold { until_ms: None, ..hold(0, None) };
        let told = mailbox.put(titled("never"), now_or_never, 0);
        assert_eq!(told, [What::Dropped { device: "bob".to_owned(), why: Why::Expired }]);
        assert_eq!(titles_when_back(&mailbox, 100), ["long"]);
    }

    #[test]
    fn of_what_is_kept_under_one_key_the_newest_is_left() {
        let mailbox = offline();
        mailbox.put(titled("old"), hold(100, Some("k")), 0);
        mailbox.put(titled("apart"), hold(100, None), 0);
        mailbox.put(titled("new"), hold(100, Some("k")), 0);
        assert_eq!(titles_when_back(&mailbox, 1), ["apart", "new"]);
    }

    #[test]
    fn no_more_is_kept_than_the_vendor_keeps_and_the_oldest_goes_first() {
        let mailbox = offline();
        for title in ["one", "two", "three", "four"] {
            mailbox.put(titled(title), hold(100, None), 0);
        }
        assert_eq!(titles_when_back(&mailbox, 1), ["two", "three", "four"]);
        let mailbox = offline();
        for key in ["a", "b", "c"] {
            mailbox.put(titled(key), hold(100, Some(key)), 0);
        }
        assert_eq!(titles_when_back(&mailbox, 1), ["b", "c"]);
    }

    #[test]
    fn a_muted_device_shows_nothing_and_still_gets_its_data() {
        let mailbox = Mailbox::new("bob");
        mailbox.change(&Change { muted: Some(true), ..Change::default() }, 0);
        let told = mailbox.put(titled("hello"), Hold::default(), 0);
        assert_eq!(told, [What::Dropped { device: "bob".to_owned(), why: Why::Muted }]);
        mailbox.put(Shown { silent: true, ..Shown::default() }, Hold::default(), 0);
        assert_eq!(mailbox.inbox().len(), 1);
    }
}
