//! What the transport promises, held against peers that follow a script: frame by frame, byte by byte, on loopback.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod deadlines;
mod goaway;
mod guard;
mod http1;
mod outage;
mod peer;
mod proxy;
mod streams;
mod trust;
