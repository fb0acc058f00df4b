//! The native door's JSON: the only place where requests are checked, and what answers look like.

mod dead;
mod device;
mod locale;
mod notification;
mod overrides;
mod query;
mod shown;
mod strict;
mod user;
mod warning;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::problem::Problem;

pub(crate) use dead::{RestoreBody, dead, dead_query, restored};
pub(crate) use device::{Asked, DeviceBody, HeldBody, LoginBody, RotateBody};
pub(crate) use notification::NotificationBody;
pub(crate) use query::{Parameters, refuse_unknown};
pub(crate) use shown::{Submitted, device, nothing_pushed, status};
pub(crate) use user::{AckBody, BadgeBody, ManyPresencesBody, PresenceBody, State, Word, rules};
pub(crate) use warning::Warning;

/// `POST /v1/receipts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiptBody {
    pub(crate) token: String,
    pub(crate) event: pushgate::Echo,
}

/// 422 for a field whose shape is right and whose value is not.
pub(crate) fn refused(field: &str, reason: impl fmt::Display) -> Problem {
    Problem::new(422, "invalid_field", format!("{field}: {reason}")).about(field)
}

/// Reads a body. Text that is not JSON is 400 `invalid_json`, JSON of another shape is 422 `invalid_body`.
pub(super) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    strict::from_slice(bytes).map_err(|refusal| {
        if refusal.is_syntax() {
            return Problem::new(400, "invalid_json", refusal.to_string());
        }
        let problem = Problem::new(422, "invalid_body", refusal.to_string());
        match refusal.field() {
            Some(field) => problem.about(field),
            None => problem,
        }
    })
}

/// `5s` or `5` in a query.
pub(super) fn span(name: &str, text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    seconds
        .or_else(|_| humantime::parse_duration(text))
        .map_err(|_| refused(name, "must be a number of seconds, or a text like 5s or 2m"))
}
