//! What the gateway tells whoever wants to know: one trait, called in passing. Observers must be quick and must not block.

use crate::echo::Echo;
use crate::fault::Fault;
use crate::queue::Quarantined;
use crate::receipt::Receipt;
use crate::words::{AppId, ChannelName, DeviceId, NotificationId, Timestamp};

/// Something that happened. Carries no token and no text of a user.
#[derive(Debug, Clone)]
pub enum Event {
    /// A notification was planned: so many addresses, so many of the audience skipped.
    Planned {
        /// Which one.
        id: NotificationId,
        /// Addresses it goes to.
        accepted: usize,
        /// Left out.
        skipped: usize,
        /// When.
        at: Timestamp,
    },
    /// A notification is on stable storage.
    Stored {
        /// Which one.
        id: NotificationId,
        /// When.
        at: Timestamp,
    },
    /// Something new is known about one address of a notification.
    Receipt {
        /// Of which notification.
        id: NotificationId,
        /// Of which app.
        app: AppId,
        /// What.
        receipt: Receipt,
    },
    /// A device told something new of a notification.
    Echo {
        /// Of which notification.
        id: NotificationId,
        /// Of which app.
        app: AppId,
        /// What it told.
        echo: Echo,
        /// The number of its target within the notification.
        index: u32,
        /// All that is known of it there; none when it came before the vendor's answer was kept.
        receipt: Option<Receipt>,
    },
    /// A dead address was forgotten.
    Pruned {
        /// Of which app.
        app: AppId,
        /// Of which device, where there is one.
        device: Option<DeviceId>,
        /// On which channel.
        channel: ChannelName,
    },
    /// A stored row could not be decoded and was set aside. The rows beside it go on.
    Quarantined {
        /// The row.
        row: Quarantined,
    },
    /// The address of a device was replaced by somebody who knew the old one ([`Gateway::rotate`](crate::Gateway::rotate)).
    Rotated {
        /// App of the device.
        app: AppId,
        /// Device whose address was replaced.
        device: DeviceId,
        /// Channel of the address.
        channel: ChannelName,
        /// Time of the rotation.
        at: Timestamp,
    },
    /// An operator should act: the push service refuses credentials or tokens, or too many addresses died at once.
    /// Each episode is told twice, when it opens and when it closes, however many pushes it concerns.
    Alarm {
        /// Of which app.
        app: AppId,
        /// On which channel.
        channel: ChannelName,
        /// What is wrong: the first fault of the episode.
        fault: Fault,
        /// Start or end of the episode.
        state: AlarmState,
    },
}

/// Start or end of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlarmState {
    /// Something is wrong since now.
    Opened,
    /// It is right again.
    Closed,
}

/// Wants to know.
pub trait Observer: Send + Sync + 'static {
    /// Called for every event, in the order of each notification's own life.
    fn saw(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn saw(&self, event: &Event) {
        self(event);
    }
}
