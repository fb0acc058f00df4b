//! Routes of the control API for Web Push: subscriptions and inboxes of the virtual browsers, as JSON.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::subscriber::{Subscriber, SubscriberState};
use super::{InvalidKey, WebPush, WebPushService};

/// Returns the routes, to be merged into the control API.
pub(crate) fn routes(web_push: Arc<WebPush>) -> Router {
    Router::new()
        .route("/control/webpush", get(describe_routes))
        .route("/control/webpush/subscriptions", get(list).post(subscribe))
        .route("/control/webpush/subscriptions/{id}/inbox", get(inbox))
        .route("/control/webpush/subscriptions/{id}/shown", get(shown))
        .route("/control/webpush/subscriptions/{id}/{state}", post(set_state))
        .with_state(web_push)
}

async fn describe_routes() -> Json<Value> {
    let mut manual = route_descriptions();
    manual["subscription fields"] = field_descriptions();
    manual["GET /control"] = "the routes that all services have: faults, connections, events".into();
    Json(manual)
}

/// Returns a body that subscribes a virtual browser. The key is the example of RFC 8291, Appendix A.
pub(super) fn example_body() -> Value {
    json!({
        "service": "mozilla",
        "vapid_public_key": "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
    })
}

/// Returns the meaning of the fields of that body and of the response.
pub(super) fn field_descriptions() -> Value {
    json!({
        "service": "mozilla | google | apple | windows | generic",
        "vapid_public_key": "base64url: the applicationServerKey of the page (vapid.pub of the emulator's folder)",
        "origin": "optional: https://127.0.0.1:PORT of the emulator instead of the service's own name",
        "answer": "id, subscription (endpoint, keys: p256dh and auth), as a page gets it from subscribe()",
    })
}

/// Returns the routes that only Web Push has, with their meanings.
pub(super) fn route_descriptions() -> Value {
    json!({
        "POST /control/webpush/subscriptions": example_body(),
        "GET /control/webpush/subscriptions": "all virtual browsers",
        "GET /control/webpush/subscriptions/{id}/inbox": "the pushes that the browser has received, newest first",
        "GET /control/webpush/subscriptions/{id}/shown": "the notifications that the browser shows, newest first",
        "POST /control/webpush/subscriptions/{id}/expired": "ends the subscription",
        "POST /control/webpush/subscriptions/{id}/offline": "disconnects the browser",
        "POST /control/webpush/subscriptions/{id}/online": "connects the browser",
    })
}

type SharedWebPush = State<Arc<WebPush>>;

fn error_response(status: StatusCode, code: &str, detail: &str) -> Response {
    (status, Json(json!({"code": code, "detail": detail}))).into_response()
}

fn unknown_subscription() -> Response {
    error_response(
        StatusCode::NOT_FOUND,
        "unknown_subscription",
        "no subscription has this id; GET /control/webpush/subscriptions lists them",
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSubscription {
    service: WebPushService,
    vapid_public_key: String,
    origin: Option<String>,
}

async fn subscribe(State(web_push): SharedWebPush, body: Bytes) -> Response {
    let request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return error_response(StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    match subscribe_browser(&web_push, request) {
        Ok(subscription) => (StatusCode::CREATED, Json(subscription)).into_response(),
        Err(error) => error_response(StatusCode::BAD_REQUEST, "bad_key", &error.to_string()),
    }
}

/// Adds a virtual browser. Returns its id and subscription.
fn subscribe_browser(web_push: &WebPush, request: NewSubscription) -> Result<Value, InvalidKey> {
    let subscription = web_push.subscribe(request.service, &request.vapid_public_key)?;
    let subscription = match request.origin {
        Some(origin) => subscription.with_origin(&origin),
        None => subscription,
    };
    Ok(json!({"id": subscription.id, "subscription": subscription}))
}

/// Adds a virtual browser for the routes that all services share.
pub(super) fn create_subscriber(web_push: &WebPush, body: Value) -> Result<Value, String> {
    let request: NewSubscription = serde_json::from_value(body).map_err(|error| error.to_string())?;
    subscribe_browser(web_push, request).map_err(|error| error.to_string())
}

async fn list(State(web_push): SharedWebPush) -> Json<Value> {
    let subscribers = web_push.subscribers.lock();
    let described = |subscriber: &Subscriber| {
        let (id, service) = (&subscriber.subscription.id, subscriber.service);
        json!({"id": id, "service": service, "state": subscriber.state})
    };
    Json(subscribers.iter().map(described).collect())
}

async fn inbox(State(web_push): SharedWebPush, Path(id): Path<String>) -> Response {
    match web_push.with_subscriber(&id, |subscriber| subscriber.inbox()) {
        Some(inbox) => Json(inbox).into_response(),
        None => unknown_subscription(),
    }
}

async fn shown(State(web_push): SharedWebPush, Path(id): Path<String>) -> Response {
    web_push.shown_by(&id).map_or_else(unknown_subscription, |shown| Json(shown).into_response())
}

async fn set_state(
    State(web_push): SharedWebPush,
    Path((id, state)): Path<(String, SubscriberState)>,
) -> Response {
    if web_push.set_state(&id, state) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        unknown_subscription()
    }
}
