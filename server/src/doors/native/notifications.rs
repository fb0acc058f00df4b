//! Notifications: submit, preview, what became of them.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use pushgate::NotificationId;
use pushgate_config::KeyScope;
use serde_json::{Value, json};

use super::super::Shared;
use super::super::wire::{self, NotificationBody, Submitted};
use super::{Answer, admitted, body};
use crate::problem::Problem;

pub(super) async fn submit(
    State(house): Shared,
    Path(app): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let wait = query.get("wait").map(|text| wire::span(text)).transpose()?;
    let asked: NotificationBody = wire::parse(&body(&house, bytes).await?)?;
    let ticket = house.gateway.submit(asked.notification(app.clone())?).await?;
    let status = match wait {
        // Leaves time to answer within the request's own limit.
        Some(wait) => house.gateway.settled(&app, ticket.id, wait.min(house.patience.mul_f32(0.9))).await?,
        None => None,
    };
    Ok((StatusCode::ACCEPTED, Json(Submitted::new(ticket, status.as_ref()))).into_response())
}

pub(super) async fn preview(
    State(house): Shared,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let asked: NotificationBody = wire::parse(&body(&house, bytes).await?)?;
    let (previews, skipped) = house.gateway.preview(&asked.notification(app)?).await?;
    let one = |preview: &pushgate::gateway::Preview| {
        json!({"channel": preview.channel, "addresses": preview.targets, "bytes": preview.rendered.counted,
            "max_bytes": preview.max_bytes, "truncated": preview.truncated, "body": preview.rendered.body})
    };
    let channels: Vec<Value> = previews.iter().map(one).collect();
    Ok(Json(json!({"channels": channels, "skipped": skipped})).into_response())
}

pub(super) async fn read(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let unknown =
        || Problem::new(404, "unknown_notification", "the app has no such notification, or it was long ago");
    let id = NotificationId(id.parse().map_err(|_| unknown())?);
    let status = house.gateway.status(&app, id).await?.ok_or_else(unknown)?;
    Ok(Json(wire::status(&status)).into_response())
}
