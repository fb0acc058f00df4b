//! Recent withdrawals, for the deliveries in memory. Those in the queue are withdrawn by the queue itself.
//!
//! Withdrawals are indexed by app and by notification or collapse key, so that the cost of a lookup does not depend on
//! their number. They are bounded by age and number. For a delivery older than a forgotten withdrawal, the queue must be
//! asked.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::delivery::{Message, Target};
use crate::ids::{AppId, NotificationId, UserId};
use crate::queue::{WithdrawFilter, Withdrawal};
use crate::timestamp::Timestamp;

/// Time for which a withdrawal is remembered. Only deliveries of a paused lane are in memory for longer.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Maximum number of remembered entries, one for each user of a collapse key. They take about 10 MB.
const MAX_ENTRIES: usize = 100_000;

/// Recent withdrawals.
#[derive(Default)]
pub(super) struct Withdrawals {
    apps: HashMap<AppId, AppWithdrawals>,
    /// Oldest first.
    order: VecDeque<(Timestamp, AppId, Entry)>,
    /// Time of the latest withdrawal that was forgotten. `None` means that none was.
    forgotten: Option<Timestamp>,
}

/// Withdrawals of one app.
#[derive(Default)]
struct AppWithdrawals {
    /// Times of the withdrawals by notification.
    ids: HashMap<NotificationId, Timestamp>,
    /// Withdrawals by collapse key and user.
    tags: HashMap<String, HashMap<UserId, TagWithdrawal>>,
}

/// Withdrawal of one user's notifications under a collapse key.
struct TagWithdrawal {
    /// Only notifications with a smaller id are withdrawn.
    before: NotificationId,
    at: Timestamp,
}

/// Key of a remembered entry.
enum Entry {
    Id(NotificationId),
    Tag(String, UserId),
}

impl Withdrawals {
    /// Remembers a withdrawal, and forgets those beyond [`MAX_AGE`] and [`MAX_ENTRIES`].
    pub(super) fn insert(&mut self, withdrawal: Withdrawal) {
        let Withdrawal { app, filter, at } = withdrawal;
        let app_withdrawals = self.apps.entry(app.clone()).or_default();
        match filter {
            WithdrawFilter::Id(id) => {
                app_withdrawals.ids.insert(id, at);
                self.order.push_back((at, app, Entry::Id(id)));
            }
            WithdrawFilter::Tag { tag, users, before } => {
                let by_user = app_withdrawals.tags.entry(tag.clone()).or_default();
                for user in users {
                    let withdrawal = by_user.entry(user.clone()).or_insert(TagWithdrawal { before, at });
                    withdrawal.before = withdrawal.before.max(before);
                    withdrawal.at = at;
                    self.order.push_back((at, app.clone(), Entry::Tag(tag.clone(), user)));
                }
            }
        }
        self.forget(at);
    }

    /// Returns `true` if this message is withdrawn for the target.
    pub(super) fn contains(&self, message: &Message, target: &Target) -> bool {
        let Some(app_withdrawals) = self.apps.get(&message.app) else { return false };
        let by_tag = || {
            let by_user = app_withdrawals.tags.get(message.collapse_key.as_ref()?)?;
            // Ids are ordered by time.
            Some(message.id < by_user.get(target.user.as_ref()?)?.before)
        };
        app_withdrawals.ids.contains_key(&message.id) || by_tag().unwrap_or(false)
    }

    /// Returns `true` if a withdrawal of this message may have been forgotten.
    ///
    /// Deliveries enter memory after their message was created. A delivery withdrawn before that never enters memory.
    pub(super) fn may_have_forgotten(&self, message: &Message) -> bool {
        self.forgotten.is_some_and(|at| message.created_at <= at)
    }

    /// Forgets the withdrawals beyond [`MAX_AGE`] and [`MAX_ENTRIES`].
    fn forget(&mut self, now: Timestamp) {
        while let Some((at, _, _)) = self.order.front()
            && (self.order.len() > MAX_ENTRIES || now.since(*at) > MAX_AGE)
        {
            let Some((at, app, entry)) = self.order.pop_front() else { return };
            self.forgotten = self.forgotten.max(Some(at));
            self.remove(at, &app, &entry);
        }
    }

    /// Removes an entry, unless a later withdrawal has renewed it.
    fn remove(&mut self, at: Timestamp, app: &AppId, entry: &Entry) {
        let Some(app_withdrawals) = self.apps.get_mut(app) else { return };
        match entry {
            Entry::Id(id) => {
                if app_withdrawals.ids.get(id) == Some(&at) {
                    app_withdrawals.ids.remove(id);
                }
            }
            Entry::Tag(tag, user) => {
                if let Some(by_user) = app_withdrawals.tags.get_mut(tag) {
                    if by_user.get(user).is_some_and(|by_tag| by_tag.at == at) {
                        by_user.remove(user);
                    }
                    if by_user.is_empty() {
                        app_withdrawals.tags.remove(tag);
                    }
                }
            }
        }
        if app_withdrawals.ids.is_empty() && app_withdrawals.tags.is_empty() {
            self.apps.remove(app);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Address, TokenKind};
    use crate::ids::ChannelName;
    use crate::timestamp::Timestamp;

    const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn app(name: &str) -> AppId {
        AppId::new(name).unwrap()
    }

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn message(app_name: &str, tag: &str) -> Message {
        let message = Message::new(NotificationId::new(), app(app_name), T0);
        Message { collapse_key: Some(tag.to_owned()), ..message }
    }

    fn target(name: &str) -> Target {
        let channel = ChannelName::new("way").unwrap();
        let address = Address { channel, kind: TokenKind::Token, token: "t".into() };
        Target { user: Some(user(name)), ..Target::bare(0, address) }
    }

    fn by_tag(app_name: &str, tag: &str, at: Timestamp) -> Withdrawal {
        let filter = WithdrawFilter::Tag {
            tag: tag.to_owned(),
            users: vec![user("ann")],
            before: NotificationId::new(),
        };
        Withdrawal { app: app(app_name), filter, at }
    }

    #[test]
    fn a_withdrawal_affects_only_earlier_messages_of_its_app_key_and_user() {
        let mut withdrawals = Withdrawals::default();
        let earlier = message("demo", "call");
        withdrawals.insert(by_tag("demo", "call", T0));
        assert!(withdrawals.contains(&earlier, &target("ann")));
        assert!(!withdrawals.contains(&earlier, &target("bob")));
        assert!(!withdrawals.contains(&message("demo", "call"), &target("ann")), "it came later");
        let other = |app_name: &str, tag: &str| {
            let message = message(app_name, tag);
            Message { id: earlier.id, ..message }
        };
        assert!(!withdrawals.contains(&other("demo", "another"), &target("ann")));
        assert!(!withdrawals.contains(&other("another", "call"), &target("ann")));
        let filter = WithdrawFilter::Id(earlier.id);
        withdrawals.insert(Withdrawal { app: app("another"), filter: filter.clone(), at: T0 });
        assert!(!withdrawals.contains(&other("demo", "x"), &target("bob")), "of another app");
        withdrawals.insert(Withdrawal { app: app("demo"), filter, at: T0 });
        assert!(withdrawals.contains(&other("demo", "x"), &target("bob")));
    }

    #[test]
    fn an_old_withdrawal_is_forgotten_and_deliveries_of_its_time_ask_the_queue() {
        let mut withdrawals = Withdrawals::default();
        let old = message("demo", "call");
        withdrawals.insert(by_tag("demo", "call", T0));
        assert!(!withdrawals.may_have_forgotten(&old));
        let later = T0 + MAX_AGE + Duration::from_millis(1);
        withdrawals.insert(by_tag("another", "call", later));
        assert_eq!((withdrawals.apps.len(), withdrawals.order.len()), (1, 1));
        assert!(!withdrawals.contains(&old, &target("ann")));
        assert!(withdrawals.may_have_forgotten(&old));
        assert!(!withdrawals.may_have_forgotten(&Message { created_at: later, ..old }));
    }

    #[test]
    fn a_repeated_withdrawal_is_remembered_as_long_as_the_latest_one() {
        let mut withdrawals = Withdrawals::default();
        let old = message("demo", "call");
        withdrawals.insert(by_tag("demo", "call", T0));
        withdrawals.insert(by_tag("demo", "call", T0 + MAX_AGE));
        withdrawals.insert(by_tag("another", "call", T0 + MAX_AGE + Duration::from_millis(1)));
        assert!(withdrawals.contains(&old, &target("ann")));
    }

    #[test]
    fn the_number_of_remembered_withdrawals_is_bounded() {
        let mut withdrawals = Withdrawals::default();
        for number in 0..MAX_ENTRIES + 5 {
            withdrawals.insert(by_tag("demo", &number.to_string(), T0));
        }
        assert_eq!(withdrawals.order.len(), MAX_ENTRIES);
        assert_eq!(
            withdrawals.apps.values().map(|app_withdrawals| app_withdrawals.tags.len()).sum::<usize>(),
            MAX_ENTRIES
        );
        assert!(withdrawals.may_have_forgotten(&message("demo", "0")));
    }
}
