//! JSON of the native API. Requests are validated here and nowhere else; responses are formatted here.

mod device;
mod locale;
mod notification;
mod overrides;
mod pruned;
mod query;
mod status;
mod strict;
mod user;
mod warning;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::problem::Problem;

pub(crate) use device::{AddressOrPushId, DeviceBody, DeviceRequest, LoginBody, NamedDevice, RotateBody};
pub(crate) use notification::NotificationBody;
pub(crate) use pruned::{RestoreBody, dead_page, dead_query, restored_page};
pub(crate) use query::{Parameters, refuse_unknown};
pub(crate) use status::{SubmitResponse, device, nothing_pushed, status};
pub(crate) use user::{
    AckBody, BadgeBody, ManyPresencesBody, PresenceBody, PresenceChange, SessionState, rules,
};
pub(crate) use warning::Warning;

/// Body of `POST /v1/receipts`: a device event, authenticated by the event token of the push.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceEventBody {
    pub(crate) token: String,
    pub(crate) event: pushgate::DeviceEvent,
}

/// Returns 422 for a field that has the right type and a wrong value.
pub(crate) fn refused(field: &str, reason: impl fmt::Display) -> Problem {
    Problem::new(422, "invalid_field", format!("{field}: {reason}")).about(field)
}

/// Parses a body. Text that is not JSON is 400 `invalid_json`, JSON of another shape is 422 `invalid_body`.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
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

/// Parses a duration of a query: `5` in seconds, or `5s`.
pub(crate) fn query_duration(name: &str, text: &str) -> Result<Duration, Problem> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    seconds
        .or_else(|_| humantime::parse_duration(text))
        .map_err(|_| refused(name, "must be a number of seconds, or a text like 5s or 2m"))
}
