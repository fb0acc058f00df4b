//! The native door's JSON: the only place where requests are checked, and what answers look like.

mod dead;
mod device;
mod notification;
mod shown;
mod user;

use std::time::Duration;

use serde::Deserialize;

use crate::problem::Problem;

pub(crate) use dead::{RestoreBody, dead, dead_query, restored};
pub(crate) use device::{Asked, DeviceBody, HeldBody, LoginBody, RotateBody};
pub(crate) use notification::NotificationBody;
pub(crate) use shown::{Submitted, device, nothing_pushed, status};
pub(crate) use user::{AckBody, BadgeBody, ManyPresencesBody, PresenceBody, State, Word, rules};

/// `POST /v1/receipts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptBody {
    pub(crate) token: String,
    pub(crate) event: pushgate::Echo,
}

fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(422, "invalid_field", detail)
}

/// JSON into a body: broken JSON is 400 `invalid_json`, JSON that is no such body 422 `invalid_body`.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::new(422, "invalid_body", error.to_string()),
        _ => Problem::new(400, "invalid_json", error.to_string()),
    })
}

/// `5s` or `5` in a query.
pub(super) fn span(text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    seconds
        .or_else(|_| humantime::parse_duration(text))
        .map_err(|_| refused(format!("`{text}` is no time span; write 5s or 2m")))
}
