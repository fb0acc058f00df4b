//! HTTP APIs of the gateway. They parse requests and format responses; the rules of pushing are in core.

pub mod bodies;
pub mod v1;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use metrics_exporter_prometheus::PrometheusHandle;
use pushgate::Gateway;
use pushgate_config::{KeyScope, RotationProof};

use crate::keys::Keyring;
use crate::listener::Shutdown;
use crate::problem::Problem;
use crate::rotation::RotationLimit;
use crate::tokens::UserKeys;

pub(crate) use v1::schema::refused;

use v1::{handlers, schema};

/// State that all API handlers share.
pub struct AppState {
    /// Gateway that the handlers call.
    pub gateway: Gateway,
    /// Server keys and their scopes.
    pub keys: Keyring,
    /// Keys that verify user tokens.
    pub user_keys: UserKeys,
    /// Time after its last heartbeat at which a presence session expires, unless the heartbeat gives another one.
    pub presence_expiry: Duration,
    /// Largest accepted request body, in bytes.
    pub max_body: usize,
    /// Memory budget for the bodies of all requests in progress.
    pub bodies: bodies::BodyBudget,
    /// Rate limit of requests that replace an address.
    pub rotations: RotationLimit,
    /// Kinds of address for which knowing the old one suffices to replace it.
    pub rotation_proof: RotationProof,
    /// Signals of a shutdown.
    pub shutdown: Shutdown,
    /// Largest accepted request head, in bytes.
    pub max_header: usize,
    /// Time after which a request is answered with 408.
    pub request_timeout: Duration,
    /// `true` if `/metrics` answers without a key.
    pub public_metrics: bool,
    /// Source of `/metrics`. `None` if no recorder could be installed.
    pub metrics: Option<PrometheusHandle>,
}

/// Extractor of the shared state.
pub(crate) type SharedState = State<Arc<AppState>>;

/// Returns the router of all APIs.
pub fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .merge(handlers::routes())
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/version", get(async || concat!("pushgate ", env!("CARGO_PKG_VERSION"), "\n")))
        .route("/metrics", get(metrics))
        .route(
            "/openapi.json",
            get(async || ([("content-type", "application/json")], include_str!("openapi.json"))),
        )
        .fallback(async || Problem::new(404, "not_found", "there is nothing here; see /openapi.json"))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn(known_parameters))
        .layer(from_fn_with_state(Arc::clone(&state), within_limits))
        .with_state(state)
}

async fn method_not_allowed() -> Problem {
    Problem::new(405, "method_not_allowed", "see the header Allow, and /openapi.json")
}

/// Answers 503 while storage takes no writes. It reads the result of the last heartbeat and does no I/O, so it needs no key.
async fn ready(State(state): SharedState) -> Result<&'static str, Problem> {
    let not_ready = |_| {
        Problem::new(503, "storage", "storage takes no writes; see the log, and whether the disk is full")
    };
    state.gateway.ready().map(|()| "ready\n").map_err(not_ready)
}

async fn metrics(State(state): SharedState, headers: HeaderMap) -> Result<String, Problem> {
    if !state.public_metrics {
        state.keys.authorize(&headers, None, KeyScope::Admin)?;
    }
    Ok(state.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default())
}

/// Refuses query parameters that the operation does not have.
async fn known_parameters(request: Request, next: Next) -> Result<Response, Problem> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if let Some(known) = handlers::parameters(request.method(), path) {
        schema::refuse_unknown(request.uri(), known)?;
    }
    Ok(next.run(request).await)
}

/// Refuses a request head over the limit, and ends a request at its timeout or at the end of a shutdown.
async fn within_limits(State(state): SharedState, request: Request, next: Next) -> Result<Response, Problem> {
    let fields =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if fields.sum::<usize>() + target > state.max_header {
        return Err(Problem::new(431, "head_too_large", format!("at most {} bytes", state.max_header)));
    }
    tokio::select! {
        response = next.run(request) => Ok(response),
        () = state.shutdown.cut.cancelled() => Err(Problem::shutting_down()),
        () = tokio::time::sleep(state.request_timeout) => Err(Problem::new(408, "timeout", "the request took too long")),
    }
}
