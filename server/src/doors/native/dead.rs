//! Dead addresses: an operator lists what was pruned and restores it. By a server key with the scope `admin`.

use std::collections::HashMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use http::HeaderMap;
use pushgate_config::KeyScope;

use super::super::Shared;
use super::super::wire::{self, RestoreBody};
use super::{Answer, admitted, body};

pub(super) async fn list(
    State(house): Shared,
    Path(app): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Admin)?;
    let query = wire::dead_query(query)?;
    let page = house.gateway.dead(&app, &query).await?;
    Ok(Json(wire::dead(&page, query.limit)).into_response())
}

pub(super) async fn restore(
    State(house): Shared,
    Path(app): Path<String>,
    headers: HeaderMap,
    bytes: Body,
) -> Answer {
    let app = admitted(&house, &headers, &app, KeyScope::Admin)?;
    let asked: RestoreBody = wire::parse(&body(&house, bytes).await?)?;
    let page = house.gateway.restore(&app, &asked.query()?).await?;
    Ok(Json(wire::restored(&page)).into_response())
}
