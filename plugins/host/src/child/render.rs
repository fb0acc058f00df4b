//! Asks a child what it would send for a message. A thread for each child speaks with it, so that whoever plans waits for a
//! bounded time, holds no lock, and blocks no worker thread of the runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use pushgate::{Message, Rendered};
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor, worker_index};
use tokio_util::sync::CancellationToken;

use super::frame::{self, RenderedAs};
use crate::bounds;

/// Messages that wait for the thread. Each holds a thread of its own meanwhile, of which a runtime has 512 as a rule.
const CAPACITY: usize = 1024;

/// The parent's end of the socket for rendering.
pub(super) struct Renderer {
    questions: SyncSender<Question>,
    timeout: Duration,
    /// Cancelled when the child has not answered in time.
    stuck: CancellationToken,
}

/// A message, and where its rendering goes.
struct Question {
    frame: Vec<u8>,
    deadline: Instant,
    answer: SyncSender<Rendered>,
}

impl Renderer {
    /// Starts the thread. It ends when this is dropped, when the child goes, or when the child is stuck: it takes longer than
    /// `timeout` for one message.
    pub(super) fn start(socket: UnixStream, timeout: Duration, stuck: CancellationToken) -> io::Result<Self> {
        let (questions, waiting) = sync_channel(CAPACITY);
        let child_is_stuck = stuck.clone();
        std::thread::Builder::new().name("plugin render".to_owned()).spawn(move || {
            if answer_all(&socket, timeout, &waiting).is_err() {
                child_is_stuck.cancel();
            }
        })?;
        Ok(Self { questions, timeout, stuck })
    }

    /// Returns what would be sent for the message. `None` when the child has not told within the timeout.
    pub(super) fn render(&self, message: &Message) -> Option<Rendered> {
        if self.stuck.is_cancelled() {
            return None;
        }
        let frame = frame::encoded(message, &[]).ok()?;
        let (answer, rendered) = sync_channel(1);
        let deadline = Instant::now() + self.timeout;
        self.questions.try_send(Question { frame, deadline, answer }).ok()?;
        off_the_runtime(|| rendered.recv_timeout(self.timeout)).ok()
    }
}

/// Lets other tasks of this worker thread go on elsewhere while `wait` blocks it.
fn off_the_runtime<T>(wait: impl FnOnce() -> T) -> T {
    // Anywhere else than on a worker thread `block_in_place` would panic, in a `LocalSet` for example, or help nobody.
    let is_worker = worker_index().is_some();
    match Handle::try_current() {
        Ok(handle) if is_worker && handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(wait)
        }
        _ => wait(),
    }
}

/// Answers one question after the other.
fn answer_all(socket: &UnixStream, timeout: Duration, questions: &Receiver<Question>) -> io::Result<()> {
    while let Ok(Question { frame, deadline, answer }) = questions.recv() {
        let now = Instant::now();
        if deadline <= now {
            // Whoever asked has gone on with an estimate.
            continue;
        }
        let mut socket = Until { socket, deadline: now + timeout };
        socket.write_all(&frame)?;
        let (RenderedAs { counted }, body) = frame::read(&mut socket)?;
        // Without a number nobody is answered, and whoever asked estimates.
        if let Some(counted) = counted {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            // Whoever asked may have gone.
            let _ = answer.try_send(Rendered { body, counted });
        }
    }
    Ok(())
}

/// Answers messages on the child's side until the parent closes the socket.
pub(super) fn serve(mut socket: UnixStream, render: impl Fn(&Message) -> Rendered) -> io::Result<()> {
    loop {
        let (head, _) = frame::read_raw(&mut socket)?;
        let (counted, body) = match frame::decoded::<Message>(&head) {
            Ok(message) => {
                let Rendered { body, counted } = render(&message);
                (Some(counted), serde_json::to_vec(&body)?)
            }
            // A message this side cannot read is no reason to end.
            Err(_) => (None, Vec::new()),
        };
        socket.write_all(&frame::encoded(&RenderedAs { counted }, &body)?)?;
    }
}

/// A socket whose reads and writes all together end at a deadline.
pub(super) struct Until<'a> {
    pub(super) socket: &'a UnixStream,
    pub(super) deadline: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Returns what planning counts when the child does not tell.
pub(super) fn estimated(message: &Message) -> Rendered {
    Rendered { body: Value::Null, counted: bounds::estimated_size(message) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use pushgate_kit::sample;

    use super::*;

    /// Far beyond what a busy machine holds a test up for.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_child_that_answers_byte_by_byte_gets_one_deadline_for_all_of_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let stuck = CancellationToken::new();
        let renderer = Renderer::start(ours, Duration::from_millis(50), stuck.clone()).unwrap();
        let child = std::thread::spawn(move || {
            // A megabyte is announced; each byte of it comes well before a deadline of its own.
            let _ = theirs.write_all(&[0, 0, 16, 0, 0, 0, 0, 0]);
            while theirs.write_all(b" ").is_ok() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        assert!(renderer.render(&sample::message()).is_none());
        // The thread lets go of the socket, which ends the child's.
        child.join().unwrap();
        assert!(stuck.is_cancelled());
    }

    /// The child answers only after another task of the only worker thread has run.
    #[test]
    fn other_tasks_run_on_while_planning_waits_for_a_child() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let renderer = Renderer::start(ours, LONG, CancellationToken::new()).unwrap();
        let (ran, other_ran) = mpsc::channel();
        std::thread::spawn(move || {
            serve(theirs, |message| {
                other_ran.recv_timeout(LONG).expect("the other task runs");
                Rendered { body: Value::Null, counted: message.title.expose().len() }
            })
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let planning = runtime.spawn(async move {
            tokio::spawn(async move { ran.send(()) });
            renderer.render(&sample::message()).map(|rendered| rendered.counted)
        });
        assert_eq!(runtime.block_on(planning).unwrap(), Some(sample::message().title.expose().len()));
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_and_a_local_set_can_wait_too() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let renderer = Renderer::start(ours, LONG, CancellationToken::new()).unwrap();
        std::thread::spawn(move || serve(theirs, |_| Rendered { body: Value::Null, counted: 7 }));
        assert!(renderer.render(&sample::message()).is_some());
        let local = tokio::task::LocalSet::new();
        let rendered = local.run_until(async { renderer.render(&sample::message()) }).await;
        assert_eq!(rendered.map(|rendered| rendered.counted), Some(7));
    }

    #[test]
    fn a_message_the_child_cannot_read_ends_nobody() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(theirs, |_| Rendered { body: Value::Null, counted: 7 }));
        let mut socket = Until { socket: &ours, deadline: Instant::now() + LONG };
        socket.write_all(&frame::encoded(&"no message", &[]).unwrap()).unwrap();
        assert_eq!(frame::read::<RenderedAs>(&mut socket).unwrap().0.counted, None);
        socket.write_all(&frame::encoded(&sample::message(), &[]).unwrap()).unwrap();
        assert_eq!(frame::read::<RenderedAs>(&mut socket).unwrap().0.counted, Some(7));
    }
}
