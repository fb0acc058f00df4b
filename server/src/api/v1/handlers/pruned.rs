//! Dead addresses: lists and restores what was pruned. Needs a server key with the scope `admin`.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use http::HeaderMap;
use pushgate_config::KeyScope;

use super::{HandlerResult, authorize_server, read_body};
use crate::api::SharedState;
use crate::api::v1::schema::{self, RestoreBody};

pub(super) async fn list(
    State(state): SharedState,
    Path(app): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Admin)?;
    let query = schema::dead_query(query)?;
    let page = state.gateway.dead_addresses(&app, &query).await?;
    Ok(Json(schema::dead_page(&page, query.limit)).into_response())
}

pub(super) async fn restore(
    State(state): SharedState,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> HandlerResult {
    let app = authorize_server(&state, &headers, &app, KeyScope::Admin)?;
    let body: RestoreBody = schema::parse(&read_body(&state, bytes).await?)?;
    let page = state.gateway.restore_addresses(&app, &body.query()?).await?;
    Ok(Json(schema::restored_page(&page)).into_response())
}
