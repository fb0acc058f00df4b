//! Loader and host of channel plugins. Runs a plugin in this process or in a child process, and returns its channels as
//! [`pushgate::PushChannel`]s. A crash in process ends the gateway; a crash in a child process does not.
//! A breach of the contract in `plugins/abi` becomes a fault, a metric and a log line. The host prevents undefined
//! behaviour wherever it can.

mod bounds;
mod check;
mod child;
mod context;
mod convert;
mod description;
mod elf;
mod error;
mod http_request;
mod in_process;
mod inline_work;
mod library;
mod loader;
mod pending;
mod services;
mod swappable;
mod table;
mod telemetry;

pub use check::{Check, CheckReport, Entries, Finding, PushService, Script, Verdict, run_check};
pub use child::{HostProcess, Limits};
pub use description::{DeclaredCapability, Description};
pub use error::LoadError;
pub use in_process::InProcessChannel;
pub use loader::{Isolation, Loader, OpenOptions, Plugin, Source};
pub use swappable::SwappableChannel;
pub use telemetry::{Death, DefaultTelemetry, Level, Misuse, Telemetry};
