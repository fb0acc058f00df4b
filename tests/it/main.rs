//! Whole-gateway tests: the real API, storage, channel and connection pool, against the emulator.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod abandoned;
mod apns;
mod bad_input;
mod bodies;
mod calls;
mod check;
mod ci;
mod crash;
mod demo;
mod everywhere;
mod expiry;
mod faults;
mod iphone;
mod later;
mod listener;
mod once;
mod openapi;
mod panics;
mod plugins;
mod presence;
mod pruned;
mod readme;
mod receipts;
mod refused;
mod registry;
mod retries;
mod rotation;
mod secrecy;
mod setup;
mod shown;
mod shutdown;
mod simulation;
mod sockets;
mod storage;
mod tidy;
mod vapid;
mod webpush;
