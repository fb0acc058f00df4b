//! Suites that hold channels, stores and queues to what they declare, and what tests need beside them.

pub mod clock;
pub mod conformance;
pub mod golden;
pub mod keeping;
pub mod sample;
pub mod transport;
