//! Conformance suites for channels, stores and queues, with the test doubles that they need.

pub mod clock;
pub mod conformance;
pub mod golden;
pub mod keeping;
pub mod sample;
pub mod transport;
