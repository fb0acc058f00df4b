//! Control API and inbox page: plain HTTP on loopback, for tests in any language and for humans.
//! The routes are the same for every push service, under its name.

mod origin_check;
mod service;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::fault::{Fault, Goaway};
use crate::inbox::DeviceChange;
use origin_check::with_origin_check;
pub(crate) use service::{ApiManual, ControlledService};

/// Clock and push services that the API controls.
pub(crate) struct Control {
    pub(crate) clock: Clock,
    /// Services by their name in the paths.
    pub(crate) services: BTreeMap<&'static str, Arc<dyn ControlledService>>,
}

/// Port of the control API, and the routes that single services add.
pub(crate) struct ControlPort {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    /// Routes that pages of other sites may not call.
    pub(crate) guarded_routes: Router,
    /// Routes without that check, which browsers themselves connect to.
    pub(crate) browser_routes: Router,
}

/// Serves the control API. Returns only if the listener fails.
pub(crate) async fn serve(port: ControlPort, control: Control) {
    let router = Router::new()
        .route("/", get(async || Html(include_str!("inbox.html"))))
        .route("/control", get(manual))
        .route("/control/clock", get(clock_time).post(advance))
        .route("/control/{vendor}/devices", get(devices).post(create_device))
        .route("/control/{vendor}/devices/{id}", post(change_device))
        .route("/control/{vendor}/devices/{id}/inbox", get(inbox))
        .route("/control/{vendor}/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/control/{vendor}/faults/{rule}", delete(remove_fault))
        .route("/control/{vendor}/connections", get(connections).post(control_connections))
        .route("/control/{vendor}/events", get(events))
        .route("/control/{vendor}/do/{verb}", post(run_verb))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(Arc::new(control))
        .merge(port.guarded_routes);
    let router = with_origin_check(router, port.address).merge(port.browser_routes);
    if let Err(error) = axum::serve(port.listener, router).await {
        tracing::error!(%error, "control API failed");
    }
}

type Shared = State<Arc<Control>>;

/// Error response: status, stable code, and a text that says how to correct the request.
struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"code": self.code, "detail": self.detail}))).into_response()
    }
}

type ApiResult<T> = Result<T, ApiError>;

fn bad_request(detail: impl Into<String>) -> ApiError {
    ApiError { status: StatusCode::BAD_REQUEST, code: "bad_request", detail: detail.into() }
}

fn not_found(code: &'static str, detail: &str) -> ApiError {
    ApiError { status: StatusCode::NOT_FOUND, code, detail: detail.to_owned() }
}

fn parse_body<T: DeserializeOwned>(body: &Bytes) -> ApiResult<T> {
    // An empty body means an object without fields.
    let body = if body.is_empty() { b"{}" } else { body.as_ref() };
    serde_json::from_slice(body).map_err(|error| bad_request(error.to_string()))
}

impl Control {
    fn service(&self, vendor: &str) -> ApiResult<&Arc<dyn ControlledService>> {
        let names = || self.services.keys().copied().collect::<Vec<_>>().join(", ");
        self.services.get(vendor).ok_or_else(|| {
            not_found("unknown_vendor", &format!("the path names an unknown service; use one of {}", names()))
        })
    }
}

async fn manual(State(control): Shared) -> Json<Value> {
    let verbs: BTreeMap<_, _> =
        control.services.iter().map(|(name, service)| (name, service.verbs())).collect();
    let manuals: Vec<_> =
        control.services.iter().map(|(name, service)| (*name, service.api_manual())).collect();
    let devices: BTreeMap<_, _> =
        manuals.iter().filter_map(|(name, manual)| Some((name, manual.device.as_ref()?))).collect();
    let fields: BTreeMap<_, _> = manuals.iter().map(|(name, manual)| (name, &manual.device_fields)).collect();
    let mut all = common_manual(&verbs);
    all["vendors"] = control.services.keys().copied().collect();
    all["POST /control/{vendor}/devices"] = json!(devices);
    all["device fields"] = json!(fields);
    for (_, manual) in &manuals {
        for (route, meaning) in manual.own_routes.as_object().into_iter().flatten() {
            all[route] = meaning.clone();
        }
    }
    Json(all)
}

/// Returns the part of the manual that is the same for all services.
fn common_manual(verbs: &BTreeMap<&&'static str, Value>) -> Value {
    json!({
        "GET /": "the inbox page",
        "GET /control/{vendor}/devices": "all devices and their states",
        "POST /control/{vendor}/devices/{id}": {"online": false, "muted": false, "registered": true},
        "GET /control/{vendor}/devices/{id}/inbox": "the notifications that the device shows, newest first",
        "GET /control/{vendor}/faults": "the fault rules that are not used up",
        "POST /control/{vendor}/faults": {"at": "send", "next": 1, "share": 1.0, "skip": 0, "device": null,
            "effect": {"error": {"status": 503, "code": "UNAVAILABLE", "retry_after": 30}}},
        "effects": [
            {"error": {"status": 503, "code": "UNAVAILABLE", "retry_after": {"date_in": 30}}},
            {"raw": {"status": 200, "body": "anything"}}, {"delay": {"ms": 12000}}, "hang", "lose_answer",
            {"reset": {"code": 2}}, "close", {"stream_limit": 1}, "expired_bearer",
            {"goaway": {"last": "this | before | highest", "code": 0, "debug": "", "then": "drain | abrupt"}},
        ],
        "DELETE /control/{vendor}/faults": "removes all fault rules",
        "DELETE /control/{vendor}/faults/{rule}": "removes this fault rule",
        "GET /control/{vendor}/connections": "number of open connections, and their stream limit",
        "POST /control/{vendor}/connections": {"streams": 1, "stalled": false, "goaway": {"last": "this", "then": "drain"}},
        "GET /control/{vendor}/events?after=0": "the events with a number above `after`",
        "POST /control/{vendor}/do/{verb}": verbs,
        "GET /control/clock": "the current time of the services",
        "POST /control/clock": {"advance_s": 3600},
    })
}

async fn clock_time(State(control): Shared) -> Json<Value> {
    Json(json!({"now_ms": control.clock.now_ms()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    /// Seconds. The type limits one call to 136 years, because the clock never goes back.
    advance_s: u32,
}

async fn advance(State(control): Shared, body: Bytes) -> ApiResult<Json<Value>> {
    let Advance { advance_s } = parse_body(&body)?;
    control.clock.advance(Duration::from_secs(u64::from(advance_s)));
    Ok(Json(json!({"now_ms": control.clock.now_ms()})))
}

async fn devices(State(control): Shared, Path(vendor): Path<String>) -> ApiResult<Json<Vec<Value>>> {
    Ok(Json(control.service(&vendor)?.list_devices()))
}

async fn create_device(
    State(control): Shared,
    Path(vendor): Path<String>,
    body: Bytes,
) -> ApiResult<Response> {
    let device = control.service(&vendor)?.create_device(parse_body(&body)?).map_err(bad_request)?;
    Ok((StatusCode::CREATED, Json(device)).into_response())
}

const NO_DEVICE: &str = "no device has this id; create it with POST /control/{vendor}/devices";

async fn change_device(
    State(control): Shared,
    Path((vendor, id)): Path<(String, String)>,
    body: Bytes,
) -> ApiResult<StatusCode> {
    let change: DeviceChange = parse_body(&body)?;
    if control.service(&vendor)?.change_device(&id, change) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(not_found("unknown_device", NO_DEVICE))
}

async fn inbox(State(control): Shared, Path((vendor, id)): Path<(String, String)>) -> ApiResult<Response> {
    let shown = control
        .service(&vendor)?
        .shown_notifications(&id)
        .ok_or_else(|| not_found("unknown_device", NO_DEVICE))?;
    Ok(Json(shown).into_response())
}

async fn faults(State(control): Shared, Path(vendor): Path<String>) -> ApiResult<Json<Vec<Value>>> {
    let rules = control.service(&vendor)?.context().faults.all();
    Ok(Json(rules.into_iter().map(|(rule, fault)| json!({"rule": rule, "fault": fault})).collect()))
}

async fn add_fault(State(control): Shared, Path(vendor): Path<String>, body: Bytes) -> ApiResult<Response> {
    let fault: Fault = parse_body(&body)?;
    let rule = control.service(&vendor)?.context().add_fault(fault);
    Ok((StatusCode::CREATED, Json(json!({"rule": rule}))).into_response())
}

async fn clear_faults(State(control): Shared, Path(vendor): Path<String>) -> ApiResult<StatusCode> {
    control.service(&vendor)?.context().faults.clear();
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_fault(
    State(control): Shared,
    Path((vendor, rule)): Path<(String, u64)>,
) -> ApiResult<StatusCode> {
    if control.service(&vendor)?.context().faults.remove(rule) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(not_found(
        "unknown_rule",
        "no rule has this number; GET /control/{vendor}/faults lists the rules that are not used up",
    ))
}

async fn connections(State(control): Shared, Path(vendor): Path<String>) -> ApiResult<Json<Value>> {
    let connections = &control.service(&vendor)?.context().connections;
    Ok(Json(json!({"living": connections.count(), "streams": connections.stream_limit()})))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct ConnectionControl {
    streams: Option<u32>,
    stalled: Option<bool>,
    goaway: Option<Goaway>,
}

async fn control_connections(
    State(control): Shared,
    Path(vendor): Path<String>,
    body: Bytes,
) -> ApiResult<StatusCode> {
    let ConnectionControl { streams, stalled, goaway } = parse_body(&body)?;
    let context = control.service(&vendor)?.context();
    if let Some(streams) = streams {
        context.set_stream_limit(streams);
    }
    match stalled {
        Some(true) => context.connections.stall(),
        Some(false) => context.connections.resume(),
        None => {}
    }
    if let Some(goaway) = goaway {
        context.send_goaway(&goaway);
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct EventsQuery {
    #[serde(default)]
    after: u64,
}

async fn events(
    State(control): Shared,
    Path(vendor): Path<String>,
    Query(EventsQuery { after }): Query<EventsQuery>,
) -> ApiResult<Json<Vec<crate::Event>>> {
    Ok(Json(control.service(&vendor)?.context().events(after)))
}

async fn run_verb(
    State(control): Shared,
    Path((vendor, name)): Path<(String, String)>,
    body: Bytes,
) -> ApiResult<StatusCode> {
    let body: Value = parse_body(&body)?;
    let service = control.service(&vendor)?;
    match service.run_verb(&name, body) {
        Some(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Some(Err(detail)) => Err(bad_request(detail)),
        None => Err(not_found(
            "unknown_verb",
            &format!("the service has no such verb; its verbs are {}", service.verbs()),
        )),
    }
}
