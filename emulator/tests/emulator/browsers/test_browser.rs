//! Browser for tests: check-in, registration and MCS, written from recordings of Chromium. It has its own protobuf
//! code, so that a mistake in the emulator's cannot go unnoticed.

use pushgate_emulator::Emulator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::fcm_client::{Client, Response, tls};

pub(super) const APP: &str = "org.chromium.linux";
pub(super) const SUBTYPE: &str = "wp:http://localhost:40103/#C292EE9E-F0A0-4F-V2";

/// Value of a message field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

/// Fields of a message with their numbers.
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

pub(super) fn parse_fields(mut bytes: &[u8]) -> Fields {
    fn take_varint(bytes: &mut &[u8]) -> u64 {
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
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes);
        let value = match key % 8 {
            0 => Value::Number(take_varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Value::Number(u64::from_le_bytes(number.try_into().unwrap()))
            }
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)).unwrap();
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            kind => panic!("wire type {kind}"),
        };
        fields.push((key / 8, value));
    }
    fields
}

/// Returns every byte string of a field.
pub(super) fn bytes_of(fields: &Fields, number: u64) -> Vec<Vec<u8>> {
    let matching = |(field, value): &(u64, Value)| match value {
        Value::Bytes(bytes) if *field == number => Some(bytes.clone()),
        _ => None,
    };
    fields.iter().filter_map(matching).collect()
}

pub(super) fn number_of(fields: &Fields, number: u64) -> Option<u64> {
    fields.iter().find_map(|(field, value)| match value {
        Value::Number(value) if *field == number => Some(*value),
        _ => None,
    })
}

/// Profile of a browser: the identity that Google has issued.
pub(super) struct Profile {
    pub(super) id: u64,
    pub(super) secret: u64,
}

impl Profile {
    /// Checks in without an identity and gets a new one.
    pub(super) async fn new(client: &Client) -> Self {
        let body = [number(2, 0), fixed(13, 0), number(14, 3)].concat();
        Self::check_in_with(client, body).await.unwrap()
    }

    /// Checks in with this body. Returns the identity in the response, or its status if it is an error.
    pub(super) async fn check_in_with(client: &Client, body: Vec<u8>) -> Result<Self, u16> {
        let response =
            client.post("/checkin", &[("content-type", "application/x-protobuf")], body).await.unwrap();
        if response.status != 200 {
            return Err(response.status);
        }
        let fields = parse_fields(&response.body);
        assert_eq!(number_of(&fields, 1), Some(1), "stats_ok");
        Ok(Self { id: number_of(&fields, 7).unwrap(), secret: number_of(&fields, 8).unwrap() })
    }

    pub(super) fn check_in_body(&self) -> Vec<u8> {
        [number(2, self.id), fixed(13, self.secret)].concat()
    }

    pub(super) async fn register3(&self, client: &Client, form: &str) -> Response {
        let login = format!("AidLogin {}:{}", self.id, self.secret);
        let content_type = ("content-type", "application/x-www-form-urlencoded");
        let form = format!("{form}&device={}", self.id);
        client.post("/c2dm/register3", &[("authorization", &login), content_type], form).await.unwrap()
    }

    /// Registers for an application server. Returns the token at the end of the endpoint.
    pub(super) async fn subscribe(&self, client: &Client, key: &str) -> String {
        let subtype = SUBTYPE.replace('#', "%23");
        let form =
            format!("app={APP}&X-subtype={subtype}&scope=GCM&X-scope=GCM&gmsv=156&appid=fZ3x&sender={key}");
        let response = self.register3(client, &form).await;
        assert_eq!(response.status, 200);
        let body = String::from_utf8(response.body.to_vec()).unwrap();
        body.strip_prefix("token=").unwrap().to_owned()
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
        received.iter().for_each(|id| login.extend(text(10, id)));
        connection.stream.write_all(&[41]).await.unwrap();
        connection.write(2, login).await;
        let mut version = [0];
        connection.stream.read_exact(&mut version).await.unwrap();
        assert_eq!(version, [41]);
        connection
    }

    /// Connects and expects a successful login.
    pub(super) async fn log_in(&self, emulator: &Emulator, received: &[&str]) -> Connection {
        let mut connection = self.connect(emulator, received).await;
        let (tag, fields) = connection.read().await.unwrap();
        assert_eq!((tag, bytes_of(&fields, 3).len()), (3, 0), "a successful login has no error field");
        assert_eq!(bytes_of(&fields, 1), [b"chrome-156.0.8078.79"]);
        connection
    }
}

/// MCS connection.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn write(&mut self, tag: u8, body: Vec<u8>) {
        let frame = [vec![tag], varint(body.len() as u64), body].concat();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Returns the next frame. `None` if the connection has ended.
    pub(super) async fn read(&mut self) -> Option<(u8, Fields)> {
        loop {
            if let Some(frame) = self.take_buffered() {
                return Some(frame);
            }
            let mut piece = [0; 1024];
            match self.stream.read(&mut piece).await {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.buffer.extend_from_slice(&piece[..length]),
            }
        }
    }

    fn take_buffered(&mut self) -> Option<(u8, Fields)> {
        let (tag, rest) = self.buffer.split_first()?;
        let varint_length = rest.iter().position(|byte| *byte < 0x80)? + 1;
        let length =
            rest[..varint_length].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let body = rest.get(varint_length..varint_length + length)?;
        let frame = (*tag, parse_fields(body));
        self.buffer.drain(..1 + varint_length + length);
        Some(frame)
    }

    /// Returns the next push.
    pub(super) async fn push(&mut self) -> Push {
        let (tag, fields) = self.read().await.expect("the connection is open");
        assert_eq!(tag, 8);
        Push(fields)
    }

    /// Acknowledges this number of frames.
    pub(super) async fn acknowledge(&mut self, frames: u64) {
        let extension = [number(1, 13), text(2, "")].concat();
        let stanza =
            [number(2, 1), text(3, ""), text(7, &String::from_utf8(extension).unwrap()), number(10, frames)];
        self.write(7, stanza.concat()).await;
    }
}

/// DataMessageStanza, which delivers a push.
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

    pub(super) fn requests_ack(&self) -> bool {
        number_of(&self.0, 24) == Some(1)
    }

    /// Returns a value of `app_data`.
    pub(super) fn data(&self, key: &str) -> Option<String> {
        let pairs = bytes_of(&self.0, 7).into_iter().map(|pair| Push(parse_fields(&pair)));
        pairs.into_iter().find(|pair| pair.text(1) == key).map(|pair| pair.text(2))
    }
}
