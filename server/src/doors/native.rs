//! The native door, `/v1`: the API we would want to use.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use pushgate::{AppId, DeviceId, NotificationId, UserId};
use pushgate_config::KeyScope;
use serde_json::{Value, json};

use super::wire::{self, DeviceBody, NotificationBody, Submitted};
use super::{House, Shared};
use crate::problem::Problem;

type Answer = Result<Response, Problem>;

pub(super) fn routes() -> Router<std::sync::Arc<House>> {
    Router::new()
        .route("/v1/apps/{app}/notifications", post(submit))
        .route("/v1/apps/{app}/notifications:preview", post(preview))
        .route("/v1/apps/{app}/notifications/{id}", get(read))
        .route("/v1/apps/{app}/devices", post(register))
        .route("/v1/apps/{app}/devices/{device}", put(update).get(show).delete(forget))
        .route("/v1/apps/{app}/users/{user}/devices", get(list))
}

/// Who asks, for which app: a key first, so that strangers learn nothing of which apps there are.
fn admitted(house: &House, headers: &HeaderMap, app: &str, scope: KeyScope) -> Result<AppId, Problem> {
    let invalid = |error: pushgate::InvalidName| Problem::new(422, "invalid_field", error.to_string());
    let app = AppId::new(app).map_err(invalid)?;
    house.keys.admit(headers, Some(&app), scope)?;
    match house.gateway.app(&app) {
        Some(_) => Ok(app),
        None => Err(Problem::new(404, "unknown_app", format!("there is no app `{app}`"))),
    }
}

/// How much of a body that is too large is read and thrown away, so that its sender gets to read the refusal.
const LINGER: usize = 32 * 1024 * 1024;

async fn body(house: &House, mut body: Body) -> Result<Bytes, Problem> {
    let max = house.max_body;
    let (mut all, mut read) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::new(400, "broken_body", "the body ended before its time"))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read <= max {
            all.extend_from_slice(&data);
        } else if read > max + LINGER {
            break;
        }
    }
    if read > max {
        return Err(Problem::new(413, "body_too_large", format!("at most {max} bytes")));
    }
    Ok(all.freeze())
}

fn named<T>(parsed: Result<T, pushgate::InvalidName>) -> Result<T, Problem> {
    parsed.map_err(|error| Problem::new(422, "invalid_field", error.to_string()))
}

async fn submit(
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

async fn preview(State(house): Shared, Path(app): Path<String>, headers: HeaderMap, bytes: Body) -> Answer {
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

async fn read(State(house): Shared, Path((app, id)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Send)?;
    let unknown =
        || Problem::new(404, "unknown_notification", "the app has no such notification, or it was long ago");
    let id = NotificationId(id.parse().map_err(|_| unknown())?);
    let status = house.gateway.status(&app, id).await?.ok_or_else(unknown)?;
    Ok(Json(wire::status(&status)).into_response())
}

async fn register(State(house): Shared, Path(app): Path<String>, headers: HeaderMap, bytes: Body) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let mut asked: DeviceBody = wire::parse(&body(&house, bytes).await?)?;
    let id = match asked.id.take() {
        Some(id) => id,
        None => named(DeviceId::new(&pushgate::DeliveryId::new().to_string()))?,
    };
    stored(&house, app, id, asked).await
}

async fn update(
    State(house): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let id = named(DeviceId::new(&id))?;
    let asked: DeviceBody = wire::parse(&body(&house, bytes).await?)?;
    stored(&house, app, id, asked).await
}

async fn stored(house: &House, app: AppId, id: DeviceId, asked: DeviceBody) -> Answer {
    let device = asked.device(app, id, house.gateway.now())?;
    if let Some(app) = house.gateway.app(&device.app) {
        device.addresses.iter().try_for_each(|address| app.admits(address))?;
    }
    let shown = wire::device(&device);
    let status = match house.gateway.store().register(device).await? {
        pushgate::store::Registered::Created => StatusCode::CREATED,
        pushgate::store::Registered::Updated => StatusCode::OK,
    };
    Ok((status, Json(shown)).into_response())
}

async fn show(State(house): Shared, Path((app, id)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    match house.gateway.store().device(&app, &named(DeviceId::new(&id))?).await? {
        Some(device) => Ok(Json(wire::device(&device)).into_response()),
        None => Err(Problem::new(404, "unknown_device", "the app has no such device")),
    }
}

async fn forget(State(house): Shared, Path((app, id)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    if house.gateway.store().forget(&app, &named(DeviceId::new(&id))?).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(Problem::new(404, "unknown_device", "the app has no such device"))
}

async fn list(State(house): Shared, Path((app, user)): Path<(String, String)>, headers: HeaderMap) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Devices)?;
    let devices = house.gateway.store().devices_of(&app, &[named(UserId::new(&user))?]).await?;
    let devices: Vec<Value> = devices.iter().map(wire::device).collect();
    Ok(Json(json!({"devices": devices})).into_response())
}
