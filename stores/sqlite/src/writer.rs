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

/// Runs on the connection, and gives what is to be said once the commit is known.
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), Arc<rusqlite::Error>>) + Send>;

/// A handle to the thread; the thread ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Thread {
    jobs: mpsc::Sender<Job>,
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
            if grouped { grouped_commits(&connection, waiting) } else { one_by_one(&connection, waiting) }
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
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = job(connection);
            Box::new(move |commit| {
                // Nobody listens when the caller has gone; the work stands all the same.
                let _ = tell.send(match commit {
                    Ok(()) => result.map_err(|error| StorageError::new(doing, error)),
                    Err(error) => Err(StorageError::new(doing, error.to_string())),
                });
            })
        });
        let gone = || StorageError::new(doing, "the database has been closed");
        self.jobs.send(job).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

fn one_by_one(connection: &Connection, mut waiting: mpsc::Receiver<Job>) {
    while let Some(job) = waiting.blocking_recv() {
        // A transaction, so that the statements of one job see one state.
        let begun = connection.execute_batch("BEGIN DEFERRED");
        let answer = job(connection);
        let ended = begun.and_then(|()| connection.execute_batch("COMMIT"));
        answer(ended.map_err(Arc::new));
    }
}

fn grouped_commits(connection: &Connection, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            answers.push(job(connection));
            next = if answers.len() < GROUP { waiting.try_recv().ok() } else { None };
        }
        let committed = begun.and_then(|()| connection.execute_batch("COMMIT")).map_err(Arc::new);
        if committed.is_err() {
            // A failed commit (disk full) may leave the transaction open; nobody was told that anything is stored.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for answer in answers {
            answer(committed.clone());
        }
    }
}

/// Runs `work` so that it is done whole or not at all, within whatever transaction is open.
pub(crate) fn whole<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = work(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    result
}
