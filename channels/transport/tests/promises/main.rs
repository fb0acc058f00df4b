//! What the transport promises, held against peers that follow a script: frame by frame, byte by byte, on loopback.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod goaway;
mod guard;
mod peer;
mod streams;
mod trust;
