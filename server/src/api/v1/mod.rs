//! Version 1 of the native API, under `/v1`: its handlers, and the JSON that they read and write.

pub mod handlers;
pub(super) mod schema;
