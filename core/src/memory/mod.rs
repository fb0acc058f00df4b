//! Store and queue in memory: for tests, for trying things, and as the model the durable ones are held to.
//! What they hold is gone with the process.

mod dead;
mod queue;
mod store;

pub use queue::MemoryQueue;
pub use store::MemoryStore;
