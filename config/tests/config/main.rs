//! Tests of the configuration through its public API. They never read the real environment.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod defaults;
mod errors;
mod examples;
mod kit;
mod layers;
mod plugins;
mod retry;
mod secrets;
