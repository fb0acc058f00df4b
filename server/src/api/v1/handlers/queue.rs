//! The delivery queue, for operators.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use pushgate_config::KeyScope;
use serde_json::json;

use super::{HandlerResult, number};
use crate::api::SharedState;
use crate::api::v1::schema::Parameters;

/// Largest size of a page, in rows.
const MAX_LIMIT: usize = 1000;
/// Size of a page if the request gives none, in rows.
const DEFAULT_LIMIT: usize = 100;

/// Lists stored rows that could not be decoded. Their content is not shown.
pub(super) async fn quarantined(
    State(state): SharedState,
    query: Parameters,
    headers: HeaderMap,
) -> HandlerResult {
    state.keys.authorize(&headers, None, KeyScope::Admin)?;
    let limit = number(&query, "limit", MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
    let after = number(&query, "after", i64::MAX.cast_unsigned())?;
    let rows = state.gateway.queue().quarantined(after, limit).await?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|last| last.id);
    Ok(Json(json!({"rows": rows, "next": next})).into_response())
}
