//! Notifications: submit, preview, read the status, acknowledge, revoke.

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

use super::{HandlerResult, authorize, authorize_server, number, read_body};
use crate::api::bodies::Received;
use crate::api::v1::schema::{self, AckBody, NotificationBody, Parameters, SubmitResponse, Warning};
use crate::api::{AppState, SharedState, method_not_allowed};
use crate::problem::Problem;

pub(super) async fn submit(
    State(state): SharedState,
    Path(app): Path<String>,
    query: Parameters,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Send)?;
    let wait = query.get("wait").map(|text| schema::query_duration("wait", text)).transpose()?;
    let Received { bytes, share } = state.bodies.read(bytes, state.max_body).await?;
    let body: NotificationBody = schema::parse(&bytes)?;
    let request_digest = digest(&body, &bytes)?;
    drop(bytes);
    let Some(mut notification) = to_notification(&state, body, &app)? else {
        return Ok((StatusCode::ACCEPTED, Json(schema::nothing_pushed())).into_response());
    };
    notification.request_digest = request_digest;
    let warnings = Warning::for_notification(&notification);
    let ticket = state.gateway.submit(notification).await?;
    // The notification is stored, so its memory is free for other requests while this caller waits for the outcome.
    drop(share);
    let status = match wait {
        // Leaves time to answer within the request timeout.
        Some(wait) => {
            state
                .gateway
                .wait_until_settled(&app, ticket.id, wait.min(state.request_timeout.mul_f32(0.9)))
                .await?
        }
        None => None,
    };
    Ok((StatusCode::ACCEPTED, Json(SubmitResponse::new(ticket, warnings, status.as_ref()))).into_response())
}

/// Returns the digest of a request with an idempotency key, `None` if it has no key.
///
/// The digest covers the request's JSON and not the parsed notification, because another release may parse it differently.
fn digest(body: &NotificationBody, bytes: &[u8]) -> Result<Option<RequestDigest>, Problem> {
    if !body.has_idempotency_key() {
        return Ok(None);
    }
    Ok(Some(RequestDigest::from_json(&schema::parse(bytes)?)))
}

/// Returns the notification of a body, `None` if its `pushConfig` asks for no push.
fn to_notification(
    state: &AppState,
    body: NotificationBody,
    id: &AppId,
) -> Result<Option<Notification>, Problem> {
    let unknown = || Problem::new(404, "unknown_app", format!("there is no app `{id}`"));
    body.into_notification(id.clone(), state.gateway.app(id).ok_or_else(unknown)?)
}

pub(super) async fn preview(
    State(state): SharedState,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Send)?;
    let body: NotificationBody = schema::parse(&read_body(&state, bytes).await?)?;
    let Some(notification) = to_notification(&state, body, &app)? else {
        return Ok(Json(
            json!({"channels": [], "skipped": [{"reason": "empty_push_config"}], "warnings": []}),
        )
        .into_response());
    };
    let (previews, skipped) = state.gateway.preview(&notification).await?;
    let to_json = |preview: &pushgate::gateway::Preview| {
        json!({"channel": preview.channel, "addresses": preview.targets, "bytes": preview.rendered.counted,
            "max_bytes": preview.max_bytes, "truncated": preview.truncated, "body": preview.rendered.body})
    };
    let channels: Vec<Value> = previews.iter().map(to_json).collect();
    let warnings = Warning::for_notification(&notification);
    Ok(Json(json!({"channels": channels, "skipped": skipped, "warnings": warnings})).into_response())
}

/// Suffix of the notification's id in the path of an acknowledgement.
const ACK_SUFFIX: &str = ":ack";

/// Dispatches `…/notifications/{id}` and `…/notifications/{id}:ack`: the router cannot match a suffix after a parameter.
pub(super) async fn by_id(State(state): SharedState, request: Request) -> Response {
    let operations =
        if request.uri().path().ends_with(ACK_SUFFIX) { post(acknowledge) } else { get(read).delete(revoke) };
    operations.fallback(method_not_allowed).call(request, state).await.into_response()
}

async fn read(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    query: Parameters,
    headers: HeaderMap,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Send)?;
    // `devices` is an older name of `limit`.
    let limit = match number(&query, "limit", Status::MAX_PAGE)? {
        None => number(&query, "devices", Status::MAX_PAGE)?,
        limit => limit,
    };
    let (after, limit) = (number(&query, "after", u32::MAX)?, limit.unwrap_or(Status::MAX_PAGE));
    let status = state.gateway.status_page(&app, parse_id(&id)?, after, limit).await?;
    let mut status = status.ok_or_else(unknown)?;
    status.skipped.truncate(limit);
    Ok(Json(schema::status(&status)).into_response())
}

async fn revoke(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Send)?;
    let revoked = state.gateway.revoke(&app, parse_id(&id)?).await?.ok_or_else(unknown)?;
    Ok(Json(json!({"withdrawn": revoked.withdrawn, "removals": revoked.removals})).into_response())
}

/// Acknowledges a notification for a user who received it on their connection.
async fn acknowledge(
    State(state): SharedState,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let (app, caller) = authorize(&state, &headers, &app, KeyScope::Send)?;
    let AckBody { user } = schema::parse(&read_body(&state, bytes).await?)?;
    let id = id.strip_suffix(ACK_SUFFIX).ok_or_else(unknown)?;
    caller.subject(Some(user.clone()))?;
    let in_time = state.gateway.acknowledge(&app, parse_id(id)?, &user).await?;
    Ok(Json(json!({"in_time": in_time})).into_response())
}

fn parse_id(id: &str) -> Result<NotificationId, Problem> {
    Ok(NotificationId(id.parse().map_err(|_| unknown())?))
}

fn unknown() -> Problem {
    Problem::new(
        404,
        "unknown_notification",
        "the app has no such notification, or its retention (`storage.keep`) has ended",
    )
}
