//! JSON of dead addresses: the query that lists them, the request that restores them, and its result. It never contains a token.

use std::collections::HashMap;

use pushgate::gateway::RestoredPage;
use pushgate::{ChannelName, DeadAddress, DeadId, DeadQuery, DeadState, DeviceId, Restoration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused;
use crate::problem::Problem;

/// Size of a page of addresses if the request gives none.
const DEFAULT_LIMIT: usize = 100;

/// Body of `POST …/devices:restore`: devices, or a channel and the time since when it pruned.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreBody {
    #[serde(default)]
    devices: Vec<DeviceId>,
    channel: Option<ChannelName>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    after: Option<u64>,
}

impl RestoreBody {
    /// Returns the query for the addresses to restore.
    pub(crate) fn query(self) -> Result<DeadQuery, Problem> {
        let Self { devices, channel, since, until, after } = self;
        if devices.is_empty() && (channel.is_none() || since.is_none()) {
            return Err(refused(
                "devices",
                "must not be empty; list devices, or give `channel` and `since` instead",
            ));
        }
        if devices.len() > DeadQuery::MAX_LIMIT {
            return Err(refused("devices", format!("at most {} at once", DeadQuery::MAX_LIMIT)));
        }
        let (state, limit) = (Some(DeadState::Pruned), DeadQuery::MAX_LIMIT);
        let after = after.map(dead_id).transpose()?;
        Ok(DeadQuery { channel, devices, state, since, until, after, limit })
    }
}

/// Parses the query of `GET …/devices:pruned`. Unknown parameters have been refused before.
pub(crate) fn dead_query(mut parameters: HashMap<String, String>) -> Result<DeadQuery, Problem> {
    let mut query = DeadQuery::new(DEFAULT_LIMIT);
    if let Some(channel) = parameters.remove("channel") {
        query.channel = Some(ChannelName::new(&channel).map_err(|error| refused("channel", error))?);
    }
    if let Some(state) = parameters.remove("state") {
        let wrong = |_| refused("state", "must be `pruned` or `held_back`");
        query.state = Some(serde_json::from_value(state.into()).map_err(wrong)?);
    }
    query.since = timestamp(&mut parameters, "since")?;
    query.until = timestamp(&mut parameters, "until")?;
    if let Some(after) = parameters.remove("after") {
        query.after = Some(dead_id(after.parse().map_err(|_| wrong_after())?)?);
    }
    if let Some(limit) = parameters.remove("limit") {
        let limit = limit.parse().ok().filter(|limit| (1..=DeadQuery::MAX_LIMIT).contains(limit));
        let wrong = || refused("limit", format!("must be 1 to {}", DeadQuery::MAX_LIMIT));
        query.limit = limit.ok_or_else(wrong)?;
    }
    Ok(query)
}

/// Returns the id of a dead address that a page ended with.
fn dead_id(after: u64) -> Result<DeadId, Problem> {
    after.try_into().map(DeadId).map_err(|_| wrong_after())
}

fn wrong_after() -> Problem {
    refused("after", "must be the `next` of the previous page")
}

fn timestamp(parameters: &mut HashMap<String, String>, name: &str) -> Result<Option<Timestamp>, Problem> {
    let wrong = |_| refused(name, "must be a time like 2026-11-24T20:00:00Z (a `+` is written as %2B)");
    parameters.remove(name).map(|text| serde_json::from_value(text.into()).map_err(wrong)).transpose()
}

/// Formats a page of dead addresses. `next` is null on the last page.
pub(crate) fn dead_page(page: &[DeadAddress], limit: usize) -> Value {
    let next = page.last().map(|dead| dead.id).filter(|_| page.len() >= limit);
    json!({"pruned": page.iter().map(dead_address).collect::<Vec<_>>(), "next": next})
}

/// Formats the result of a restoration, address by address.
pub(crate) fn restored_page(page: &RestoredPage) -> Value {
    let results = page.results.iter().map(|(dead, restoration)| {
        let mut result = dead_address(dead);
        result["result"] = json!(restoration);
        result
    });
    let restored = page.results.iter().filter(|(_, result)| *result == Restoration::Restored).count();
    json!({"restored": restored, "skipped": page.results.len() - restored,
        "results": results.collect::<Vec<_>>(), "next": page.next})
}

fn dead_address(dead: &DeadAddress) -> Value {
    json!({"id": dead.id, "device": dead.device, "user": dead.user, "channel": dead.address.channel,
        "kind": dead.address.kind, "state": dead.state, "at": dead.at, "dead_since": dead.death.since,
        "fault": dead.death.fault.info().code, "vendor_code": dead.death.vendor_code})
}
