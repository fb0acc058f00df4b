//! Responses about devices and notifications. They never contain a token.

use std::collections::BTreeMap;

use pushgate::{Device, Receipt, Skip, Status, Ticket};
use serde::Serialize;
use serde_json::{Value, json};

use super::warning::Warning;

/// Formats a device without its tokens.
pub(crate) fn device(device: &Device) -> Value {
    let addresses = device.addresses.iter().map(|a| json!({"channel": a.channel, "kind": a.kind}));
    json!({"id": device.id, "user": device.user, "traits": device.traits,
        "addresses": addresses.collect::<Vec<_>>(), "registered_at": device.registered_at})
}

/// Response to a submit. It contains the delivery status if the caller waited for it.
#[derive(Serialize)]
pub(crate) struct SubmitResponse {
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

impl SubmitResponse {
    pub(crate) fn new(ticket: Ticket, mut warnings: Vec<Warning>, status: Option<&Status>) -> Self {
        let Ticket { id, accepted, awaiting_ack, deferred_batches, skipped, replayed, warnings: planned } =
            ticket;
        warnings.extend(planned.into_iter().map(Warning::from));
        Self {
            id,
            accepted,
            awaiting: awaiting_ack,
            parts: deferred_batches,
            skipped,
            replayed,
            warnings,
            status: status.map(self::status),
        }
    }
}

/// Returns the response to a submit whose empty `pushConfig` asks for no push.
pub(crate) fn nothing_pushed() -> Value {
    json!({"id": null, "accepted": 0, "awaiting": 0, "parts": 0, "skipped": [{"reason": "empty_push_config"}], "replayed": false, "warnings": []})
}

/// Formats the status of a notification: counts by delivery status, and one page of recipients.
pub(crate) fn status(status: &Status) -> Value {
    let counts: BTreeMap<&str, u64> =
        status.counts.iter().map(|(state, number)| (state.as_str(), *number)).collect();
    let events: BTreeMap<&str, u64> =
        status.events.iter().map(|(event, number)| (event.as_str(), *number)).collect();
    let mut response = json!({"id": status.id, "created_at": status.created_at, "counts": counts, "told": events,
        "skips": status.skips, "skipped": status.skipped,
        "devices": status.receipts.iter().map(recipient_status).collect::<Vec<_>>()});
    if let Some(next) = status.next {
        response["next"] = json!(next);
    }
    if let Some(progress) = status.progress {
        response["progress"] = json!(progress);
    }
    if let Some(revoked_at) = status.revoked_at {
        response["revoked_at"] = json!(revoked_at);
    }
    response
}

/// Formats the delivery status of one recipient.
fn recipient_status(receipt: &Receipt) -> Value {
    let fault = receipt.fault.as_ref().map(|fault| {
        let info = fault.info();
        json!({"code": info.code, "blame": info.blame, "advice": info.advice, "detail": fault.detail, "vendor_code": fault.vendor_code})
    });
    let mut response = json!({"device": receipt.device, "user": receipt.user, "channel": receipt.channel,
        "state": receipt.state, "vendor_id": receipt.vendor_id, "fault": fault, "attempts": receipt.attempts,
        "at": receipt.at, "next_at": receipt.next_at});
    if !receipt.events.is_empty() {
        response["told"] = json!(receipt.events);
    }
    response
}
