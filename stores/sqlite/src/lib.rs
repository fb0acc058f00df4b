//! Store and queue on SQLite: one writer thread, group commit, `synchronous=FULL`. One process owns the file.
//!
//! When a call returns, its result is on stable storage. A call that arrives during a commit joins the next one. A
//! thousand callers thus share a few commits, and a single caller waits for no timer.

mod counts;
mod dead;
mod devices;
mod echoes;
mod expiry;
mod found;
mod open;
mod parts;
mod quarantine;
mod queue;
mod status;
mod sweep;
mod users;
mod wal;
mod withdraw;
mod writer;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use pushgate::StorageError;
use pushgate::queue::{QuarantineListener, Quarantined};
use rusqlite::Connection;

pub use open::{OpenError, Options, Usable};
use quarantine::Findings;
use writer::Thread;

/// Handle to the database, cheap to clone. Dropping the last one commits all accepted calls and closes the file.
#[derive(Clone)]
pub struct SqliteStore {
    writer: Thread,
    readers: Thread,
    /// `true` if any user has push rules. Otherwise lookups of rules skip the database. Valid because one process
    /// owns the file.
    ruled: Arc<AtomicBool>,
    listener: Arc<OnceLock<QuarantineListener>>,
}

impl SqliteStore {
    /// Opens or creates the file, migrates it, and releases the leases of earlier owners. The lock beside the file
    /// proves that they have ended.
    ///
    /// # Errors
    /// Returns an [`OpenError`] if another process owns the file, it is not a pushgate database, or the disk reports
    /// an error.
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self, OpenError> {
        Self::open_with(path, Options::default())
    }

    /// Opens the file as [`SqliteStore::open`] does, with other limits.
    ///
    /// # Errors
    /// Same as for [`SqliteStore::open`].
    pub fn open_with(path: impl AsRef<std::path::Path>, options: Options) -> Result<Self, OpenError> {
        let opened = open::open(path.as_ref(), options.readers)?;
        Ok(Self {
            writer: Thread::writer(opened.writer, opened.lock, options.max_wal_bytes),
            readers: Thread::readers(opened.readers),
            ruled: Arc::new(AtomicBool::new(opened.ruled)),
            listener: Arc::default(),
        })
    }

    /// Checks that [`SqliteStore::open`] could open the file. Neither changes the file nor creates one.
    ///
    /// # Errors
    /// Returns an [`OpenError`] if the folder or the file is not writable, or the file is not a pushgate database.
    pub fn check(path: impl AsRef<std::path::Path>) -> Result<Usable, OpenError> {
        open::check(path.as_ref())
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
        self.readers.run(doing, work).await
    }

    /// Runs a write that decodes rows. Rows that cannot be decoded are moved to the quarantine in the same
    /// transaction.
    async fn write_rows<T: Send + 'static>(
        &self,
        doing: &'static str,
        mut work: impl FnMut(&Connection, &mut Findings) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let work = move |c: &Connection| {
            let mut findings = Findings::default();
            let value = work(c, &mut findings)?;
            findings.set_aside(c)?;
            Ok((value, findings.moved))
        };
        let (value, moved) = self.write(doing, work).await?;
        self.announce(&moved);
        Ok(value)
    }

    /// Runs a read that decodes rows. If some cannot be decoded, the writer moves them to the quarantine, and the
    /// read is repeated.
    async fn read_rows<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnMut(&Connection, &mut Findings) -> rusqlite::Result<T> + Clone + Send + 'static,
    ) -> Result<T, StorageError> {
        let (value, findings) = self.read_findings(doing, work.clone()).await?;
        if findings.unreadable.is_empty() {
            return Ok(value);
        }
        let set_aside = move |_: &Connection, again: &mut Findings| {
            again.unreadable.clone_from(&findings.unreadable);
            Ok(())
        };
        if let Err(error) = self.write_rows("setting aside rows that cannot be decoded", set_aside).await {
            tracing::error!(%error, "rows that cannot be decoded stay where they are");
            return Ok(value);
        }
        Ok(self.read_findings(doing, work).await?.0)
    }

    async fn read_findings<T: Send + 'static>(
        &self,
        doing: &'static str,
        mut work: impl FnMut(&Connection, &mut Findings) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(T, Findings), StorageError> {
        let work = move |c: &Connection| {
            let mut findings = Findings::default();
            Ok((work(c, &mut findings)?, findings))
        };
        self.read(doing, work).await
    }

    /// Logs each row that was moved to the quarantine.
    fn announce(&self, moved: &[Quarantined]) {
        for row in moved {
            metrics::counter!("pushgate_quarantined_rows_total", "kind" => row.kind.as_str()).increment(1);
            tracing::error!(
                kind = row.kind.as_str(),
                key = row.key,
                app = row.app.as_ref().map(tracing::field::display),
                reason = row.reason,
                "a stored row cannot be decoded and was set aside; `pushgate queue quarantined` lists it"
            );
            if let Some(listener) = self.listener.get() {
                listener(row);
            }
        }
    }
}

/// Serializes many values as [`text`] does. Runs on the thread of the caller, because all callers share the writer's.
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
