//! Tests of the emulator over the network, with clients that share no code with it: strictness, faults and devices.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod apns_auth;
mod apns_client;
mod apns_device;
mod apns_http2;
mod apns_rules;
mod browsers;
mod control;
mod devices;
mod faults;
mod fcm;
mod fcm_client;
mod goaway;
mod http1;
mod startup;
mod token_endpoint;
mod topics;
