//! The emulator on the wire, asked by clients that know nothing of it: its strictness, its faults, its devices.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod apns_auth;
mod apns_phone;
mod apns_rules;
mod apns_wire;
mod apple;
mod browser;
mod client;
mod control;
mod devices;
mod fcm;
mod goaway;
mod http1;
mod mishaps;
mod start;
mod token;
mod topics;
