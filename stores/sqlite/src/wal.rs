//! Limit of the write-ahead log. SQLite empties the log only while no reader uses it, which may never happen under
//! load.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use crate::open::BUSY_TIMEOUT;

/// Maximum wait for readers when the log is emptied. New readers do not use the log meanwhile, so the wait is that of
/// one read.
const PATIENCE: Duration = Duration::from_millis(500);

/// Write-ahead log of the writer's connection.
pub(crate) struct Wal {
    /// `None` means that the database has no file.
    path: Option<PathBuf>,
    max_bytes: u64,
    /// Size in bytes at which the log is emptied next.
    empty_at: u64,
}

impl Wal {
    pub(crate) fn new(connection: &Connection, max_bytes: u64) -> Self {
        let path = connection.path().filter(|path| !path.is_empty()).map(|path| format!("{path}-wal").into());
        Self { path, max_bytes, empty_at: max_bytes }
    }

    /// Reports the size of the log, and empties it when it has passed its limit.
    pub(crate) fn keep_within_limit(&mut self, connection: &Connection) {
        let Some(path) = &self.path else { return };
        let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
        metrics::gauge!("pushgate_storage_wal_bytes").set(bytes as f64);
        if bytes < self.empty_at {
            return;
        }
        self.empty_at = match empty(connection) {
            Ok(true) => self.max_bytes,
            // Somebody reads for very long. Trying again at every commit would hold up all writers.
            Ok(false) => bytes + self.max_bytes / 4,
            Err(error) => {
                tracing::warn!(%error, bytes, "the write-ahead log cannot be emptied");
                bytes + self.max_bytes / 4
            }
        };
    }
}

/// Copies the log into the database and empties it. Returns `false` if a reader did not end in time.
fn empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(PATIENCE)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.busy_timeout(BUSY_TIMEOUT)?;
    busy.map(|busy| !busy)
}
