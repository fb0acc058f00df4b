//! Loads channel plugins and gives back channels: in process, where a crash is ours, or in a child process, where it is not.
//! What a plugin does against the contract becomes a fault, a number and a line of the log; never undefined behaviour that
//! this side could have prevented. `plugins/abi` has the contract.

mod along;
mod asked;
mod bounds;
mod channel;
mod check;
mod child;
mod context;
mod convert;
mod description;
mod elf;
mod error;
mod library;
mod loader;
mod pending;
mod services;
mod swap;
mod table;
mod telemetry;

pub use channel::Plugged;
pub use check::{Counterpart, Entries, Examination, Finding, Findings, Script, Verdict, examine};
pub use child::{Limits, Role};
pub use description::{Declared, Description};
pub use error::LoadError;
pub use loader::{Isolation, Loader, Opening, Plugin, Source};
pub use swap::Swap;
pub use telemetry::{Death, Level, Misuse, Telemetry, Told};
