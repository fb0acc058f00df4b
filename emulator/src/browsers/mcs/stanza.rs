//! MCS messages (stanzas) that the delivery of pushes needs: login, data, acknowledgements and heartbeats.

use super::super::protobuf::{Malformed, Message, Writer};
use super::super::push_queue::QueuedPush;
use super::frame::{self, Frame};

/// Login request of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// Id of the request, repeated in the response.
    pub(super) id: String,
    pub(super) android_id: u64,
    pub(super) security_token: u64,
    /// Ids of pushes that the device has received and could not acknowledge.
    pub(super) received: Vec<String>,
}

impl Login {
    /// Parses the body of a login request.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let message = Message::parse(body)?;
        let decimal = |field| message.text(field).and_then(|text| text.parse().ok()).ok_or(Malformed);
        Ok(Self {
            id: message.text(1).ok_or(Malformed)?.to_owned(),
            android_id: decimal(3)?,
            security_token: decimal(5)?,
            received: message.all_bytes(10).map(|id| String::from_utf8_lossy(id).into_owned()).collect(),
        })
    }

    /// Returns the response to an accepted login. Field 3 (error) must be absent, because some clients treat its
    /// presence as a failure.
    pub(super) fn response(&self, now_ms: u64) -> Frame {
        let body = Writer::default().bytes(1, &self.id).varint(6, 1).varint(8, now_ms);
        Frame::new(frame::LOGIN_RESPONSE, body.finish())
    }

    /// Returns the response to a refused login.
    pub(super) fn refusal(&self) -> Frame {
        let error = Writer::default().varint(1, 401).bytes(2, "Invalid credentials").finish();
        Frame::new(frame::LOGIN_RESPONSE, Writer::default().bytes(1, &self.id).bytes(3, error).finish())
    }
}

/// Returns the number of frames that the device has received. `None` if the frame does not contain it.
pub(super) fn acknowledged(frame: &Frame) -> Result<Option<u64>, Malformed> {
    let field = match frame.tag {
        frame::PING | frame::PING_ACK => 2,
        frame::IQ => 10,
        frame::DATA => 11,
        _ => return Ok(None),
    };
    Ok(Message::parse(&frame.body)?.number(field))
}

/// Returns the response to a heartbeat, with the number of received frames.
pub(super) fn heartbeat_ack(received: u64) -> Frame {
    Frame::new(frame::PING_ACK, Writer::default().varint(2, received).finish())
}

/// Returns the message that delivers a push. Sender, category and subtype must be those of the registration, or the
/// browser drops it silently.
pub(super) fn data(push: &QueuedPush, received: u64) -> Frame {
    let mut stanza = Writer::default()
        .bytes(2, &push.persistent_id)
        .bytes(3, &push.registration.sender)
        .bytes(5, &push.registration.app);
    if let Some(topic) = &push.topic {
        stanza = stanza.bytes(6, topic);
    }
    let subtype = [("subtype", push.registration.subtype.as_str())];
    let headers = push.headers.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in subtype.into_iter().filter(|(_, value)| !value.is_empty()).chain(headers) {
        stanza = stanza.bytes(7, Writer::default().bytes(1, name).bytes(2, value).finish());
    }
    stanza = stanza
        .bytes(9, &push.persistent_id)
        .varint(11, received)
        .varint(17, push.ttl)
        .varint(18, push.sent_ms);
    if let Some(body) = &push.body {
        stanza = stanza.bytes(21, body);
    }
    // Without this flag browsers acknowledge only every tenth message.
    Frame::new(frame::DATA, stanza.varint(24, 1).finish())
}

#[cfg(test)]
mod tests {
    use super::super::super::push_queue::RegistrationKey;
    use super::*;

    #[test]
    fn a_login_request_of_chromium_is_parsed() {
        let body = Writer::default()
            .bytes(1, "chrome-156.0.8078.79")
            .bytes(2, "mcs.android.com")
            .bytes(3, "4611686018427387905")
            .bytes(5, "77")
            .bytes(10, "0:1%a")
            .bytes(10, "0:2%b")
            .finish();
        let login = Login::parse(&body).unwrap();
        assert_eq!((login.android_id, login.security_token), (4_611_686_018_427_387_905, 77));
        assert_eq!(login.received, ["0:1%a", "0:2%b"]);
        let response = login.response(5);
        let message = Message::parse(&response.body).unwrap();
        assert_eq!((message.text(1), message.number(6)), (Some("chrome-156.0.8078.79"), Some(1)));
        assert_eq!(message.all_bytes(3).count(), 0, "an error field means a failure");
        assert!(Login::parse(&Writer::default().bytes(1, "x").bytes(3, "me").finish()).is_err());
    }

    #[test]
    fn a_push_has_the_fields_that_the_browser_checks() {
        let registration = RegistrationKey {
            sender: "BKey".to_owned(),
            app: "org.chromium.linux".to_owned(),
            subtype: "wp:x".to_owned(),
        };
        let push = QueuedPush {
            registration,
            persistent_id: "0:1%a".to_owned(),
            sent_ms: 0,
            device: "d".to_owned(),
            topic: Some("t".to_owned()),
            headers: vec![("content-encoding", "aes128gcm".to_owned())],
            body: Some(vec![9; 10]),
            ttl: 60,
        };
        let frame = data(&push, 3);
        let stanza = Message::parse(&frame.body).unwrap();
        assert_eq!(
            (stanza.text(3), stanza.text(5), stanza.text(9)),
            (Some("BKey"), Some("org.chromium.linux"), Some("0:1%a"))
        );
        assert_eq!((stanza.text(6), stanza.number(11), stanza.number(24)), (Some("t"), Some(3), Some(1)));
        let pairs: Vec<_> = stanza
            .all_bytes(7)
            .map(|pair| Message::parse(pair).unwrap())
            .map(|pair| (pair.text(1), pair.text(2)))
            .collect();
        assert_eq!(pairs, [(Some("subtype"), Some("wp:x")), (Some("content-encoding"), Some("aes128gcm"))]);
        assert_eq!(stanza.all_bytes(21).next(), Some(&[9; 10][..]));
    }

    #[test]
    fn every_kind_of_frame_can_contain_an_acknowledgement() {
        for (tag, field) in [(frame::PING, 2), (frame::PING_ACK, 2), (frame::IQ, 10), (frame::DATA, 11)] {
            let frame = Frame::new(tag, Writer::default().varint(field, 4).finish());
            assert_eq!(acknowledged(&frame), Ok(Some(4)), "tag {tag}");
        }
        assert_eq!(acknowledged(&Frame::new(frame::PING, Vec::new())), Ok(None));
    }
}
