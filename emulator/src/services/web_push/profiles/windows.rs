//! WNS as Edge uses it: the token is in the query, reasons are in headers, and the TTL must agree with the cache
//! policy.

use http::HeaderMap;
use serde_json::json;

use super::super::request::single_header;
use super::{PushRequest, PushResponse, Refusal, ServiceProfile};

pub(super) struct Windows;

impl ServiceProfile for Windows {
    fn origin(&self) -> &'static str {
        "https://wns2-par02p.notify.windows.com"
    }

    fn path_prefix(&self) -> &'static str {
        "/w/?token="
    }

    /// Returns a path whose token is base64 with `+` and `/` percent-encoded in lower case. A sender that decodes it
    /// and encodes it again changes it.
    fn random_path(&self) -> String {
        use base64::Engine as _;
        let bytes: [u8; 96] = std::array::from_fn(|_| rand::random());
        let token = base64::engine::general_purpose::STANDARD.encode(bytes);
        let token = token.replace('+', "%2b").replace('/', "%2f");
        format!("{}BQYAAAC%2b{token}%2f%3d%3d", self.path_prefix())
    }

    fn max_ttl(&self) -> u64 {
        2_592_000
    }

    fn verify_own_rules(&self, request: &PushRequest, headers: &HeaderMap) -> Result<(), Refusal> {
        let policy =
            headers.contains_key("x-wns-cache-policy").then(|| single_header(headers, "x-wns-cache-policy"));
        match policy {
            // Without the header messages are cached, which contradicts a TTL of 0.
            None if request.ttl == 0 => Err(Refusal::CachePolicy),
            Some(Some("cache")) if request.ttl == 0 => Err(Refusal::CachePolicy),
            Some(Some("no-cache")) if request.ttl > 0 => Err(Refusal::CachePolicy),
            None | Some(Some("cache" | "no-cache")) => Ok(()),
            Some(_) => Err(Refusal::CachePolicy),
        }
    }

    fn accepted(&self) -> PushResponse {
        with_trace_headers(PushResponse::empty(201))
            .with_header("x-wns-status", "received")
            .with_header("x-wns-notificationstatus", "received")
            .with_header("x-wns-deviceconnectionstatus", "connected")
    }

    fn message_path(&self) -> String {
        format!("/m/{:X}", rand::random::<u64>())
    }

    fn refusal_response(&self, refusal: Refusal) -> PushResponse {
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
        dropped_response(status, description)
    }

    fn fault_response(&self, status: u16, code: Option<&str>) -> PushResponse {
        let response = match status {
            406 | 429 => dropped_response(status, code.unwrap_or("Throttled"))
                .with_header("x-wns-notificationstatus", "channelThrottled"),
            500 => {
                let body = json!({"MsgID": message_id(), "DebugTrace": "PAR02PEPF00000001",
                    "DeviceStatus": "unknown", "ErrCode": 500, "ErrDesc": code.unwrap_or_default()});
                PushResponse::json(500, &body)
            }
            _ => dropped_response(status, code.unwrap_or("Fault injected by the emulator.")),
        };
        with_trace_headers(response)
    }
}

fn dropped_response(status: u16, description: &str) -> PushResponse {
    with_trace_headers(PushResponse::empty(status))
        .with_header("x-wns-status", "dropped")
        .with_header("x-wns-error-description", description)
}

fn with_trace_headers(response: PushResponse) -> PushResponse {
    response.with_header("x-wns-msg-id", message_id()).with_header("x-wns-debug-trace", "PAR02PEPF00000001")
}

fn message_id() -> String {
    format!("{:016X}", rand::random::<u64>())
}
