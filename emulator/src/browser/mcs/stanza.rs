//! The messages of MCS, as far as a push needs them: login, data, acknowledgements and heartbeats.

use super::super::letters::Letter;
use super::super::protobuf::{Malformed, Message, Writer};
use super::frame::{self, Frame};

/// Who logs in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// Echoed in the answer.
    pub(super) id: String,
    pub(super) android_id: u64,
    pub(super) security_token: u64,
    /// What the device has got and could not acknowledge.
    pub(super) received: Vec<String>,
}

impl Login {
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let message = Message::read(body)?;
        let decimal = |field| message.text(field).and_then(|text| text.parse().ok()).ok_or(Malformed);
        Ok(Self {
            id: message.text(1).ok_or(Malformed)?.to_owned(),
            android_id: decimal(3)?,
            security_token: decimal(5)?,
            received: message.all(10).map(|id| String::from_utf8_lossy(id).into_owned()).collect(),
        })
    }

    /// Nothing may stand in field 3: some clients take its presence for a failure.
    pub(super) fn welcome(&self, now_ms: u64) -> Frame {
        let body = Writer::default().bytes(1, &self.id).varint(6, 1).varint(8, now_ms);
        Frame::new(frame::LOGIN_RESPONSE, body.finish())
    }

    pub(super) fn refused(&self) -> Frame {
        let error = Writer::default().varint(1, 401).bytes(2, "Invalid credentials").finish();
        Frame::new(frame::LOGIN_RESPONSE, Writer::default().bytes(1, &self.id).bytes(3, error).finish())
    }
}

/// How many of our frames the device says it has; `None` where it does not say.
pub(super) fn acknowledged(frame: &Frame) -> Result<Option<u64>, Malformed> {
    let field = match frame.tag {
        frame::PING | frame::PING_ACK => 2,
        frame::IQ => 10,
        frame::DATA => 11,
        _ => return Ok(None),
    };
    Ok(Message::read(&frame.body)?.number(field))
}

/// The answer to a heartbeat, with how many frames have come in.
pub(super) fn heartbeat_ack(received: u64) -> Frame {
    Frame::new(frame::PING_ACK, Writer::default().varint(2, received).finish())
}

/// A push. Sender, category and subtype have to be those of the registration, or the browser drops it without a word.
pub(super) fn push(letter: &Letter, received: u64) -> Frame {
    let mut stanza = Writer::default()
        .bytes(2, &letter.persistent_id)
        .bytes(3, &letter.to.sender)
        .bytes(5, &letter.to.app);
    if let Some(topic) = &letter.topic {
        stanza = stanza.bytes(6, topic);
    }
    let subtype = [("subtype", letter.to.subtype.as_str())];
    let headers = letter.headers.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in subtype.into_iter().filter(|(_, value)| !value.is_empty()).chain(headers) {
        stanza = stanza.bytes(7, Writer::default().bytes(1, name).bytes(2, value).finish());
    }
    stanza = stanza
        .bytes(9, &letter.persistent_id)
        .varint(11, received)
        .varint(17, letter.ttl)
        .varint(18, letter.sent_ms);
    if let Some(body) = &letter.body {
        stanza = stanza.bytes(21, body);
    }
    // Without it browsers acknowledge every tenth stanza only.
    Frame::new(frame::DATA, stanza.varint(24, 1).finish())
}

#[cfg(test)]
mod tests {
    use super::super::super::letters::Address;
    use super::*;

    #[test]
    fn a_login_as_chromium_sends_it_is_read() {
        let body = Writer::default()
            .bytes(1, "chrome-156.0.8078.79")
            .bytes(2, "mcs.android.com")
            .bytes(3, "4611686018427387905")
            .bytes(5, "77")
            .bytes(10, "0:1%a")
            .bytes(10, "0:2%b")
            .finish();
        let login = Login::read(&body).unwrap();
        assert_eq!((login.android_id, login.security_token), (4_611_686_018_427_387_905, 77));
        assert_eq!(login.received, ["0:1%a", "0:2%b"]);
        let welcome = login.welcome(5);
        let answer = Message::read(&welcome.body).unwrap();
        assert_eq!((answer.text(1), answer.number(6)), (Some("chrome-156.0.8078.79"), Some(1)));
        assert_eq!(answer.all(3).count(), 0, "an error field is a failure");
        assert!(Login::read(&Writer::default().bytes(1, "x").bytes(3, "me").finish()).is_err());
    }

    #[test]
    fn a_push_carries_what_the_browser_looks_for() {
        let to = Address {
            sender: "BKey".to_owned(),
            app: "org.chromium.linux".to_owned(),
            subtype: "wp:x".to_owned(),
        };
        let letter = Letter {
            to,
            persistent_id: "0:1%a".to_owned(),
            sent_ms: 0,
            device: "d".to_owned(),
            topic: Some("t".to_owned()),
            headers: vec![("content-encoding", "aes128gcm".to_owned())],
            body: Some(vec![9; 10]),
            ttl: 60,
        };
        let frame = push(&letter, 3);
        let stanza = Message::read(&frame.body).unwrap();
        assert_eq!(
            (stanza.text(3), stanza.text(5), stanza.text(9)),
            (Some("BKey"), Some("org.chromium.linux"), Some("0:1%a"))
        );
        assert_eq!((stanza.text(6), stanza.number(11), stanza.number(24)), (Some("t"), Some(3), Some(1)));
        let pairs: Vec<_> = stanza
            .all(7)
            .map(|pair| Message::read(pair).unwrap())
            .map(|pair| (pair.text(1), pair.text(2)))
            .collect();
        assert_eq!(pairs, [(Some("subtype"), Some("wp:x")), (Some("content-encoding"), Some("aes128gcm"))]);
        assert_eq!(stanza.all(21).next(), Some(&[9; 10][..]));
    }

    #[test]
    fn acknowledgements_are_found_in_every_kind_of_frame() {
        for (tag, field) in [(frame::PING, 2), (frame::PING_ACK, 2), (frame::IQ, 10), (frame::DATA, 11)] {
            let frame = Frame::new(tag, Writer::default().varint(field, 4).finish());
            assert_eq!(acknowledged(&frame), Ok(Some(4)), "tag {tag}");
        }
        assert_eq!(acknowledged(&Frame::new(frame::PING, Vec::new())), Ok(None));
    }
}
