//! WNS as Edge uses it: the token stands in the query, reasons stand in headers, and TTL must agree with the cache policy.

use http::HeaderMap;
use serde_json::json;

use super::super::request::only;
use super::{Answer, Asked, Personality, Refusal};

pub(super) struct Windows;

impl Personality for Windows {
    fn origin(&self) -> &'static str {
        "https://wns2-par02p.notify.windows.com"
    }

    fn prefix(&self) -> &'static str {
        "/w/?token="
    }

    /// Base64 with its `+` and `/` percent-encoded in lower case; who decodes it and encodes it again changes it.
    fn path(&self) -> String {
        use base64::Engine as _;
        let bytes: [u8; 96] = std::array::from_fn(|_| rand::random());
        let token = base64::engine::general_purpose::STANDARD.encode(bytes);
        let token = token.replace('+', "%2b").replace('/', "%2f");
        format!("{}BQYAAAC%2b{token}%2f%3d%3d", self.prefix())
    }

    fn longest_ttl(&self) -> u64 {
        2_592_000
    }

    fn own_rules(&self, asked: &Asked, headers: &HeaderMap) -> Result<(), Refusal> {
        let policy = headers.contains_key("x-wns-cache-policy").then(|| only(headers, "x-wns-cache-policy"));
        match policy {
            // Without the header messages are cached, and a message of no life cannot be.
            None if asked.ttl == 0 => Err(Refusal::CachePolicy),
            Some(Some("cache")) if asked.ttl == 0 => Err(Refusal::CachePolicy),
            Some(Some("no-cache")) if asked.ttl > 0 => Err(Refusal::CachePolicy),
            None | Some(Some("cache" | "no-cache")) => Ok(()),
            Some(_) => Err(Refusal::CachePolicy),
        }
    }

    fn accepted(&self) -> Answer {
        traced(Answer::bare(201))
            .with("x-wns-status", "received")
            .with("x-wns-notificationstatus", "received")
            .with("x-wns-deviceconnectionstatus", "connected")
    }

    fn message_path(&self) -> String {
        format!("/m/{:X}", rand::random::<u64>())
    }

    fn refused(&self, refusal: Refusal) -> Answer {
        let (status, description) = match refusal {
            Refusal::Method => (405, "The HTTP method is not POST."),
            Refusal::Unknown => (404, "The channel URI is not valid or is not recognized."),
            Refusal::Mangled => (400, "The channel URI is malformed."),
            Refusal::Gone => (410, "The channel has expired."),
            Refusal::TtlMissing => (400, "The TTL header is missing."),
            Refusal::Ttl => (400, "The TTL header is invalid."),
            Refusal::CachePolicy => (400, "Ttl value conflicts with X-WNS-Cache-Policy."),
            Refusal::Urgency => (400, "The Urgency header is invalid."),
            Refusal::Topic => (400, "The Topic header is invalid."),
            Refusal::Encoding => (400, "The Content-Encoding header is invalid."),
            Refusal::TooLarge => (413, "The notification payload exceeds the size limit."),
            Refusal::Vapid(_) => (401, "The vapid token is invalid."),
            Refusal::OtherKey => (403, "The vapid key does not match the channel."),
        };
        dropped(status, description)
    }

    fn injected(&self, status: u16, code: Option<&str>) -> Answer {
        let answer = match status {
            406 | 429 => dropped(status, code.unwrap_or("Throttled"))
                .with("x-wns-notificationstatus", "channelThrottled"),
            500 => {
                let body = json!({"MsgID": message_id(), "DebugTrace": "PAR02PEPF00000001",
                    "DeviceStatus": "unknown", "ErrCode": 500, "ErrDesc": code.unwrap_or_default()});
                Answer::json(500, &body)
            }
            _ => dropped(status, code.unwrap_or("An error was asked for.")),
        };
        traced(answer)
    }
}

fn dropped(status: u16, description: &str) -> Answer {
    traced(Answer::bare(status)).with("x-wns-status", "dropped").with("x-wns-error-description", description)
}

fn traced(answer: Answer) -> Answer {
    answer.with("x-wns-msg-id", message_id()).with("x-wns-debug-trace", "PAR02PEPF00000001")
}

fn message_id() -> String {
    format!("{:016X}", rand::random::<u64>())
}
