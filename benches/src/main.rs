//! Benches with figures that hold on a noisy machine: ratios within one run, and CPU time a push. Asserts nothing about
//! speed; CI only asks whether they still run.
#![expect(clippy::print_stdout, reason = "a bench is there for what it prints")]

mod egress;
mod gateway;
mod h2load;
mod measure;
mod vendor;
mod wire;

use clap::Parser;

/// Measures the throughput of pushgate and its cost in CPU time.
#[derive(Parser)]
enum Bench {
    /// Rendered messages through the transport, beside h2load (nghttp2-client) against the same vendor.
    Egress(egress::Options),
    /// Notifications through a whole gateway, durable and in memory.
    Gateway(gateway::Options),
    /// The vendor both are measured against; started by the others.
    #[command(hide = true)]
    Vendor(vendor::Options),
}

/// Result of a bench. Any error ends it.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    match Bench::parse() {
        Bench::Egress(options) => egress::run(&options),
        Bench::Gateway(options) => gateway::run(&options),
        Bench::Vendor(options) => vendor::run(&options),
    }
}
