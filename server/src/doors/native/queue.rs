//! The queue, for whoever runs the gateway.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use pushgate_config::KeyScope;
use serde_json::json;

use super::super::Shared;
use super::super::wire::Parameters;
use super::{Answer, number};

/// Largest page.
const MAX_ROWS: usize = 1000;
/// Page when nothing is said.
const ROWS: usize = 100;

/// Lists stored rows that could not be decoded. Their content is not shown.
pub(super) async fn quarantined(State(house): Shared, query: Parameters, headers: HeaderMap) -> Answer {
    house.keys.admit(&headers, None, KeyScope::Admin)?;
    let limit = number(&query, "limit", MAX_ROWS)?.unwrap_or(ROWS);
    let after = number(&query, "after", i64::MAX.cast_unsigned())?;
    let rows = house.gateway.queue().quarantined(after, limit).await?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|last| last.id);
    Ok(Json(json!({"rows": rows, "next": next})).into_response())
}
