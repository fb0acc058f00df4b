//! The control API and the inbox page: plain HTTP on loopback, for tests in any language and for looking at.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::device::Platform;
use crate::fault::Fault;
use crate::google::Vendor;
use crate::webpush::WebPush;

pub(crate) async fn serve(listener: TcpListener, vendor: Arc<Vendor>, webpush: Arc<WebPush>) {
    let router = Router::new()
        .route("/", get(async || Html(include_str!("inbox.html"))))
        .route("/control", get(verbs))
        .route("/control/devices", get(devices).post(add_device))
        .route("/control/devices/{id}/inbox", get(inbox))
        .route("/control/devices/{id}/unregister", post(unregister))
        .route("/control/faults", post(fail).delete(heal))
        .route("/control/bearers/revoke", post(revoke))
        .route("/control/events", get(events))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(vendor)
        .merge(crate::webpush::control::routes(webpush));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "control API ended");
    }
}

type Shared = State<Arc<Vendor>>;

fn refused(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({"code": code, "detail": detail}))).into_response()
}

async fn verbs() -> Json<serde_json::Value> {
    Json(json!({
        "POST /control/devices": {"id": "bob-web", "platform": "web | android | ios"},
        "GET /control/devices": "all devices",
        "GET /control/devices/{id}/inbox": "what the device shows, newest first",
        "POST /control/devices/{id}/unregister": "the app is removed: its token is dead",
        "POST /control/faults": {"at": "send | token", "next": 1, "effect": {"error": {"status": 503, "code": "UNAVAILABLE", "retry_after": "30"}}},
        "effects": ["error", "raw", "hang", "lose_answer", "reset"],
        "DELETE /control/faults": "nothing goes wrong any more",
        "POST /control/bearers/revoke": "every bearer given out is refused",
        "GET /control/events?after=0": "what has happened",
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    id: String,
    platform: Platform,
}

async fn add_device(State(vendor): Shared, body: Result<Json<NewDevice>, JsonRejection>) -> Response {
    let Json(new) = match body {
        Ok(body) => body,
        Err(error) => return refused(error.status(), "bad_request", &error.body_text()),
    };
    match vendor.add_device(&new.id, new.platform) {
        Some(device) => (StatusCode::CREATED, Json(device)).into_response(),
        None => refused(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no keys could be made"),
    }
}

async fn devices(State(vendor): Shared) -> Json<serde_json::Value> {
    let all = vendor.devices().into_iter().map(|(id, platform)| json!({"id": id, "platform": platform}));
    Json(all.collect())
}

async fn inbox(State(vendor): Shared, Path(id): Path<String>) -> Response {
    match vendor.inbox(&id) {
        Some(inbox) => Json(inbox).into_response(),
        None => refused(StatusCode::NOT_FOUND, "unknown_device", "create it with POST /control/devices"),
    }
}

async fn unregister(State(vendor): Shared, Path(id): Path<String>) -> Response {
    if vendor.unregister(&id) {
        return StatusCode::NO_CONTENT.into_response();
    }
    refused(StatusCode::NOT_FOUND, "unknown_device", "create it with POST /control/devices")
}

async fn fail(State(vendor): Shared, body: Result<Json<Fault>, JsonRejection>) -> Response {
    match body {
        Ok(Json(fault)) => (StatusCode::CREATED, Json(json!({"rule": vendor.fail(fault)}))).into_response(),
        Err(error) => refused(error.status(), "bad_request", &error.body_text()),
    }
}

async fn heal(State(vendor): Shared) -> StatusCode {
    vendor.heal();
    StatusCode::NO_CONTENT
}

async fn revoke(State(vendor): Shared) -> StatusCode {
    vendor.revoke_bearers();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn events(State(vendor): Shared, Query(After { after }): Query<After>) -> Json<Vec<crate::Event>> {
    Json(vendor.events(after))
}
