//! Threads that own connections. The writer runs every job that has arrived within one transaction and answers them after the
//! commit; the readers share their jobs, and each reads for a few at a time.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use crate::wal::Wal;
use pushgate::StorageError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// Most jobs in one transaction of the writer.
const GROUP: usize = 512;
/// Most jobs in one transaction of a reader. Few, because the write-ahead log grows for as long as it is open.
const READ_GROUP: usize = 16;
/// The most jobs waiting; more callers wait outside.
const WAITING: usize = 4096;

/// Work on the connection. It may run twice: when one of a group fails, each of them runs again by itself, so that nobody pays for
/// another's failure. That is cheaper than a savepoint around each, for which SQLite copies every page that it touches.
trait Job: Send {
    /// Whether it went well.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Says what came of it, now that it is known whether it stays.
    fn answer(self: Box<Self>, ended: Result<(), Arc<rusqlite::Error>>);
}

struct Call<T, W> {
    doing: &'static str,
    work: W,
    result: Option<rusqlite::Result<T>>,
    tell: oneshot::Sender<Result<T, StorageError>>,
}

impl<T: Send, W: FnMut(&Connection) -> rusqlite::Result<T> + Send> Job for Call<T, W> {
    fn run(&mut self, connection: &Connection) -> bool {
        self.result.insert((self.work)(connection)).is_ok()
    }

    fn answer(self: Box<Self>, ended: Result<(), Arc<rusqlite::Error>>) {
        let Self { doing, result, tell, .. } = *self;
        let failed = |error: &dyn std::fmt::Display| StorageError::new(doing, error.to_string());
        let said = match (ended, result) {
            (Ok(()), Some(result)) => result.map_err(|error| StorageError::new(doing, error)),
            (Ok(()), None) => Err(failed(&"it was not done")),
            (Err(error), _) => Err(failed(&error)),
        };
        // Nobody listens when the caller has gone; the work stands all the same.
        let _ = tell.send(said);
    }
}

/// A handle to the threads; they end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Thread {
    jobs: mpsc::Sender<Box<dyn Job>>,
    _joined: Arc<Joined>,
}

/// Waits for the threads, so that what was accepted is committed before a process ends.
struct Joined(Vec<std::thread::JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // It ends when its channel does, which has just been dropped; it cannot panic but by a defect in SQLite.
            let _ = thread.join();
        }
    }
}

impl Thread {
    /// Starts the thread that writes. The lock is held for as long as the connection is open.
    pub(crate) fn writer(connection: Connection, lock: File, max_wal_bytes: u64) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let wal = Wal::new(&connection, max_wal_bytes);
        let run = move || {
            let _lock = lock;
            run_write_groups(&connection, waiting, wal);
        };
        Self::of(jobs, spawn("pushgate-sqlite-writer", run).into_iter().collect())
    }

    /// Starts a thread for each of these connections.
    pub(crate) fn readers(connections: Vec<Connection>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let start = |connection| {
            let waiting = Arc::clone(&waiting);
            spawn("pushgate-sqlite-reader", move || run_reads(&connection, &waiting))
        };
        Self::of(jobs, connections.into_iter().filter_map(start).collect())
    }

    fn of(jobs: mpsc::Sender<Box<dyn Job>>, threads: Vec<std::thread::JoinHandle<()>>) -> Self {
        Self { jobs, _joined: Arc::new(Joined(threads)) }
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (tell, told) = oneshot::channel();
        let gone = || StorageError::new(doing, "the database has been closed");
        self.jobs.send(Box::new(Call { doing, work, result: None, tell })).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

type Jobs = mpsc::Receiver<Box<dyn Job>>;

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Option<std::thread::JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.inspect_err(|error| tracing::error!(%error, "no thread for the database")).ok()
}

/// Takes a few jobs at a time and reads for them in one short transaction. A job that comes later gets a later one: it may ask
/// for what was just written.
fn run_reads(connection: &Connection, waiting: &Mutex<Jobs>) {
    let mut group = Vec::new();
    loop {
        // One thread waits for jobs; the others wait for their turn to wait.
        let taken =
            waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv_many(&mut group, READ_GROUP);
        if taken == 0 {
            return;
        }
        let begun = say(connection, "BEGIN DEFERRED");
        group.iter_mut().for_each(|job| _ = job.run(connection));
        let ended = begun.and_then(|()| say(connection, "COMMIT")).map_err(Arc::new);
        group.drain(..).for_each(|job| job.answer(ended.clone()));
    }
}

fn run_write_groups(connection: &Connection, mut waiting: Jobs, mut wal: Wal) {
    let mut group = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        if together(connection, first, &mut waiting, &mut group) {
            group.drain(..).for_each(|job| job.answer(Ok(())));
        } else {
            group.drain(..).for_each(|job| alone(connection, job));
        }
        wal.keep_within_limit(connection);
    }
}

/// Runs the first and whoever joins it within one transaction. Whether that was committed; if not, nothing of it stays.
fn together(
    connection: &Connection,
    first: Box<dyn Job>,
    waiting: &mut Jobs,
    group: &mut Vec<Box<dyn Job>>,
) -> bool {
    let mut well = say(connection, "BEGIN IMMEDIATE").is_ok();
    let mut next = Some(first);
    while let Some(mut job) = next {
        well = well && job.run(connection);
        group.push(job);
        next = if well && group.len() < GROUP { waiting.try_recv().ok() } else { None };
    }
    let committed = well && say(connection, "COMMIT").is_ok();
    if !committed {
        undo(connection);
    }
    committed
}

fn alone(connection: &Connection, mut job: Box<dyn Job>) {
    let ended = say(connection, "BEGIN IMMEDIATE").and_then(|()| {
        // What went wrong is in the job's result, and nothing of it stays.
        if job.run(connection) { say(connection, "COMMIT") } else { say(connection, "ROLLBACK") }
    });
    if ended.is_err() {
        undo(connection);
    }
    job.answer(ended.map_err(Arc::new));
}

/// A failed commit (disk full) may leave the transaction open; where SQLite has closed it itself, this says so in vain.
fn undo(connection: &Connection) {
    let _ = say(connection, "ROLLBACK");
}

fn say(connection: &Connection, words: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(words)?.execute([]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_fails_leaves_nothing_and_those_beside_it_are_done_once() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").unwrap();
        let writer = Thread::writer(connection, tempfile::tempfile().unwrap(), u64::MAX);
        let insert = |n: i64| writer.run("inserting", move |c| c.execute("INSERT INTO t VALUES (?1)", [n]));
        let half = writer.run("failing half way", |c| {
            c.execute("INSERT INTO t VALUES (100)", [])?;
            c.execute("INSERT INTO nowhere VALUES (1)", [])
        });
        // Until the gate opens they all come to wait, so that they are of one group.
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = writer.run("waiting", move |_| Ok(gate.recv().is_ok()));
        let (_, one, failed, two, ()) =
            tokio::join!(gate, insert(1), half, insert(2), async move { open.send(()).unwrap() });
        assert!(one.is_ok() && two.is_ok());
        assert!(failed.unwrap_err().to_string().contains("failing half way"));
        let sum =
            writer.run("reading", |c| c.query_row("SELECT sum(n) FROM t", [], |row| row.get::<_, i64>(0)));
        assert_eq!(sum.await.unwrap(), 3);
    }
}
