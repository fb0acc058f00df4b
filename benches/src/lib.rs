//! Benchmarks: egress against h2load, and the pieces behind it.
