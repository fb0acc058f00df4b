//! Notifications: submit, preview, what became of them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use pushgate::{AppId, Notification, NotificationId, RequestDigest, Status};
use pushgate_config::KeyScope;
use serde_json::{Value, json};

use super::super::bodies::Received;
use super::super::wire::{self, AckBody, NotificationBody, Parameters, Submitted, Warning};
use super::super::{House, Shared, method_not_allowed};
use super::{Answer, admitted, admitted_for, body, number};
use crate::problem::Problem;

pub(super) async fn submit(
    State(house): Shared,
    Path(app): Path<String>,
    query: Parameters,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let wait = query.get("wait").map(|text| wire::span("wait", text)).transpose()?;
    let Received { bytes, share } = house.bodies.read(bytes, house.max_body).await?;
    let asked: NotificationBody = wire::parse(&bytes)?;
    let request_digest = digest(&asked, &bytes)?;
    drop(bytes);
    let Some(mut asked) = notification(&house, asked, &app)? else {
        return Ok((StatusCode::ACCEPTED, Json(wire::nothing_pushed())).into_response());
    };
    asked.request_digest = request_digest;
    let warnings = Warning::of_notification(&asked);
    let ticket = house.gateway.submit(asked).await?;
    // It is stored: while its caller waits for the outcome, others may have its room.
    drop(share);
    let status = match wait {
        // Leaves time to answer within the request's own limit.
        Some(wait) => house.gateway.settled(&app, ticket.id, wait.min(house.patience.mul_f32(0.9))).await?,
        None => None,
    };
    Ok((StatusCode::ACCEPTED, Json(Submitted::new(ticket, warnings, status.as_ref()))).into_response())
}

/// Returns the digest of a request under an idempotency key: of the request, and not of what this release reads from it, because the
/// next one may read it differently. `None` means that it has no key.
fn digest(asked: &NotificationBody, bytes: &[u8]) -> Result<Option<RequestDigest>, Problem> {
    if !asked.has_idempotency_key() {
        return Ok(None);
    }
    Ok(Some(RequestDigest::from_json(&wire::parse(bytes)?)))
}

/// What is asked for; none when the client's `pushConfig` says that nothing is to be pushed.
fn notification(house: &House, asked: NotificationBody, id: &AppId) -> Result<Option<Notification>, Problem> {
    let unknown = || Problem::new(404, "unknown_app", format!("there is no app `{id}`"));
    asked.notification(id.clone(), house.gateway.app(id).ok_or_else(unknown)?)
}

pub(super) async fn preview(
    State(house): Shared,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let asked: NotificationBody = wire::parse(&body(&house, bytes).await?)?;
    let Some(asked) = notification(&house, asked, &app)? else {
        return Ok(Json(
            json!({"channels": [], "skipped": [{"reason": "empty_push_config"}], "warnings": []}),
        )
        .into_response());
    };
    let (previews, skipped) = house.gateway.preview(&asked).await?;
    let one = |preview: &pushgate::gateway::Preview| {
        json!({"channel": preview.channel, "addresses": preview.targets, "bytes": preview.rendered.counted,
            "max_bytes": preview.max_bytes, "truncated": preview.truncated, "body": preview.rendered.body})
    };
    let channels: Vec<Value> = previews.iter().map(one).collect();
    let warnings = Warning::of_notification(&asked);
    Ok(Json(json!({"channels": channels, "skipped": skipped, "warnings": warnings})).into_response())
}

/// Suffix of the id in the path of an acknowledgement.
const ACK: &str = ":ack";

/// `…/notifications/{id}` and `…/notifications/{id}:ack`. The router knows no suffix of a parameter.
pub(super) async fn one(State(house): Shared, request: Request) -> Response {
    let operations =
        if request.uri().path().ends_with(ACK) { post(acknowledge) } else { get(read).delete(revoke) };
    operations.fallback(method_not_allowed).call(request, house).await.into_response()
}

async fn read(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    query: Parameters,
    headers: HeaderMap,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    // `devices` is what `limit` was called before there were pages.
    let limit = match number(&query, "limit", Status::MOST)? {
        None => number(&query, "devices", Status::MOST)?,
        limit => limit,
    };
    let (after, limit) = (number(&query, "after", u32::MAX)?, limit.unwrap_or(Status::MOST));
    let status = house.gateway.status_page(&app, parsed(&id)?, after, limit).await?;
    let mut status = status.ok_or_else(unknown)?;
    status.skipped.truncate(limit);
    Ok(Json(wire::status(&status)).into_response())
}

async fn revoke(State(house): Shared, Path((app, id)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let revoked = house.gateway.revoke(&app, parsed(&id)?).await?.ok_or_else(unknown)?;
    Ok(Json(json!({"withdrawn": revoked.withdrawn, "removals": revoked.removals})).into_response())
}

/// `POST …/notifications/{id}:ack`.
async fn acknowledge(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let (app, caller) = admitted_for(&house, &headers, &app, KeyScope::Send)?;
    let asked: AckBody = wire::parse(&body(&house, bytes).await?)?;
    let id = id.strip_suffix(ACK).ok_or_else(unknown)?;
    caller.speaks_for(Some(asked.user.clone()))?;
    let waited = house.gateway.acknowledge(&app, parsed(id)?, &asked.user).await?;
    Ok(Json(json!({"in_time": waited})).into_response())
}

fn parsed(id: &str) -> Result<NotificationId, Problem> {
    Ok(NotificationId(id.parse().map_err(|_| unknown())?))
}

fn unknown() -> Problem {
    Problem::new(404, "unknown_notification", "the app has no such notification, or it was long ago")
}
