//! Store and queue in memory, for tests and trials, and as the reference for the durable ones. Their content is lost when
//! the process ends.

mod dead;
mod queue;
mod store;
mod stored_notification;

pub use queue::MemoryQueue;
pub use store::MemoryStore;
