//! The HTTP APIs the gateway answers to. A door parses and shows; it has no rule of its own.

pub mod bodies;
pub mod native;
mod wire;

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

pub(crate) use wire::refused;

/// What every door works with.
pub struct House {
    /// The gateway behind the doors.
    pub gateway: Gateway,
    /// Who may come in.
    pub keys: Keyring,
    /// What user tokens are signed with.
    pub user_keys: UserKeys,
    /// How long a session lives after the last word of it, unless that word says otherwise.
    pub lease: Duration,
    /// The largest body taken, in bytes.
    pub max_body: usize,
    /// Budget of bytes for the bodies of all requests.
    pub bodies: bodies::BodyBudget,
    /// Limit for requests that replace an address.
    pub rotations: RotationLimit,
    /// Addresses for which the old one is proof enough to replace it.
    pub rotation_proof: RotationProof,
    /// Signals of a shutdown.
    pub shutdown: Shutdown,
    /// The largest request head taken, in bytes.
    pub max_header: usize,
    /// The longest a request may take.
    pub patience: Duration,
    /// Whether `/metrics` answers without a key.
    pub public_metrics: bool,
    /// What `/metrics` shows; none when no recorder could be installed.
    pub metrics: Option<PrometheusHandle>,
}

/// A door's state.
pub(crate) type Shared = State<Arc<House>>;

/// All doors.
pub fn router(house: Arc<House>) -> Router {
    Router::new()
        .merge(native::routes())
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
        .layer(from_fn_with_state(Arc::clone(&house), within_limits))
        .with_state(house)
}

async fn method_not_allowed() -> Problem {
    Problem::new(405, "method_not_allowed", "see the header Allow, and /openapi.json")
}

/// Costs nothing, so that anybody may ask: what is known of storage is remembered from the last heartbeat.
async fn ready(State(house): Shared) -> Result<&'static str, Problem> {
    let not_ready = |_| {
        Problem::new(503, "storage", "storage takes no writes; see the log, and whether the disk is full")
    };
    house.gateway.ready().map(|()| "ready\n").map_err(not_ready)
}

async fn metrics(State(house): Shared, headers: HeaderMap) -> Result<String, Problem> {
    if !house.public_metrics {
        house.keys.admit(&headers, None, KeyScope::Admin)?;
    }
    Ok(house.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default())
}

/// Refuses query parameters that the operation does not have.
async fn known_parameters(request: Request, next: Next) -> Result<Response, Problem> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if let Some(known) = native::parameters(request.method(), path) {
        wire::refuse_unknown(request.uri(), known)?;
    }
    Ok(next.run(request).await)
}

async fn within_limits(State(house): Shared, request: Request, next: Next) -> Result<Response, Problem> {
    let fields =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if fields.sum::<usize>() + target > house.max_header {
        return Err(Problem::new(431, "head_too_large", format!("at most {} bytes", house.max_header)));
    }
    tokio::select! {
        response = next.run(request) => Ok(response),
        () = house.shutdown.cut.cancelled() => Err(Problem::shutting_down()),
        () = tokio::time::sleep(house.patience) => Err(Problem::new(408, "timeout", "the request took too long")),
    }
}
