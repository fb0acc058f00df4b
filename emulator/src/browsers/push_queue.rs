//! Queue of pushes for one device. A push stays until the device acknowledges it, across connections, or until it
//! expires.

/// Identification of a registration, as the device sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistrationKey {
    /// `sender` of the registration. For Web Push it is the VAPID key.
    pub(crate) sender: String,
    /// `app` of the registration.
    pub(crate) app: String,
    /// `X-subtype` of the registration. Empty if there is none.
    pub(crate) subtype: String,
}

/// Push in the queue of a device.
#[derive(Clone)]
pub(crate) struct QueuedPush {
    pub(super) registration: RegistrationKey,
    pub(super) persistent_id: String,
    pub(super) topic: Option<String>,
    /// Headers that describe the encryption of the body.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Encrypted body. `None` for a push without data.
    pub(super) body: Option<Vec<u8>>,
    /// Time to live, in seconds.
    pub(super) ttl: u64,
    /// Time when it was queued, in milliseconds since 1970.
    pub(super) sent_ms: u64,
    /// Name of the device, in events.
    pub(super) device: String,
}

/// Queued push with its state on the current connection.
struct Entry {
    push: QueuedPush,
    /// Number of the frame that carried it on the current connection. `None` if it was not sent there.
    frame: Option<u64>,
}

impl Entry {
    fn is_expired(&self, now_ms: u64) -> bool {
        let QueuedPush { sent_ms, ttl, .. } = self.push;
        // A push that was sent on the current connection never expires.
        self.frame.is_none() && sent_ms.saturating_add(ttl.saturating_mul(1000)) < now_ms
    }
}

/// Result of queuing a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EnqueueResult {
    /// It is in the queue.
    Queued { replaced: bool },
    /// It was dropped: the device is offline and the time to live is 0.
    Dropped,
}

/// Maximum number of queued pushes of one device. FCM stores 100.
const MAX_QUEUED: usize = 100;

/// Queued pushes of one device, oldest first.
#[derive(Default)]
pub(super) struct PushQueue {
    entries: Vec<Entry>,
}

/// Connectivity of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connectivity {
    Online,
    Offline,
}

impl PushQueue {
    /// Queues a push. It replaces a push with the same topic that is not sent yet.
    pub(super) fn enqueue(&mut self, push: QueuedPush, connectivity: Connectivity) -> EnqueueResult {
        if push.ttl == 0 && connectivity == Connectivity::Offline {
            return EnqueueResult::Dropped;
        }
        let is_replaced = |old: &Entry| {
            let same_topic = old.push.topic == push.topic && old.push.registration == push.registration;
            old.frame.is_none() && push.topic.is_some() && same_topic
        };
        let position = self.entries.iter().position(is_replaced);
        if let Some(position) = position {
            self.entries.remove(position);
        }
        if self.entries.len() == MAX_QUEUED {
            self.entries.remove(0);
        }
        self.entries.push(Entry { push, frame: None });
        EnqueueResult::Queued { replaced: position.is_some() }
    }

    /// Prepares the queue for a new connection. Pushes that the device has received are removed, all others are to be
    /// sent again.
    /// Returns the device names of the removed pushes.
    pub(super) fn reconnect(&mut self, received: &[String]) -> Vec<String> {
        let acknowledged = self.acknowledge_ids(received);
        self.entries.iter_mut().for_each(|entry| entry.frame = None);
        acknowledged
    }

    /// Returns the next push to send. `frame` is the number of the frame that will carry it on the connection.
    pub(super) fn next_to_send(&mut self, frame: u64, now_ms: u64) -> Option<QueuedPush> {
        self.entries.retain(|entry| !entry.is_expired(now_ms));
        let next = self.entries.iter_mut().find(|entry| entry.frame.is_none())?;
        next.frame = Some(frame);
        Some(next.push.clone())
    }

    /// Removes the pushes in the frames up to this one, which the device has received. Returns their device names.
    pub(super) fn acknowledge_frames(&mut self, frame: u64) -> Vec<String> {
        self.remove(|entry| entry.frame.is_some_and(|sent| sent <= frame))
    }

    /// Removes the pushes with these ids, which the device has received. Returns their device names.
    pub(super) fn acknowledge_ids(&mut self, ids: &[String]) -> Vec<String> {
        self.remove(|entry| ids.contains(&entry.push.persistent_id))
    }

    fn remove(&mut self, matches: impl Fn(&mut Entry) -> bool) -> Vec<String> {
        self.entries.extract_if(.., matches).map(|entry| entry.push.device).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(id: &str, ttl: u64, topic: Option<&str>) -> QueuedPush {
        let registration =
            RegistrationKey { sender: "s".to_owned(), app: "a".to_owned(), subtype: "t".to_owned() };
        let (persistent_id, topic, device) = (id.to_owned(), topic.map(str::to_owned), "d".to_owned());
        QueuedPush {
            registration,
            persistent_id,
            topic,
            headers: Vec::new(),
            body: None,
            ttl,
            sent_ms: 0,
            device,
        }
    }

    fn send_all(queue: &mut PushQueue, now_ms: u64) -> Vec<String> {
        (2..).map_while(|frame| queue.next_to_send(frame, now_ms)).map(|push| push.persistent_id).collect()
    }

    #[test]
    fn an_unacknowledged_push_is_sent_again_only_on_the_next_connection() {
        let mut queue = PushQueue::default();
        for id in ["a", "b", "c"] {
            queue.enqueue(push(id, 60, None), Connectivity::Online);
        }
        assert_eq!(send_all(&mut queue, 0), ["a", "b", "c"]);
        assert_eq!(send_all(&mut queue, 0), [""; 0], "a second copy would be a second push");
        assert_eq!(queue.acknowledge_frames(2), ["d"]);
        assert_eq!(queue.reconnect(&["b".to_owned()]), ["d"]);
        assert_eq!(send_all(&mut queue, 0), ["c"]);
        assert_eq!(queue.acknowledge_frames(9), ["d"]);
        queue.reconnect(&[]);
        assert_eq!(send_all(&mut queue, 0), [""; 0]);
    }

    #[test]
    fn a_push_with_ttl_0_is_dropped_while_the_device_is_offline() {
        let mut queue = PushQueue::default();
        assert_eq!(queue.enqueue(push("a", 0, None), Connectivity::Offline), EnqueueResult::Dropped);
        assert_eq!(
            queue.enqueue(push("b", 0, None), Connectivity::Online),
            EnqueueResult::Queued { replaced: false }
        );
        assert_eq!(send_all(&mut queue, 0), ["b"]);
    }

    #[test]
    fn a_topic_replaces_only_a_push_that_is_not_sent_yet() {
        let mut queue = PushQueue::default();
        queue.enqueue(push("sent", 60, Some("call")), Connectivity::Online);
        assert_eq!(send_all(&mut queue, 0), ["sent"]);
        queue.enqueue(push("rings", 60, Some("call")), Connectivity::Offline);
        let missed = queue.enqueue(push("missed", 60, Some("call")), Connectivity::Offline);
        assert_eq!(missed, EnqueueResult::Queued { replaced: true });
        assert_eq!(send_all(&mut queue, 0), ["missed"]);
    }

    #[test]
    fn an_expired_push_is_not_sent() {
        let mut queue = PushQueue::default();
        queue.enqueue(push("short", 1, None), Connectivity::Offline);
        queue.enqueue(push("long", 9, None), Connectivity::Offline);
        assert_eq!(send_all(&mut queue, 5000), ["long"]);
    }

    #[test]
    fn the_number_of_queued_pushes_is_limited() {
        let mut queue = PushQueue::default();
        for number in 0..=MAX_QUEUED {
            queue.enqueue(push(&number.to_string(), 60, None), Connectivity::Offline);
        }
        let sent = send_all(&mut queue, 0);
        assert_eq!((sent.len(), sent[0].as_str()), (MAX_QUEUED, "1"));
    }
}
