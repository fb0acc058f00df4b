//! Rendering of messages in a child process. One thread per child exchanges the frames. Planning therefore waits for a
//! limited time, holds no lock, and blocks no worker thread of the runtime.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use pushgate::{Message, Rendered};
use serde_json::Value;
use tokio::runtime::{Handle, RuntimeFlavor, worker_index};
use tokio_util::sync::CancellationToken;

use super::frame::{self, RenderReply};
use crate::bounds;

/// Maximum number of messages that wait for the thread. Each blocks one thread, of which a runtime has 512 by default.
const CAPACITY: usize = 1024;

/// Parent's side of the socket for rendering.
pub(super) struct Renderer {
    requests: SyncSender<RenderRequest>,
    timeout: Duration,
    /// Cancelled when the child does not render a message in time.
    stuck: CancellationToken,
}

/// Encoded message and the channel for its reply.
struct RenderRequest {
    frame: Vec<u8>,
    deadline: Instant,
    reply: SyncSender<Rendered>,
}

impl Renderer {
    /// Starts the thread. It ends when this is dropped or the child closes the socket. It also ends, and cancels `stuck`,
    /// when the child takes longer than `timeout` for one message.
    pub(super) fn start(socket: UnixStream, timeout: Duration, stuck: CancellationToken) -> io::Result<Self> {
        let (requests, waiting) = sync_channel(CAPACITY);
        let child_is_stuck = stuck.clone();
        std::thread::Builder::new().name("plugin render".to_owned()).spawn(move || {
            if forward_all(&socket, timeout, &waiting).is_err() {
                child_is_stuck.cancel();
            }
        })?;
        Ok(Self { requests, timeout, stuck })
    }

    /// Returns the rendered message. `None` means that the child did not reply within the timeout or cannot read the message.
    pub(super) fn render(&self, message: &Message) -> Option<Rendered> {
        if self.stuck.is_cancelled() {
            return None;
        }
        let frame = frame::encoded(message, &[]).ok()?;
        let (reply, rendered) = sync_channel(1);
        let deadline = Instant::now() + self.timeout;
        self.requests.try_send(RenderRequest { frame, deadline, reply }).ok()?;
        block_off_runtime(|| rendered.recv_timeout(self.timeout)).ok()
    }
}

/// Runs `wait`, which blocks. On a worker thread, first moves its other tasks to another thread.
fn block_off_runtime<T>(wait: impl FnOnce() -> T) -> T {
    // Outside of a worker thread `block_in_place` panics, as in a `LocalSet`, or has no effect.
    let is_worker = worker_index().is_some();
    match Handle::try_current() {
        Ok(handle) if is_worker && handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(wait)
        }
        _ => wait(),
    }
}

/// Sends one request after the other to the child and forwards the replies.
fn forward_all(socket: &UnixStream, timeout: Duration, requests: &Receiver<RenderRequest>) -> io::Result<()> {
    while let Ok(RenderRequest { frame, deadline, reply }) = requests.recv() {
        let now = Instant::now();
        if deadline <= now {
            // The caller already uses an estimate.
            continue;
        }
        let mut socket = DeadlineSocket { socket, deadline: now + timeout };
        socket.write_all(&frame)?;
        let (RenderReply { counted }, body) = frame::read(&mut socket)?;
        // Without a size there is no reply, and the caller uses an estimate.
        if let Some(counted) = counted {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            // An error means that the caller no longer waits.
            let _ = reply.try_send(Rendered { body, counted });
        }
    }
    Ok(())
}

/// Renders messages on the child's side until the parent closes the socket.
pub(super) fn serve(mut socket: UnixStream, render: impl Fn(&Message) -> Rendered) -> io::Result<()> {
    loop {
        let (head, _) = frame::read_raw(&mut socket)?;
        let (counted, body) = match frame::decoded::<Message>(&head) {
            Ok(message) => {
                let Rendered { body, counted } = render(&message);
                (Some(counted), serde_json::to_vec(&body)?)
            }
            // An unreadable message must not end the process.
            Err(_) => (None, Vec::new()),
        };
        socket.write_all(&frame::encoded(&RenderReply { counted }, &body)?)?;
    }
}

/// Socket whose reads and writes share one deadline.
pub(super) struct DeadlineSocket<'a> {
    pub(super) socket: &'a UnixStream,
    pub(super) deadline: Instant,
}

impl DeadlineSocket<'_> {
    fn remaining(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, "it did not reply in time")),
            remaining => Ok(Some(remaining)),
        }
    }
}

impl Read for DeadlineSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.remaining()?)?;
        self.socket.read(buffer)
    }
}

impl Write for DeadlineSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.remaining()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// Returns the estimate that planning uses when the child does not render the message.
pub(super) fn estimated(message: &Message) -> Rendered {
    Rendered { body: Value::Null, counted: bounds::estimated_size(message) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use pushgate_kit::sample;

    use super::*;

    /// Exceeds the delays of a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_reply_that_arrives_byte_by_byte_has_one_deadline_as_a_whole() {
        let (parent, mut child) = UnixStream::pair().unwrap();
        let stuck = CancellationToken::new();
        let renderer = Renderer::start(parent, Duration::from_millis(50), stuck.clone()).unwrap();
        let child_thread = std::thread::spawn(move || {
            // Announces one megabyte. Each byte arrives long before a deadline per read would pass.
            let _ = child.write_all(&[0, 0, 16, 0, 0, 0, 0, 0]);
            while child.write_all(b" ").is_ok() {
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        assert!(renderer.render(&sample::message()).is_none());
        // The renderer's thread drops the socket, which ends the child's thread.
        child_thread.join().unwrap();
        assert!(stuck.is_cancelled());
    }

    /// The child replies only after another task has run on the only worker thread.
    #[test]
    fn other_tasks_run_on_while_planning_waits_for_a_child() {
        let (parent, child) = UnixStream::pair().unwrap();
        let renderer = Renderer::start(parent, LONG, CancellationToken::new()).unwrap();
        let (ran, other_ran) = mpsc::channel();
        std::thread::spawn(move || {
            serve(child, |message| {
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
    async fn rendering_works_on_a_current_thread_runtime_and_in_a_local_set() {
        let (parent, child) = UnixStream::pair().unwrap();
        let renderer = Renderer::start(parent, LONG, CancellationToken::new()).unwrap();
        std::thread::spawn(move || serve(child, |_| Rendered { body: Value::Null, counted: 7 }));
        assert!(renderer.render(&sample::message()).is_some());
        let local = tokio::task::LocalSet::new();
        let rendered = local.run_until(async { renderer.render(&sample::message()) }).await;
        assert_eq!(rendered.map(|rendered| rendered.counted), Some(7));
    }

    #[test]
    fn a_message_that_the_child_cannot_read_does_not_end_it() {
        let (parent, child) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(child, |_| Rendered { body: Value::Null, counted: 7 }));
        let mut socket = DeadlineSocket { socket: &parent, deadline: Instant::now() + LONG };
        socket.write_all(&frame::encoded(&"no message", &[]).unwrap()).unwrap();
        assert_eq!(frame::read::<RenderReply>(&mut socket).unwrap().0.counted, None);
        socket.write_all(&frame::encoded(&sample::message(), &[]).unwrap()).unwrap();
        assert_eq!(frame::read::<RenderReply>(&mut socket).unwrap().0.counted, Some(7));
    }
}
