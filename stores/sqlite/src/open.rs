//! Opens the file: lock, settings and schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// Migrations. Each one raises the schema version from its index by one. A released migration must never change.
const MIGRATIONS: [&str; 9] = [
    include_str!("../migrations/0001_devices_and_queue.sql"),
    include_str!("../migrations/0002_users_and_later.sql"),
    include_str!("../migrations/0003_echoes.sql"),
    include_str!("../migrations/0004_less_to_write.sql"),
    include_str!("../migrations/0005_request_digest.sql"),
    include_str!("../migrations/0006_revoked_at.sql"),
    include_str!("../migrations/0007_counts_and_quarantine.sql"),
    include_str!("../migrations/0008_expiry.sql"),
    include_str!("../migrations/0009_dead_addresses.sql"),
];

/// Maximum wait for another connection of this process.
pub(crate) const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Limits of an open database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Number of read connections, each with a thread of its own. Four keep one long read from delaying the others.
    /// Reads are served from memory, so more of them than processors gain nothing.
    pub readers: usize,
    /// Size of the write-ahead log in bytes above which the writer waits for readers to end and empties it.
    pub max_wal_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 4, max_wal_bytes: 64 * 1024 * 1024 }
    }
}

/// Error of opening a database file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file open.
    #[error(
        "{path} is in use by another process; stop it, or give this one a file of its own (storage.path)"
    )]
    InUse {
        /// Path of the database.
        path: PathBuf,
    },
    /// A newer pushgate wrote the file.
    #[error("{path} has schema {found}, this pushgate knows {known}; run the newer one again")]
    Newer {
        /// Path of the database.
        path: PathBuf,
        /// Schema version of the file.
        found: u32,
        /// Newest schema version that this pushgate knows.
        known: u32,
    },
    /// The file system reports an error.
    #[error("{path}: {source}")]
    Io {
        /// Path that could not be opened.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// SQLite reports an error: not a database, a damaged one, or no space.
    #[error("{path}: {source}")]
    Sqlite {
        /// Path of the database.
        path: PathBuf,
        /// Cause.
        source: rusqlite::Error,
    },
}

pub(crate) struct Opened {
    pub(crate) writer: Connection,
    pub(crate) readers: Vec<Connection>,
    pub(crate) lock: File,
    /// `true` if any user has push rules.
    pub(crate) ruled: bool,
}

pub(crate) fn open(path: &Path, readers: usize) -> Result<Opened, OpenError> {
    let lock = locked(path)?;
    let refused = |source| OpenError::Sqlite { path: path.to_owned(), source };
    private(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let mut writer = Connection::open(path).and_then(settled).map_err(refused)?;
    let found =
        writer.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map_err(refused)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    migrate(&mut writer, found).map_err(refused)?;
    // The lock is ours, so whoever held these is gone.
    writer
        .execute_batch(
            "UPDATE deliveries SET owner = NULL WHERE owner IS NOT NULL;
             UPDATE parts SET owner = NULL WHERE owner IS NOT NULL; DELETE FROM nodes;",
        )
        .map_err(refused)?;
    let reader = |_| Connection::open(path).and_then(settled);
    let readers = (0..readers.max(1)).map(reader).collect::<rusqlite::Result<_>>().map_err(refused)?;
    let ruled =
        writer.query_row("SELECT EXISTS (SELECT 1 FROM rules)", [], |row| row.get(0)).map_err(refused)?;
    Ok(Opened { writer, readers, lock, ruled })
}

/// State of a database that can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// No process has the file open.
    Free,
    /// Another process has the file open, so nothing more is known.
    InUse,
}

pub(crate) fn check(path: &Path) -> Result<Usable, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let had_lock = Path::new(&lock_path).exists();
    let lock = match locked(path) {
        Ok(lock) => lock,
        Err(OpenError::InUse { .. }) => return Ok(Usable::InUse),
        Err(error) => return Err(error),
    };
    let checked = check_unlocked(path);
    if !had_lock {
        let io = |source| OpenError::Io { path: PathBuf::from(&lock_path), source };
        std::fs::remove_file(&lock_path).map_err(io)?;
    }
    drop(lock);
    checked.map(|()| Usable::Free)
}

fn check_unlocked(path: &Path) -> Result<(), OpenError> {
    if !path.exists() {
        return Ok(());
    }
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    OpenOptions::new().append(true).open(path).map_err(io)?;
    let refused = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).map_err(refused)?;
    let found =
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map_err(refused)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

fn locked(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let io = |source| OpenError::Io { path: lock_path.clone(), source };
    let lock = OpenOptions::new().create(true).write(true).truncate(false).open(&lock_path).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Restricts the permissions to the owner, because the file contains tokens.
fn private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

fn settled(connection: Connection) -> rusqlite::Result<Connection> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // What was acknowledged must survive a power cut, not only a crash of ours.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Otherwise SQLite plans some statements anew each time, because what is bound to them might call for another plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (version, sql) in (1u32..).zip(MIGRATIONS).skip(from as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
