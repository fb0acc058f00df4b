//! The host against a plugin that keeps no promise.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod growth;
mod kit;
mod load;
mod misuse;
mod reload;
mod telegram;
mod valgrind;
mod webhook;
