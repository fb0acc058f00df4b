//! The control API and the inbox page: plain HTTP on loopback, for tests in any language and for looking at. The same verbs
//! for every vendor, under its name.

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
use crate::desk::Desk;
use crate::fault::{Fault, Goaway};
use crate::guard::guarded;
use crate::mailbox::Change;

/// What the API works on.
pub(crate) struct Control {
    pub(crate) clock: Clock,
    /// By the name that stands in their paths.
    pub(crate) desks: BTreeMap<&'static str, Arc<dyn Desk>>,
}

/// The port of the control API, and what single vendors add to it.
pub(crate) struct ControlPort {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    /// Routes of the control API, which pages of other sites may not call.
    pub(crate) own: Router,
    /// Routes that browsers themselves connect to.
    pub(crate) browsers: Router,
}

/// Serves the control API.
pub(crate) async fn serve(port: ControlPort, control: Control) {
    let router = Router::new()
        .route("/", get(async || Html(include_str!("inbox.html"))))
        .route("/control", get(manual))
        .route("/control/clock", get(time).post(advance))
        .route("/control/{vendor}/devices", get(devices).post(add_device))
        .route("/control/{vendor}/devices/{id}", post(change))
        .route("/control/{vendor}/devices/{id}/inbox", get(inbox))
        .route("/control/{vendor}/faults", get(faults).post(fail).delete(heal))
        .route("/control/{vendor}/faults/{rule}", delete(heal_one))
        .route("/control/{vendor}/connections", get(connections).post(steer))
        .route("/control/{vendor}/events", get(events))
        .route("/control/{vendor}/do/{verb}", post(verb))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .with_state(Arc::new(control))
        .merge(port.own);
    let router = guarded(router, port.address).merge(port.browsers);
    if let Err(error) = axum::serve(port.listener, router).await {
        tracing::error!(%error, "control API ended");
    }
}

type Shared = State<Arc<Control>>;

/// An error that says what would be right.
struct Refused(StatusCode, &'static str, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"code": self.1, "detail": self.2}))).into_response()
    }
}

type Answer<T> = Result<T, Refused>;

fn bad(detail: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "bad_request", detail.into())
}

fn unknown(what: &'static str, remedy: &str) -> Refused {
    Refused(StatusCode::NOT_FOUND, what, remedy.to_owned())
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Answer<T> {
    // No body asks for what stands in no field.
    let body = if body.is_empty() { b"{}" } else { body.as_ref() };
    serde_json::from_slice(body).map_err(|error| bad(error.to_string()))
}

impl Control {
    fn desk(&self, vendor: &str) -> Answer<&Arc<dyn Desk>> {
        let names = || self.desks.keys().copied().collect::<Vec<_>>().join(", ");
        self.desks.get(vendor).ok_or_else(|| unknown("unknown_vendor", &format!("one of {}", names())))
    }
}

async fn manual(State(control): Shared) -> Json<Value> {
    let own: BTreeMap<_, _> = control.desks.iter().map(|(name, desk)| (name, desk.verbs())).collect();
    let manuals: Vec<_> = control.desks.iter().map(|(name, desk)| (*name, desk.manual())).collect();
    let devices: BTreeMap<_, _> =
        manuals.iter().filter_map(|(name, manual)| Some((name, manual.device.as_ref()?))).collect();
    let fields: BTreeMap<_, _> = manuals.iter().map(|(name, manual)| (name, &manual.device_fields)).collect();
    let mut all = common(&own);
    all["vendors"] = control.desks.keys().copied().collect();
    all["POST /control/{vendor}/devices"] = json!(devices);
    all["device fields"] = json!(fields);
    for (_, manual) in &manuals {
        for (route, meaning) in manual.more.as_object().into_iter().flatten() {
            all[route] = meaning.clone();
        }
    }
    Json(all)
}

/// What the manual says of all vendors.
fn common(own: &BTreeMap<&&'static str, Value>) -> Value {
    json!({
        "GET /": "the inbox page",
        "GET /control/{vendor}/devices": "all devices, and how they are",
        "POST /control/{vendor}/devices/{id}": {"online": false, "muted": false, "registered": true},
        "GET /control/{vendor}/devices/{id}/inbox": "what the device shows, newest first",
        "GET /control/{vendor}/faults": "the rules that are not used up",
        "POST /control/{vendor}/faults": {"at": "send", "next": 1, "share": 1.0, "skip": 0, "device": null,
            "effect": {"error": {"status": 503, "code": "UNAVAILABLE", "retry_after": 30}}},
        "effects": [
            {"error": {"status": 503, "code": "UNAVAILABLE", "retry_after": {"date_in": 30}}},
            {"raw": {"status": 200, "body": "anything"}}, {"delay": {"ms": 12000}}, "hang", "lose_answer",
            {"reset": {"code": 2}}, "close", {"stream_limit": 1}, "expired_bearer",
            {"goaway": {"last": "this | before | highest", "code": 0, "debug": "", "then": "drain | abrupt"}},
        ],
        "DELETE /control/{vendor}/faults": "nothing goes wrong any more",
        "DELETE /control/{vendor}/faults/{rule}": "this rule is gone",
        "GET /control/{vendor}/connections": "how many live, and their stream limit",
        "POST /control/{vendor}/connections": {"streams": 1, "stalled": false, "goaway": {"last": "this", "then": "drain"}},
        "GET /control/{vendor}/events?after=0": "what has happened",
        "POST /control/{vendor}/do/{verb}": own,
        "GET /control/clock": "the time of the vendors",
        "POST /control/clock": {"advance_s": 3600},
    })
}

async fn time(State(control): Shared) -> Json<Value> {
    Json(json!({"now_ms": control.clock.now_ms()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    /// No more than a year: the clock never goes back.
    advance_s: u32,
}

async fn advance(State(control): Shared, body: Bytes) -> Answer<Json<Value>> {
    let Advance { advance_s } = read(&body)?;
    control.clock.advance(Duration::from_secs(u64::from(advance_s)));
    Ok(Json(json!({"now_ms": control.clock.now_ms()})))
}

async fn devices(State(control): Shared, Path(vendor): Path<String>) -> Answer<Json<Vec<Value>>> {
    Ok(Json(control.desk(&vendor)?.list()))
}

async fn add_device(State(control): Shared, Path(vendor): Path<String>, body: Bytes) -> Answer<Response> {
    let device = control.desk(&vendor)?.add(read(&body)?).map_err(bad)?;
    Ok((StatusCode::CREATED, Json(device)).into_response())
}

const NO_DEVICE: &str = "create it with POST /control/{vendor}/devices";

async fn change(
    State(control): Shared,
    Path((vendor, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer<StatusCode> {
    let change: Change = read(&body)?;
    if control.desk(&vendor)?.change(&id, change) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(unknown("unknown_device", NO_DEVICE))
}

async fn inbox(State(control): Shared, Path((vendor, id)): Path<(String, String)>) -> Answer<Response> {
    let shown = control.desk(&vendor)?.shown(&id).ok_or_else(|| unknown("unknown_device", NO_DEVICE))?;
    Ok(Json(shown).into_response())
}

async fn faults(State(control): Shared, Path(vendor): Path<String>) -> Answer<Json<Vec<Value>>> {
    let rules = control.desk(&vendor)?.rig().faults.all();
    Ok(Json(rules.into_iter().map(|(rule, fault)| json!({"rule": rule, "fault": fault})).collect()))
}

async fn fail(State(control): Shared, Path(vendor): Path<String>, body: Bytes) -> Answer<Response> {
    let fault: Fault = read(&body)?;
    let rule = control.desk(&vendor)?.rig().fail(fault);
    Ok((StatusCode::CREATED, Json(json!({"rule": rule}))).into_response())
}

async fn heal(State(control): Shared, Path(vendor): Path<String>) -> Answer<StatusCode> {
    control.desk(&vendor)?.rig().faults.clear();
    Ok(StatusCode::NO_CONTENT)
}

async fn heal_one(State(control): Shared, Path((vendor, rule)): Path<(String, u64)>) -> Answer<StatusCode> {
    if control.desk(&vendor)?.rig().faults.remove(rule) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(unknown("unknown_rule", "GET /control/{vendor}/faults lists those that are not used up"))
}

async fn connections(State(control): Shared, Path(vendor): Path<String>) -> Answer<Json<Value>> {
    let lines = &control.desk(&vendor)?.rig().lines;
    Ok(Json(json!({"living": lines.count(), "streams": lines.streams()})))
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Steering {
    streams: Option<u32>,
    stalled: Option<bool>,
    goaway: Option<Goaway>,
}

async fn steer(State(control): Shared, Path(vendor): Path<String>, body: Bytes) -> Answer<StatusCode> {
    let Steering { streams, stalled, goaway } = read(&body)?;
    let rig = control.desk(&vendor)?.rig();
    if let Some(streams) = streams {
        rig.limit_streams(streams);
    }
    match stalled {
        Some(true) => rig.lines.stall(),
        Some(false) => rig.lines.resume(),
        None => {}
    }
    if let Some(goaway) = goaway {
        rig.send_away(&goaway);
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn events(
    State(control): Shared,
    Path(vendor): Path<String>,
    Query(After { after }): Query<After>,
) -> Answer<Json<Vec<crate::Event>>> {
    Ok(Json(control.desk(&vendor)?.rig().events(after)))
}

async fn verb(
    State(control): Shared,
    Path((vendor, name)): Path<(String, String)>,
    body: Bytes,
) -> Answer<StatusCode> {
    let body: Value = read(&body)?;
    let desk = control.desk(&vendor)?;
    match desk.verb(&name, body) {
        Some(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Some(Err(detail)) => Err(bad(detail)),
        None => Err(unknown("unknown_verb", &format!("it has {}", desk.verbs()))),
    }
}
