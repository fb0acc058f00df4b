//! The vendors on loopback: strict as the real ones, with faults on demand and virtual devices.
