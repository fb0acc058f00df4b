//! Suites that hold channels, stores and queues to what they declare.
