//! The control API's part for Web Push: subscriptions and inboxes of the virtual browsers, as JSON.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::browser::State;
use super::{BadKey, Service, WebPush};

/// The routes, ready to be merged.
pub(crate) fn routes(webpush: Arc<WebPush>) -> Router {
    Router::new()
        .route("/control/webpush", get(verbs))
        .route("/control/webpush/subscriptions", get(all).post(subscribe))
        .route("/control/webpush/subscriptions/{id}/inbox", get(inbox))
        .route("/control/webpush/subscriptions/{id}/shown", get(shown))
        .route("/control/webpush/subscriptions/{id}/{state}", post(put))
        .with_state(webpush)
}

async fn verbs() -> Json<Value> {
    let mut own = manual();
    own["subscription fields"] = fields();
    own["GET /control"] = "what it has in common with the other vendors: faults, connections, events".into();
    Json(own)
}

/// A body that subscribes a virtual browser. The key is the example of RFC 8291, Appendix A.
pub(super) fn example() -> Value {
    json!({
        "service": "mozilla",
        "vapid_public_key": "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
    })
}

/// The fields of such a body, and of the answer.
pub(super) fn fields() -> Value {
    json!({
        "service": "mozilla | google | apple | windows | generic",
        "vapid_public_key": "base64url: the applicationServerKey of the page (vapid.pub of the emulator's folder)",
        "origin": "optional: https://127.0.0.1:PORT of the emulator instead of the service's own name",
        "answer": "id, subscription (endpoint, keys: p256dh and auth), as a page gets it from subscribe()",
    })
}

/// The routes that only Web Push has.
pub(super) fn manual() -> Value {
    json!({
        "POST /control/webpush/subscriptions": example(),
        "GET /control/webpush/subscriptions": "all virtual browsers",
        "GET /control/webpush/subscriptions/{id}/inbox": "what their push events got, newest first",
        "GET /control/webpush/subscriptions/{id}/shown": "what they show, newest first",
        "POST /control/webpush/subscriptions/{id}/expired": "the subscription is dead",
        "POST /control/webpush/subscriptions/{id}/offline": "the browser is closed",
        "POST /control/webpush/subscriptions/{id}/online": "the browser is back",
    })
}

type Services = Shared<Arc<WebPush>>;

fn refused(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({"code": code, "detail": detail}))).into_response()
}

fn unknown() -> Response {
    refused(StatusCode::NOT_FOUND, "unknown_subscription", "GET /control/webpush/subscriptions lists them")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    service: Service,
    vapid_public_key: String,
    origin: Option<String>,
}

async fn subscribe(Shared(webpush): Services, body: Bytes) -> Response {
    let new = match serde_json::from_slice(&body) {
        Ok(new) => new,
        Err(error) => return refused(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    match made(&webpush, new) {
        Ok(answer) => (StatusCode::CREATED, Json(answer)).into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, "bad_key", &error.to_string()),
    }
}

/// A new browser as its owner needs to know it.
fn made(webpush: &WebPush, new: New) -> Result<Value, BadKey> {
    let subscription = webpush.subscribe(new.service, &new.vapid_public_key)?;
    let subscription = match new.origin {
        Some(origin) => subscription.at(&origin),
        None => subscription,
    };
    Ok(json!({"id": subscription.id, "subscription": subscription}))
}

/// The same, for the verbs that all vendors share.
pub(super) fn subscribed(webpush: &WebPush, wish: Value) -> Result<Value, String> {
    let new: New = serde_json::from_value(wish).map_err(|error| error.to_string())?;
    made(webpush, new).map_err(|error| error.to_string())
}

async fn all(Shared(webpush): Services) -> Json<Value> {
    let browsers = webpush.browsers.lock();
    let one = |browser: &super::Browser| json!({"id": browser.subscription.id, "service": browser.service, "state": browser.state});
    Json(browsers.iter().map(one).collect())
}

async fn inbox(Shared(webpush): Services, Path(id): Path<String>) -> Response {
    match webpush.with(&id, |browser| browser.inbox()) {
        Some(inbox) => Json(inbox).into_response(),
        None => unknown(),
    }
}

async fn shown(Shared(webpush): Services, Path(id): Path<String>) -> Response {
    webpush.shown(&id).map_or_else(unknown, |shown| Json(shown).into_response())
}

async fn put(Shared(webpush): Services, Path((id, state)): Path<(String, State)>) -> Response {
    if webpush.put(&id, state) { StatusCode::NO_CONTENT.into_response() } else { unknown() }
}
