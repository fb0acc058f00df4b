//! What a device has still to get: kept until it acknowledges, across connections, replaced by topic, and only as long as it lives.

/// Where a push goes, as the device registered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The `sender` of the registration: for Web Push the VAPID key.
    pub(crate) sender: String,
    /// Its `app`.
    pub(crate) app: String,
    /// Its `X-subtype`; empty where there is none.
    pub(crate) subtype: String,
}

/// A push on its way to a device.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(super) to: Address,
    pub(super) persistent_id: String,
    pub(super) topic: Option<String>,
    /// How the body is encrypted.
    pub(super) headers: Vec<(&'static str, String)>,
    /// None for a push without data.
    pub(super) body: Option<Vec<u8>>,
    /// Seconds.
    pub(super) ttl: u64,
    /// Milliseconds since 1970.
    pub(super) sent_ms: u64,
    /// What the device is called, in events.
    pub(super) device: String,
}

/// A letter until it is done with.
struct Kept {
    letter: Letter,
    /// The number of the frame it was sent in, on the living connection.
    frame: Option<u64>,
}

impl Kept {
    fn is_over(&self, now_ms: u64) -> bool {
        let Letter { sent_ms, ttl, .. } = self.letter;
        // What a living connection has taken is the device's matter.
        self.frame.is_none() && sent_ms.saturating_add(ttl.saturating_mul(1000)) < now_ms
    }
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Posted {
    /// It lies in the box.
    Kept { replaced: bool },
    /// Nobody was there to take it, and it was not to be kept.
    Dropped,
}

/// The most that is kept for one device (FCM keeps 100).
const MOST: usize = 100;

/// The letters of one device, the oldest first.
#[derive(Default)]
pub(super) struct Letters {
    letters: Vec<Kept>,
}

/// Whether a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Online,
    Offline,
}

impl Letters {
    pub(super) fn post(&mut self, letter: Letter, reach: Reach) -> Posted {
        if letter.ttl == 0 && reach == Reach::Offline {
            return Posted::Dropped;
        }
        let twin = |old: &Kept| {
            let same = old.letter.topic == letter.topic && old.letter.to == letter.to;
            old.frame.is_none() && letter.topic.is_some() && same
        };
        let place = self.letters.iter().position(twin);
        if let Some(place) = place {
            self.letters.remove(place);
        }
        if self.letters.len() == MOST {
            self.letters.remove(0);
        }
        self.letters.push(Kept { letter, frame: None });
        Posted::Kept { replaced: place.is_some() }
    }

    /// A new connection: what the device says it has is done with, everything else is to be sent again. Gives the devices of
    /// what is done.
    pub(super) fn reconnect(&mut self, received: &[String]) -> Vec<String> {
        let done = self.received(received);
        self.letters.iter_mut().for_each(|kept| kept.frame = None);
        done
    }

    /// The next letter to send, which will be the connection's frame of this number.
    pub(super) fn send(&mut self, frame: u64, now_ms: u64) -> Option<Letter> {
        self.letters.retain(|kept| !kept.is_over(now_ms));
        let next = self.letters.iter_mut().find(|kept| kept.frame.is_none())?;
        next.frame = Some(frame);
        Some(next.letter.clone())
    }

    /// The device has every frame up to this one. Gives the devices of what is done.
    pub(super) fn acknowledge(&mut self, frame: u64) -> Vec<String> {
        self.finish(|kept| kept.frame.is_some_and(|sent| sent <= frame))
    }

    /// The device has these. Gives the devices of what is done.
    pub(super) fn received(&mut self, ids: &[String]) -> Vec<String> {
        self.finish(|kept| ids.contains(&kept.letter.persistent_id))
    }

    fn finish(&mut self, done: impl Fn(&mut Kept) -> bool) -> Vec<String> {
        self.letters.extract_if(.., done).map(|kept| kept.letter.device).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(id: &str, ttl: u64, topic: Option<&str>) -> Letter {
        let to = Address { sender: "s".to_owned(), app: "a".to_owned(), subtype: "t".to_owned() };
        let (persistent_id, topic, device) = (id.to_owned(), topic.map(str::to_owned), "d".to_owned());
        Letter { to, persistent_id, topic, headers: Vec::new(), body: None, ttl, sent_ms: 0, device }
    }

    fn sent(letters: &mut Letters, now_ms: u64) -> Vec<String> {
        (2..).map_while(|frame| letters.send(frame, now_ms)).map(|letter| letter.persistent_id).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_on_the_next_connection_only() {
        let mut letters = Letters::default();
        for id in ["a", "b", "c"] {
            letters.post(letter(id, 60, None), Reach::Online);
        }
        assert_eq!(sent(&mut letters, 0), ["a", "b", "c"]);
        assert_eq!(sent(&mut letters, 0), [""; 0], "a second copy would be a second push");
        assert_eq!(letters.acknowledge(2), ["d"]);
        assert_eq!(letters.reconnect(&["b".to_owned()]), ["d"]);
        assert_eq!(sent(&mut letters, 0), ["c"]);
        assert_eq!(letters.acknowledge(9), ["d"]);
        letters.reconnect(&[]);
        assert_eq!(sent(&mut letters, 0), [""; 0]);
    }

    #[test]
    fn now_or_never_is_never_while_the_device_is_away() {
        let mut letters = Letters::default();
        assert_eq!(letters.post(letter("a", 0, None), Reach::Offline), Posted::Dropped);
        assert_eq!(letters.post(letter("b", 0, None), Reach::Online), Posted::Kept { replaced: false });
        assert_eq!(sent(&mut letters, 0), ["b"]);
    }

    #[test]
    fn a_topic_replaces_what_was_not_sent_yet() {
        let mut letters = Letters::default();
        letters.post(letter("sent", 60, Some("call")), Reach::Online);
        assert_eq!(sent(&mut letters, 0), ["sent"]);
        letters.post(letter("rings", 60, Some("call")), Reach::Offline);
        let missed = letters.post(letter("missed", 60, Some("call")), Reach::Offline);
        assert_eq!(missed, Posted::Kept { replaced: true });
        assert_eq!(sent(&mut letters, 0), ["missed"]);
    }

    #[test]
    fn what_is_too_old_is_not_sent() {
        let mut letters = Letters::default();
        letters.post(letter("short", 1, None), Reach::Offline);
        letters.post(letter("long", 9, None), Reach::Offline);
        assert_eq!(sent(&mut letters, 5000), ["long"]);
    }

    #[test]
    fn no_more_than_the_most_is_kept() {
        let mut letters = Letters::default();
        for number in 0..=MOST {
            letters.post(letter(&number.to_string(), 60, None), Reach::Offline);
        }
        let sent = sent(&mut letters, 0);
        assert_eq!((sent.len(), sent[0].as_str()), (MOST, "1"));
    }
}
