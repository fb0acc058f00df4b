//! Threads that own the connections. The writer runs all waiting jobs in one transaction and answers them after the
//! commit. The readers share one queue, and each runs a few jobs per transaction.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use crate::wal::Wal;
use pushgate::StorageError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// Maximum number of jobs in one transaction of the writer.
const GROUP: usize = 512;
/// Maximum number of jobs in one transaction of a reader. The number is small, because the write-ahead log grows
/// during a read.
const READ_GROUP: usize = 16;
/// Maximum number of waiting jobs. Further callers wait for a free place.
const WAITING: usize = 4096;

/// Work on the connection. It may run twice: if one job of a group fails, each job runs again in a transaction of its
/// own, so that the others succeed. A savepoint per job would cost more, because SQLite copies every page that it
/// touches.
trait Job: Send {
    /// Runs the job and returns `true` on success.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Sends the result to the caller after the end of the transaction.
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

/// Handle to the threads, which end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Thread {
    jobs: mpsc::Sender<Box<dyn Job>>,
    _joined: Arc<Joined>,
}

/// Joins the threads on drop, so that accepted jobs are committed before the process ends.
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
    /// Starts the writer thread. It holds the lock as long as the connection is open.
    pub(crate) fn writer(connection: Connection, lock: File, max_wal_bytes: u64) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let wal = Wal::new(&connection, max_wal_bytes);
        let run = move || {
            let _lock = lock;
            run_write_groups(&connection, waiting, wal);
        };
        Self::of(jobs, spawn("pushgate-sqlite-writer", run).into_iter().collect())
    }

    /// Starts one reader thread per connection.
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

/// Runs a few jobs at a time in one short transaction. A later job gets a later transaction, because it may expect
/// data that was just written.
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

/// Runs the first job and all waiting jobs in one transaction. Returns `true` if it was committed; otherwise it is
/// rolled back.
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

/// Rolls back a transaction that a failed commit (disk full) may have left open. An error is ignored, because SQLite
/// may have closed it itself.
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
