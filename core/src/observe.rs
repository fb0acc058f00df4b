//! Events of the gateway for observers. Observers must be fast and must not block.

use crate::device_event::DeviceEvent;
use crate::fault::Fault;
use crate::ids::{AppId, ChannelName, DeviceId, NotificationId};
use crate::queue::Quarantined;
use crate::receipt::Receipt;
use crate::timestamp::Timestamp;

/// Event in the gateway. Carries no token and no text of a user.
#[derive(Debug, Clone)]
pub enum Event {
    /// A notification was planned.
    Planned {
        /// Id of the notification.
        id: NotificationId,
        /// Number of addresses that it is sent to.
        accepted: usize,
        /// Number of users and devices in the audience that get no push.
        skipped: usize,
        /// Time of planning.
        at: Timestamp,
    },
    /// A notification is on stable storage.
    Stored {
        /// Id of the notification.
        id: NotificationId,
        /// Time at which it was stored.
        at: Timestamp,
    },
    /// The delivery status of one recipient changed.
    Receipt {
        /// Id of the notification.
        id: NotificationId,
        /// App of the notification.
        app: AppId,
        /// Current status.
        receipt: Receipt,
    },
    /// A device reported an event for the first time.
    DeviceEvent {
        /// Id of the notification.
        id: NotificationId,
        /// App of the notification.
        app: AppId,
        /// Kind of the device event.
        event: DeviceEvent,
        /// Index of the recipient within the notification.
        index: u32,
        /// Status of the recipient. `None` if the event came before the push service's response was stored.
        receipt: Option<Receipt>,
    },
    /// A dead address was pruned.
    Pruned {
        /// App of the address.
        app: AppId,
        /// Device of the address. `None` if it had none.
        device: Option<DeviceId>,
        /// Channel of the address.
        channel: ChannelName,
    },
    /// A stored row could not be decoded and was set aside. Other rows are not affected.
    Quarantined {
        /// Row that was set aside.
        row: Quarantined,
    },
    /// The address of a device was replaced by a caller who knew the old one
    /// ([`Gateway::rotate`](crate::Gateway::rotate)).
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
    /// Each alarm sends two events, one when it opens and one when it closes, however many pushes it concerns.
    Alarm {
        /// App of the lane.
        app: AppId,
        /// Channel of the lane.
        channel: ChannelName,
        /// First fault of the alarm.
        fault: Fault,
        /// Start or end of the alarm.
        state: AlarmState,
    },
}

/// Start or end of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlarmState {
    /// The problem begins.
    Opened,
    /// The problem is over.
    Closed,
}

/// Observer of the gateway's events.
pub trait Observer: Send + Sync + 'static {
    /// Receives every event. The events of one notification come in the order in which they happen.
    fn on_event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, event: &Event) {
        self(event);
    }
}
