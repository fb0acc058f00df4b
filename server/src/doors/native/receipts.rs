//! Receipts: what a device tells of a push, by the token that stood in it. Nobody is asked for a key.

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;

use super::super::Shared;
use super::super::wire::{self, ReceiptBody};
use super::Answer;

/// The largest body: a token has 48 bytes.
const MAX_BODY: usize = 1024;

/// 204 whether it was told before or not: who tells has nothing to decide by it.
pub(super) async fn receive(State(house): Shared, bytes: Body) -> Answer {
    let body = house.bodies.read_anonymous(bytes, Some(MAX_BODY)).await?;
    let told: ReceiptBody = wire::parse(&body.bytes)?;
    house.gateway.receipt(&told.token, told.event).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
