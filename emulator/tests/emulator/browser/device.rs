//! A browser as far as Google sees it: check-in, registration and MCS, written from what Chromium was seen to send. It has its
//! own few lines of protobuf, so that the emulator's cannot be wrong in the same place.

use pushgate_emulator::Emulator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::{Answer, Client, tls};

pub(super) const APP: &str = "org.chromium.linux";
pub(super) const SUBTYPE: &str = "wp:http://localhost:40103/#C292EE9E-F0A0-4F-V2";

/// A field of a message: its number, and its bytes or its number's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

pub(super) type Fields = Vec<(u64, Value)>;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field * 8), varint(value)].concat()
}

pub(super) fn text(field: u64, value: &str) -> Vec<u8> {
    [varint(field * 8 + 2), varint(value.len() as u64), value.as_bytes().to_vec()].concat()
}

fn fixed(field: u64, value: u64) -> Vec<u8> {
    [varint(field * 8 + 1), value.to_le_bytes().to_vec()].concat()
}

pub(super) fn fields(mut bytes: &[u8]) -> Fields {
    fn take(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = take(&mut bytes);
        let value = match key % 8 {
            0 => Value::Number(take(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Value::Number(u64::from_le_bytes(number.try_into().unwrap()))
            }
            2 => {
                let length = usize::try_from(take(&mut bytes)).unwrap();
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            kind => panic!("wire type {kind}"),
        };
        all.push((key / 8, value));
    }
    all
}

/// Every byte string of a field.
pub(super) fn bytes_of(fields: &Fields, wanted: u64) -> Vec<Vec<u8>> {
    let one = |(field, value): &(u64, Value)| match value {
        Value::Bytes(bytes) if *field == wanted => Some(bytes.clone()),
        _ => None,
    };
    fields.iter().filter_map(one).collect()
}

pub(super) fn number_of(fields: &Fields, wanted: u64) -> Option<u64> {
    fields.iter().find_map(|(field, value)| match value {
        Value::Number(number) if *field == wanted => Some(*number),
        _ => None,
    })
}

/// A browser's profile.
pub(super) struct Profile {
    pub(super) id: u64,
    pub(super) secret: u64,
}

impl Profile {
    /// A new one, as Google gives it out.
    pub(super) async fn new(client: &Client) -> Self {
        let body = [number(2, 0), fixed(13, 0), number(14, 3)].concat();
        Self::of(client, body).await.unwrap()
    }

    /// Shows an identity; gives the one the answer names.
    pub(super) async fn of(client: &Client, body: Vec<u8>) -> Result<Self, u16> {
        let answer =
            client.ask("/checkin", &[("content-type", "application/x-protobuf")], body).await.unwrap();
        if answer.status != 200 {
            return Err(answer.status);
        }
        let fields = fields(&answer.body);
        assert_eq!(number_of(&fields, 1), Some(1), "stats_ok");
        Ok(Self { id: number_of(&fields, 7).unwrap(), secret: number_of(&fields, 8).unwrap() })
    }

    pub(super) fn check_in(&self) -> Vec<u8> {
        [number(2, self.id), fixed(13, self.secret)].concat()
    }

    pub(super) async fn register3(&self, client: &Client, form: &str) -> Answer {
        let login = format!("AidLogin {}:{}", self.id, self.secret);
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let form = format!("{form}&device={}", self.id);
        client.ask("/c2dm/register3", &[("authorization", &login), kind], form).await.unwrap()
    }

    /// Subscribes for an application server; the token at the end of the endpoint.
    pub(super) async fn subscribe(&self, client: &Client, key: &str) -> String {
        let subtype = SUBTYPE.replace('#', "%23");
        let form =
            format!("app={APP}&X-subtype={subtype}&scope=GCM&X-scope=GCM&gmsv=156&appid=fZ3x&sender={key}");
        let answer = self.register3(client, &form).await;
        assert_eq!(answer.status, 200);
        let said = String::from_utf8(answer.body.to_vec()).unwrap();
        said.strip_prefix("token=").unwrap().to_owned()
    }

    pub(super) async fn connect(&self, emulator: &Emulator, received: &[&str]) -> Connection {
        let stream = tls(&emulator.mcs_url(), emulator.ca_pem(), &[]).await;
        let mut connection = Connection { stream, buffer: Vec::new() };
        let (id, secret) = (self.id.to_string(), self.secret.to_string());
        let mut login = [
            text(1, "chrome-156.0.8078.79"),
            text(2, "mcs.android.com"),
            text(3, &id),
            text(4, &id),
            text(5, &secret),
            number(14, 1),
        ]
        .concat();
        received.iter().for_each(|one| login.extend(text(10, one)));
        connection.stream.write_all(&[41]).await.unwrap();
        connection.write(2, login).await;
        let mut version = [0];
        connection.stream.read_exact(&mut version).await.unwrap();
        assert_eq!(version, [41]);
        connection
    }

    /// Connects and is welcome.
    pub(super) async fn log_in(&self, emulator: &Emulator, received: &[&str]) -> Connection {
        let mut connection = self.connect(emulator, received).await;
        let (tag, fields) = connection.read().await.unwrap();
        assert_eq!((tag, bytes_of(&fields, 3).len()), (3, 0), "a welcome has no error field");
        assert_eq!(bytes_of(&fields, 1), [b"chrome-156.0.8078.79"]);
        connection
    }
}

/// An MCS connection.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn write(&mut self, tag: u8, body: Vec<u8>) {
        let frame = [vec![tag], varint(body.len() as u64), body].concat();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame; none when the connection has ended.
    pub(super) async fn read(&mut self) -> Option<(u8, Fields)> {
        loop {
            if let Some(frame) = self.buffered() {
                return Some(frame);
            }
            let mut piece = [0; 1024];
            match self.stream.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.buffer.extend_from_slice(&piece[..length]),
            }
        }
    }

    fn buffered(&mut self) -> Option<(u8, Fields)> {
        let (tag, rest) = self.buffer.split_first()?;
        let digits = rest.iter().position(|byte| *byte < 0x80)? + 1;
        let length = rest[..digits].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let body = rest.get(digits..digits + length)?;
        let frame = (*tag, fields(body));
        self.buffer.drain(..1 + digits + length);
        Some(frame)
    }

    /// The next push.
    pub(super) async fn push(&mut self) -> Push {
        let (tag, fields) = self.read().await.expect("the connection stands");
        assert_eq!(tag, 8);
        Push(fields)
    }

    /// Says that so many frames have come.
    pub(super) async fn acknowledge(&mut self, frames: u64) {
        let extension = [number(1, 13), text(2, "")].concat();
        let stanza =
            [number(2, 1), text(3, ""), text(7, &String::from_utf8(extension).unwrap()), number(10, frames)];
        self.write(7, stanza.concat()).await;
    }
}

/// A DataMessageStanza.
pub(super) struct Push(Fields);

impl Push {
    pub(super) fn text(&self, field: u64) -> String {
        String::from_utf8(bytes_of(&self.0, field).pop().unwrap_or_default()).unwrap()
    }

    pub(super) fn raw(&self) -> Option<Vec<u8>> {
        bytes_of(&self.0, 21).pop()
    }

    pub(super) fn persistent_id(&self) -> String {
        self.text(9)
    }

    pub(super) fn wants_ack(&self) -> bool {
        number_of(&self.0, 24) == Some(1)
    }

    /// A value of app_data.
    pub(super) fn data(&self, key: &str) -> Option<String> {
        let pairs = bytes_of(&self.0, 7).into_iter().map(|pair| Push(fields(&pair)));
        pairs.into_iter().find(|pair| pair.text(1) == key).map(|pair| pair.text(2))
    }
}
