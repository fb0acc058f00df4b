//! Store and queue on SQLite: one writer thread, group commit, `synchronous=FULL`. One process owns the file.
//!
//! What a call has returned is on stable storage. A call that arrives while a commit runs joins the next one, so that a
//! thousand callers share a few commits and a single one waits for no timer.

mod devices;
mod echoes;
mod found;
mod open;
mod parts;
mod queue;
mod status;
mod users;
mod withdraw;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pushgate::StorageError;
use rusqlite::Connection;

pub use open::OpenError;
use writer::Thread;

/// A cheap handle; when the last one is dropped, what was accepted is committed and the file is closed.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Thread,
    reader: Thread,
    /// Whether any user has rules: where nobody has, nobody waits for a look. One process owns the file, so this one knows.
    ruled: Arc<AtomicBool>,
}

impl SqliteStore {
    /// Opens or creates the file, migrates it, and voids the leases of earlier owners: the lock beside the file proves
    /// that they are gone.
    ///
    /// # Errors
    /// [`OpenError`] when another process owns it, it is no database of ours, or the disk refuses.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, OpenError> {
        let opened = open::open(path.as_ref())?;
        let ruled = Arc::new(AtomicBool::new(opened.ruled));
        let writer = Thread::start("pushgate-sqlite-writer", opened.writer, true, Some(opened.lock));
        let reader = Thread::start("pushgate-sqlite-reader", opened.reader, false, None);
        Ok(Self { writer, reader, ruled })
    }

    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.writer.run(doing, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.reader.run(doing, work).await
    }
}

/// JSON in a column: what we cannot read was not written by us.
fn json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}

/// As [`text`], of many, on the caller's thread: the writer's is the one that everybody waits for.
fn texts<'a, T: serde::Serialize + 'a>(
    doing: &'static str,
    values: impl IntoIterator<Item = &'a T>,
) -> Result<Vec<String>, StorageError> {
    let texts: Result<_, _> = values.into_iter().map(serde_json::to_string).collect();
    texts.map_err(|error| StorageError::new(doing, error))
}

fn text(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
