//! HTTP routes for browsers: the page, the SDK, login tokens, and the WebSocket.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, State, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pushgate::DeviceEvent;
use pushgate::gateway::DeviceEventError;
use serde::Deserialize;
use serde_json::json;

use crate::hub::Hub;
use crate::push::RECEIPTS;
use crate::{session, wire};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// All static files: name, content type, text.
const FILES: &[(&str, &str, &str)] = &[
    ("", HTML, include_str!("../page/index.html")),
    ("app.js", SCRIPT, include_str!("../page/app.js")),
    ("zim.js", SCRIPT, include_str!("../page/zim.js")),
    ("style.css", STYLE, include_str!("../page/style.css")),
    ("icon.svg", PICTURE, include_str!("../page/icon.svg")),
    ("zpns.js", SCRIPT, include_str!("../../../web/dist/index.js")),
    // At the root of the site, where browsers and the SDK look for it.
    ("firebase-messaging-sw.js", SCRIPT, include_str!("../../../web/dist/firebase-messaging-sw.js")),
];

pub(crate) fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/ws", get(connect))
        .route("/token", get(token))
        .route("/config.json", get(config))
        .route(RECEIPTS, post(receipt).layer(DefaultBodyLimit::max(1024)))
        .route("/rotate", post(rotate).layer(DefaultBodyLimit::max(16 * 1024)))
        .route("/", get(async || file("")))
        .route("/{file}", get(async |Path(name): Path<String>| file(&name)))
        .with_state(hub)
}

type Shared = State<Arc<Hub>>;

fn file(name: &str) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => {
            ([(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")], *text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn connect(State(hub): Shared, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(64 * 1024).on_upgrade(move |socket| session::serve(hub, socket))
}

#[derive(Deserialize)]
struct Wanted {
    user: String,
}

async fn token(State(hub): Shared, Query(Wanted { user }): Query<Wanted>) -> Response {
    match hub.token(&user) {
        Ok(token) => Json(json!({"token": token})).into_response(),
        Err(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, Json(refusal)).into_response(),
    }
}

/// Returns the key that a page subscribes with.
async fn config(State(hub): Shared) -> Response {
    Json(json!({"vapidKey": hub.push.vapid_key})).into_response()
}

#[derive(Deserialize)]
struct Receipt {
    token: String,
    event: DeviceEvent,
}

/// Accepts a device event from a service worker. The worker sends JSON as plain text, as the SDK does for gateways of
/// other sites.
async fn receipt(State(hub): Shared, told: String) -> StatusCode {
    let Ok(Receipt { token, event }) = serde_json::from_str(&told) else { return StatusCode::BAD_REQUEST };
    match hub.push.receipt(&token, event).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(DeviceEventError::UnknownToken) => StatusCode::NOT_FOUND,
        Err(DeviceEventError::RetentionEnded) => StatusCode::GONE,
        Err(DeviceEventError::Storage(_)) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(Deserialize)]
struct Rotation {
    old: Held,
    new: Held,
}

#[derive(Deserialize)]
struct Held {
    push_id: String,
}

/// Accepts a changed token from a service worker. The answer is always the same, so that it reveals nothing to
/// strangers.
async fn rotate(State(hub): Shared, told: String) -> StatusCode {
    let Ok(Rotation { old, new }) = serde_json::from_str(&told) else { return StatusCode::BAD_REQUEST };
    let (Some(old), Some(new)) = (wire::token(&old.push_id), wire::token(&new.push_id)) else {
        return StatusCode::BAD_REQUEST;
    };
    if let Err(refusal) = hub.push.rotate(&old, &new).await {
        tracing::info!(code = refusal.code, "a push token is not replaced");
    }
    StatusCode::NO_CONTENT
}
