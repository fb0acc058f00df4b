//! What has happened, numbered, in a bounded log that can be waited on. Devices appear by name; no token, no text of a user.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

use crate::push_crypto::Unreadable;
use crate::webpush::Service;

/// The longest log kept.
const KEPT: usize = 10_000;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// Its number, from 1.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The token endpoint answered.
    Token {
        /// With this status.
        status: u16,
    },
    /// A message was asked to be sent.
    Send {
        /// The answer's status.
        status: u16,
        /// The error code of the answer.
        code: Option<String>,
        /// The device, where the target is known.
        device: Option<String>,
    },
    /// A server has subscribed a device to a topic, or has ended its subscription.
    Topic {
        /// The device.
        device: String,
        /// The topic.
        topic: String,
        /// The device is subscribed from now on.
        subscribed: bool,
    },
    /// A push arrived at a device.
    Arrived {
        /// Which one.
        device: String,
        /// It took the place of a notification shown under the same tag.
        replaced: bool,
    },
    /// A Web Push service answered.
    WebPush {
        /// Which one.
        service: Service,
        /// With this status.
        status: u16,
        /// Why it refused.
        code: Option<String>,
        /// The browser, where the endpoint is known.
        device: Option<String>,
    },
    /// A push waits for a device that is offline.
    Waits {
        /// Which one.
        device: String,
        /// It took the place of a waiting one under the same key or topic.
        replaced: bool,
    },
    /// A push came to a device that could not read it.
    Unreadable {
        /// Which one.
        device: String,
        /// Why not.
        why: Unreadable,
    },
    /// A push will not be shown.
    Dropped {
        /// On which device.
        device: String,
        /// Why not.
        why: Why,
    },
    /// A real browser has registered for an application server.
    Registered {
        /// What the browser is called for that server.
        device: String,
    },
    /// A real browser has its push connection.
    LoggedIn {
        /// Which one.
        device: String,
    },
    /// A real browser has lost its push connection.
    LoggedOut {
        /// Which one.
        device: String,
    },
    /// A fault on demand was applied.
    Fault {
        /// The rule's number.
        rule: u64,
        /// What went wrong.
        effect: &'static str,
    },
    /// A connection was opened.
    Connected {
        /// It speaks HTTP/2.
        http2: bool,
    },
    /// A connection was told to go away.
    Goaway {
        /// The last stream it was told to have been processed.
        last: u32,
    },
    /// The connections were told how many streams they may carry.
    StreamLimit {
        /// How many.
        streams: u32,
    },
    /// A stream over the limit was refused.
    Refused {
        /// Its number.
        stream: u32,
    },
    /// A connection was refused before it carried a request, or ended because the peer broke its protocol.
    ConnectionRefused {
        /// What was wrong with it.
        reason: String,
    },
    /// A request was refused because it broke the protocol, before any service could answer it.
    RequestRefused {
        /// The number of its stream.
        stream: u32,
        /// What was wrong with it.
        reason: &'static str,
    },
    /// An explanation of the refusal before it: which rule of the emulator applied, and how to change it.
    Hint {
        /// The explanation.
        text: String,
    },
}

/// Why a push is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Notifications are switched off on the device.
    Muted,
    /// Its time to live ran out while the device was offline.
    Expired,
    /// More was kept for the device than the vendor keeps.
    Overflow,
    /// The device makes nothing of it.
    Meaningless,
}

#[derive(Default)]
pub(crate) struct Log {
    events: Mutex<(u64, VecDeque<Event>)>,
    rung: Notify,
}

impl Log {
    pub(crate) fn add(&self, at_ms: u64, what: What) {
        {
            let mut events = self.events.lock();
            events.0 += 1;
            let seq = events.0;
            if events.1.len() == KEPT {
                events.1.pop_front();
            }
            events.1.push_back(Event { seq, at_ms, what });
        }
        self.rung.notify_waiters();
    }

    pub(crate) fn after(&self, seq: u64) -> Vec<Event> {
        self.events.lock().1.iter().filter(|event| event.seq > seq).cloned().collect()
    }

    /// The first event that matches, whether it has happened or happens within `patience`.
    pub(crate) async fn wait(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut seen = 0;
        loop {
            let rung = self.rung.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            {
                let events = self.events.lock();
                let mut new = events.1.iter().filter(|event| event.seq > seen);
                if let Some(event) = new.find(|event| wanted(&event.what)) {
                    return Some(event.clone());
                }
                seen = events.0;
            }
            tokio::time::timeout_at(deadline, rung).await.ok()?;
        }
    }
}
