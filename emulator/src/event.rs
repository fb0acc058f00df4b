//! Event log: numbered events in a bounded buffer that callers can wait on. Events name devices, and hold no token and
//! no text of a user.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use crate::push_crypto::DecryptionError;
use crate::services::web_push::WebPushService;

/// Maximum number of logged events. The oldest ones are dropped first.
const MAX_EVENTS: usize = 10_000;

/// Entry of the event log.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Number of the event, counted from 1.
    pub seq: u64,
    /// Time of the event, in milliseconds since 1970.
    pub at_ms: u64,
    /// Kind of the event and its details.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kind of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The token endpoint responded.
    Token {
        /// HTTP status of the response.
        status: u16,
    },
    /// The endpoint for messages responded.
    Send {
        /// HTTP status of the response.
        status: u16,
        /// Error code of the response.
        code: Option<String>,
        /// Addressed device. `None` if it is unknown.
        device: Option<String>,
    },
    /// A server subscribed a device to a topic, or ended the subscription.
    Topic {
        /// Name of the device.
        device: String,
        /// Name of the topic.
        topic: String,
        /// `true` if the device is subscribed from now on.
        subscribed: bool,
    },
    /// A push arrived at a device.
    Arrived {
        /// Name of the device.
        device: String,
        /// `true` if it replaced a notification with the same tag.
        replaced: bool,
    },
    /// A Web Push service responded.
    WebPush {
        /// The service.
        service: WebPushService,
        /// With this status.
        status: u16,
        /// Reason of the refusal. `None` if the push was accepted.
        code: Option<String>,
        /// Name of the browser. `None` if the endpoint is unknown.
        device: Option<String>,
    },
    /// A push is stored for a device that is offline.
    Waits {
        /// Name of the device.
        device: String,
        /// `true` if it replaced a stored push with the same collapse key or topic.
        replaced: bool,
    },
    /// A push reached a device that could not decrypt it.
    Unreadable {
        /// Name of the device.
        device: String,
        /// Reason of the failure.
        why: DecryptionError,
    },
    /// A push was discarded and will not be shown.
    Dropped {
        /// Name of the device.
        device: String,
        /// Reason for discarding it.
        why: DropReason,
    },
    /// A real browser registered for an application server.
    Registered {
        /// Name of the browser for that application server.
        device: String,
    },
    /// A real browser opened its push connection.
    LoggedIn {
        /// Name of the device.
        device: String,
    },
    /// The push connection of a real browser ended.
    LoggedOut {
        /// Name of the device.
        device: String,
    },
    /// A fault was injected.
    Fault {
        /// Number of the fault rule.
        rule: u64,
        /// Name of the effect.
        effect: &'static str,
    },
    /// A connection was opened.
    Connected {
        /// `true` for HTTP/2, `false` for HTTP/1.1.
        http2: bool,
    },
    /// GOAWAY was sent on a connection.
    Goaway {
        /// Last stream id of the GOAWAY.
        last: u32,
    },
    /// A new limit of concurrent streams was announced to all connections.
    StreamLimit {
        /// The limit.
        streams: u32,
    },
    /// A stream above the limit was refused.
    Refused {
        /// Id of the stream.
        stream: u32,
    },
    /// A connection was refused before its first request, or ended because the peer violated the protocol.
    ConnectionRefused {
        /// Explanation for humans.
        reason: String,
    },
    /// A request was refused because it violated the protocol. No service processed it.
    RequestRefused {
        /// Id of the stream.
        stream: u32,
        /// Explanation for humans.
        reason: &'static str,
    },
    /// Explanation of the refusal before it: which rule of the emulator applied, and how to change the rule.
    Hint {
        /// Text of the explanation.
        text: String,
    },
}

/// Reason why a push is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Notifications are switched off on the device.
    Muted,
    /// The time to live ended while the device was offline.
    Expired,
    /// The service already stored its maximum of pushes for the device.
    Overflow,
    /// The device ignores a push of this content.
    Meaningless,
}

/// Event log of one push service.
#[derive(Default)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    appended: Notify,
}

#[derive(Default)]
struct Entries {
    last_seq: u64,
    events: VecDeque<Event>,
}

impl Log {
    /// Appends an event and wakes all waiting callers.
    pub(crate) fn append(&self, at_ms: u64, kind: EventKind) {
        {
            let mut entries = self.entries.lock();
            entries.last_seq += 1;
            let seq = entries.last_seq;
            if entries.events.len() == MAX_EVENTS {
                entries.events.pop_front();
            }
            entries.events.push_back(Event { seq, at_ms, kind });
        }
        self.appended.notify_waiters();
    }

    /// Returns the events with a number above `seq`.
    pub(crate) fn after(&self, seq: u64) -> Vec<Event> {
        self.entries.lock().events.iter().filter(|event| event.seq > seq).cloned().collect()
    }

    /// Returns the first logged or future event that matches. `None` if there is none within `timeout`.
    pub(crate) async fn wait(
        &self,
        matches: impl Fn(&EventKind) -> bool,
        timeout: Duration,
    ) -> Option<Event> {
        let deadline = tokio::time::Instant::now() + timeout;
        let mut last_seen = 0;
        loop {
            let appended = self.appended.notified();
            tokio::pin!(appended);
            // Enabled before the log is read, so that no event in between is missed.
            appended.as_mut().enable();
            {
                let entries = self.entries.lock();
                let mut unseen = entries.events.iter().filter(|event| event.seq > last_seen);
                if let Some(event) = unseen.find(|event| matches(&event.kind)) {
                    return Some(event.clone());
                }
                last_seen = entries.last_seq;
            }
            tokio::time::timeout_at(deadline, appended).await.ok()?;
        }
    }
}
