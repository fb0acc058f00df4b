//! Device events: what a device reports about a push. The event token of the push authenticates the request; no key is needed.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;

use super::HandlerResult;
use crate::api::SharedState;
use crate::api::v1::schema::{self, DeviceEventBody};

/// Largest body, in bytes. A token has 48 of them.
const MAX_BODY: usize = 1024;

/// Records a device event. Answers 204 for a repeated event too: the device has nothing to decide by the difference.
pub(super) async fn record(State(state): SharedState, bytes: Body) -> HandlerResult {
    let body = state.bodies.read_anonymous(bytes, Some(MAX_BODY)).await?;
    let report: DeviceEventBody = schema::parse(&body.bytes)?;
    state.gateway.record_event(&report.token, report.event).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
