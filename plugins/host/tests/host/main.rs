//! Tests of the host with a plugin that violates the contract, and with the samples.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod growth;
mod kit;
mod load;
mod misuse;
mod reload;
mod telegram;
mod valgrind;
mod webhook;
