//! The thread that owns a connection. The writer's runs every job that has arrived within one transaction and answers them
//! after the commit; the reader's runs them one by one.

use std::fs::File;
use std::sync::Arc;

use pushgate::StorageError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// The most jobs in one transaction.
const GROUP: usize = 512;
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

/// A handle to the thread; the thread ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Thread {
    jobs: mpsc::Sender<Box<dyn Job>>,
    _joined: Arc<Joined>,
}

/// Waits for the thread, so that what was accepted is committed before a process ends.
struct Joined(Option<std::thread::JoinHandle<()>>);

impl Drop for Joined {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // It ends when its channel does, which has just been dropped; it cannot panic but by a defect in SQLite.
            let _ = thread.join();
        }
    }
}

impl Thread {
    pub(crate) fn start(name: &str, connection: Connection, grouped: bool, lock: Option<File>) -> Self {
        let (jobs, waiting) = mpsc::channel(WAITING);
        let run = move || {
            // Held as long as the connection is open.
            let _lock = lock;
            if grouped { grouped_commits(&connection, waiting) } else { one_look(&connection, waiting) }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        if let Err(error) = &thread {
            tracing::error!(%error, "no thread for the database");
        }
        Self { jobs, _joined: Arc::new(Joined(thread.ok())) }
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

/// Those that wait share one look at the database. Who comes later gets a later one: it may ask for what was just written.
fn one_look(connection: &Connection, mut waiting: Jobs) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let begun = say(connection, "BEGIN DEFERRED");
        group.iter_mut().for_each(|job| _ = job.run(connection));
        let ended = begun.and_then(|()| say(connection, "COMMIT")).map_err(Arc::new);
        group.drain(..).for_each(|job| job.answer(ended.clone()));
    }
}

fn grouped_commits(connection: &Connection, mut waiting: Jobs) {
    let mut group = Vec::new();
    while let Some(first) = waiting.blocking_recv() {
        if together(connection, first, &mut waiting, &mut group) {
            group.drain(..).for_each(|job| job.answer(Ok(())));
        } else {
            group.drain(..).for_each(|job| alone(connection, job));
        }
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
        let writer = Thread::start("test", connection, true, None);
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
