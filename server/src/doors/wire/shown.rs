//! What answers look like. No token is in any of them.

use std::collections::BTreeMap;

use pushgate::{Device, Receipt, Skip, Status, Ticket};
use serde::Serialize;
use serde_json::{Value, json};

use super::warning::Warning;

/// A device as it is shown: everything but its tokens.
pub(crate) fn device(device: &Device) -> Value {
    let addresses = device.addresses.iter().map(|a| json!({"channel": a.channel, "kind": a.kind}));
    json!({"id": device.id, "user": device.user, "traits": device.traits,
        "addresses": addresses.collect::<Vec<_>>(), "registered_at": device.registered_at})
}

/// The answer to a submit, with the receipts where they were waited for.
#[derive(Serialize)]
pub(crate) struct Submitted {
    id: pushgate::NotificationId,
    accepted: usize,
    awaiting: usize,
    parts: usize,
    skipped: Vec<Skip>,
    replayed: bool,
    warnings: Vec<Warning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Value>,
}

impl Submitted {
    pub(crate) fn new(ticket: Ticket, mut warnings: Vec<Warning>, status: Option<&Status>) -> Self {
        let Ticket { id, accepted, awaiting, parts, skipped, replayed, warnings: planned } = ticket;
        warnings.extend(planned.into_iter().map(Warning::from));
        Self { id, accepted, awaiting, parts, skipped, replayed, warnings, status: status.map(self::status) }
    }
}

/// The answer where nothing is pushed, because the client's `pushConfig` says so.
pub(crate) fn nothing_pushed() -> Value {
    json!({"id": null, "accepted": 0, "awaiting": 0, "parts": 0, "skipped": [{"reason": "empty_push_config"}], "replayed": false, "warnings": []})
}

/// Counts by state, and what is known on each device.
pub(crate) fn status(status: &Status) -> Value {
    let counts: BTreeMap<&str, u64> =
        status.counts.iter().map(|(state, number)| (state.as_str(), *number)).collect();
    let told: BTreeMap<&str, u64> =
        status.echoes.iter().map(|(echo, number)| (echo.as_str(), *number)).collect();
    let mut shown = json!({"id": status.id, "created_at": status.created_at, "counts": counts, "told": told,
        "skips": status.skips, "skipped": status.skipped,
        "devices": status.receipts.iter().map(receipt).collect::<Vec<_>>()});
    if let Some(next) = status.next {
        shown["next"] = json!(next);
    }
    if let Some(progress) = status.progress {
        shown["progress"] = json!(progress);
    }
    if let Some(revoked_at) = status.revoked_at {
        shown["revoked_at"] = json!(revoked_at);
    }
    shown
}

fn receipt(receipt: &Receipt) -> Value {
    let fault = receipt.fault.as_ref().map(|fault| {
        let row = fault.row();
        json!({"code": row.code, "blame": row.blame, "advice": row.advice, "detail": fault.detail, "vendor_code": fault.vendor_code})
    });
    let mut shown = json!({"device": receipt.device, "user": receipt.user, "channel": receipt.channel,
        "state": receipt.state, "vendor_id": receipt.vendor_id, "fault": fault, "attempts": receipt.attempts,
        "at": receipt.at, "next_at": receipt.next_at});
    if !receipt.echoes.is_empty() {
        shown["told"] = json!(receipt.echoes);
    }
    shown
}
