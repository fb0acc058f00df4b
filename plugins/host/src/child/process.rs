//! Main function of a child process. Drops inherited resources, loads one plugin, and serves one of its channels until the
//! parent closes the connection. One thread runs the plugin, so a blocked plugin misses the parent's pings. Other threads
//! read, so the process ends at once when the parent dies.

use std::collections::HashMap;
use std::io::{BufReader, BufWriter, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pushgate::{
    ChannelName, Delivery, PushChannel, Request, Response, SystemClock, Transport, TransportError,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::frame::{self, ToChild, ToParent, WireProbe, WireRequest, WireResult};
use super::render;
use crate::bounds::{MAX_REQUEST_BYTES, cost};
use crate::error::LoadError;
use crate::in_process::InProcessChannel;
use crate::library::Library;
use crate::loader::{Isolation, Loader, OpenOptions, Source};
use crate::telemetry::{Death, Level, Misuse, Telemetry};

/// Size of the buffers of the socket, in bytes.
const BUFFER_SIZE: usize = 64 * 1024;

/// Arguments of a child process that hosts a plugin.
#[derive(Debug)]
pub struct HostProcess {
    /// Path of the plugin.
    pub path: PathBuf,
    /// Expected SHA-256 of the file. `None` accepts any.
    pub sha256: Option<[u8; 32]>,
    /// Maximum address space, in bytes.
    pub memory: u64,
    /// Maximum number of open files.
    pub open_files: u64,
}

impl HostProcess {
    /// Hosts the plugin until the parent closes the channel. Call it first in `main`, because it closes all open files.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // The parent copies stderr to its log.
                let _ = writeln!(std::io::stderr(), "{error}");
                ExitCode::FAILURE
            }
        }
    }

    fn serve(self) -> std::io::Result<()> {
        let (frames, renders) = sockets()?;
        self.limit()?;
        let (writer, writing) = FrameWriter::start(frames.try_clone()?)?;
        let result = self.serve_with(&writer, frames, renders);
        writer.end();
        // Waits until the last frame is written. An error only means that the parent no longer reads.
        let _ = writing.join();
        result
    }

    fn serve_with(
        self,
        writer: &FrameWriter,
        frames: UnixStream,
        renders: UnixStream,
    ) -> std::io::Result<()> {
        let loader = Loader::new(Arc::new(SystemClock), Arc::new(writer.clone()));
        let source = Source { path: self.path, sha256: self.sha256, isolation: Isolation::None };
        let library = match loader.library(&source) {
            Ok(library) => library,
            Err(error) => return writer.send_frame(&ToParent::Refused { why: error.to_string() }),
        };
        writer.send_frame(&ToParent::Hello { description: Box::new(library.description.clone()) })?;
        let (sender, incoming) = mpsc::unbounded_channel();
        std::thread::Builder::new().spawn(move || read_frames(frames, &sender))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(ChildProcess { library, writer: writer.clone(), renders }.serve_channel(incoming))
    }

    fn limit(&self) -> std::io::Result<()> {
        let limit_of = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
        // A core dump would contain credentials and texts of users.
        setrlimit(Resource::Core, limit_of(0))?;
        setrlimit(Resource::Nofile, limit_of(self.open_files))?;
        setrlimit(Resource::As, limit_of(self.memory))?;
        Ok(())
    }
}

/// Returns the sockets for frames and for rendering, which are inherited as stdin and stdout. Closes all other files but
/// stderr.
fn sockets() -> std::io::Result<(UnixStream, UnixStream)> {
    close_others()?;
    let move_up =
        |fd: BorrowedFd<'_>| -> std::io::Result<OwnedFd> { Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?) };
    let frames = move_up(std::io::stdin().as_fd())?;
    let renders = move_up(std::io::stdout().as_fd())?;
    // A plugin that reads stdin or writes to stdout must not disturb the frames.
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((frames.into(), renders.into()))
}

/// Closes files that a library in the parent has opened without `O_CLOEXEC`.
fn close_others() -> std::io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd"))?;
    let open: Vec<i32> = open.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: this process has just started and uses only its first three descriptors. The list includes the
        // descriptor of the directory itself, which is closed by now, so each is checked first.
        unsafe {
            if rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(fd)).is_ok() {
                rustix::io::close(fd);
            }
        }
    }
    Ok(())
}

/// Forwards the parent's frames. Exits the process when the connection ends, because nobody needs its results then.
fn read_frames(frames: UnixStream, sender: &mpsc::UnboundedSender<(ToChild, Bytes)>) {
    let mut frames = BufReader::with_capacity(BUFFER_SIZE, frames);
    while let Ok(frame) = frame::read(&mut frames) {
        if sender.send(frame).is_err() {
            return;
        }
    }
    std::process::exit(0);
}

/// Queue of frames for the parent. Its own thread writes them, so a blocked plugin delays no frame. The thread writes all
/// waiting frames at once.
#[derive(Clone)]
struct FrameWriter(std::sync::mpsc::Sender<Option<Vec<u8>>>);

/// Frames to write. `None` ends the thread.
type FrameQueue = std::sync::mpsc::Receiver<Option<Vec<u8>>>;

impl FrameWriter {
    fn start(socket: UnixStream) -> std::io::Result<(Self, JoinHandle<std::io::Result<()>>)> {
        let (frames, queue) = std::sync::mpsc::channel();
        let writing = std::thread::Builder::new().spawn(move || write_frames(socket, &queue))?;
        Ok((Self(frames), writing))
    }

    fn send_frame(&self, head: &impl Serialize) -> std::io::Result<()> {
        self.send_with_tail(head, &[])
    }

    fn send_with_tail(&self, head: &impl Serialize, tail: &[u8]) -> std::io::Result<()> {
        self.0.send(Some(frame::encoded(head, tail)?)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    /// Ends the thread after the queued frames.
    fn end(&self) {
        // An error means that the thread has already ended.
        let _ = self.0.send(None);
    }

    /// Sends a frame and ignores errors: the process exits anyway when the parent has closed the connection.
    fn send_or_ignore(&self, head: &ToParent) {
        let _ = self.send_frame(head);
    }
}

/// Writes frames until the queue ends or the parent closes the connection.
fn write_frames(socket: UnixStream, queue: &FrameQueue) -> std::io::Result<()> {
    let mut socket = BufWriter::with_capacity(BUFFER_SIZE, socket);
    while let Ok(first) = queue.recv() {
        for frame in std::iter::once(first).chain(queue.try_iter()) {
            let Some(frame) = frame else { return socket.flush() };
            socket.write_all(&frame)?;
        }
        socket.flush()?;
    }
    Ok(())
}

impl Telemetry for FrameWriter {
    fn log(&self, _plugin: &str, _channel: &str, level: Level, text: &str) {
        self.send_or_ignore(&ToParent::Log { level, text: text.to_owned() });
    }
    fn count(&self, _plugin: &str, _channel: &str, name: &str, by: u64) {
        self.send_or_ignore(&ToParent::Counter { name: name.to_owned(), by });
    }
    fn record(&self, _plugin: &str, _channel: &str, name: &str, value: f64) {
        self.send_or_ignore(&ToParent::Histogram { name: name.to_owned(), value });
    }
    fn record_misuse(&self, _plugin: &str, misuse: Misuse) {
        self.send_or_ignore(&ToParent::Misuse { misuse });
    }
    // A child process starts no child processes.
    fn record_start(&self, _plugin: &str, _channel: &str) {}
    fn record_death(&self, _plugin: &str, _channel: &str, _death: &Death<'_>) {}
}

/// Transport that sends requests through the parent, whose client applies the gateway's network rules.
struct ParentTransport {
    writer: FrameWriter,
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<(WireResult, Bytes)>>>,
    /// One permit for each byte of [`MAX_REQUEST_BYTES`]. The parent refuses requests beyond it.
    permits: Semaphore,
}

impl ParentTransport {
    fn new(writer: FrameWriter) -> Self {
        let permits = Semaphore::new(MAX_REQUEST_BYTES);
        Self { writer, next_id: AtomicU64::new(0), waiting: Mutex::default(), permits }
    }

    fn complete(&self, id: u64, result: WireResult, body: Bytes) {
        if let Some(sender) = self.waiting.lock().remove(&id) {
            // An error means that the request was cancelled.
            let _ = sender.send((result, body));
        }
    }
}

#[async_trait]
impl Transport for ParentTransport {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable {
            host: request.uri.host().unwrap_or_default().to_owned(),
            why: why.to_owned(),
        };
        let started_at = tokio::time::Instant::now();
        let Ok(Ok(_permit)) =
            tokio::time::timeout(request.timeout, self.permits.acquire_many(cost(&request))).await
        else {
            return Err(unreachable("this channel has too many concurrent requests"));
        };
        let timeout = request.timeout.saturating_sub(started_at.elapsed());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = request.headers.iter();
        let head = WireRequest {
            method: request.method.to_string(),
            url: request.uri.to_string(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            max_answer: request.max_answer as u64,
        };
        if self.writer.send_with_tail(&ToParent::Request { id, request: head }, &request.body).is_err() {
            self.waiting.lock().remove(&id);
            return Err(unreachable("the plugin's process has lost its connection to the gateway"));
        }
        let (result, body) = receiver.await.map_err(|_| unreachable("the plugin's process is closing"))?;
        result.into_result(body)
    }
}

/// State of a child process that has loaded its plugin.
struct ChildProcess {
    library: &'static Library,
    writer: FrameWriter,
    renders: UnixStream,
}

impl ChildProcess {
    async fn serve_channel(
        self,
        mut incoming: mpsc::UnboundedReceiver<(ToChild, Bytes)>,
    ) -> std::io::Result<()> {
        let Self { library, writer, renders } = self;
        let transport = Arc::new(ParentTransport::new(writer.clone()));
        let Some((ToChild::Open { name, config }, _)) = incoming.recv().await else { return Ok(()) };
        let opened =
            ChannelName::new(&name).map_err(|error| LoadError::Refused(error.to_string())).and_then(|name| {
                InProcessChannel::open(
                    library,
                    OpenOptions { name, config, transport: Arc::clone(&transport) as _ },
                )
            });
        let channel = match opened {
            Ok(channel) => Arc::new(channel),
            Err(error) => return writer.send_frame(&ToParent::Refused { why: error.to_string() }),
        };
        writer.send_frame(&ToParent::Opened)?;
        let (socket, renderer) = (renders.try_clone()?, Arc::clone(&channel));
        // A separate thread and socket: planning waits for rendering, and must not wait for deliveries.
        let rendering = std::thread::Builder::new().spawn(move || {
            // The error only says that the socket was closed.
            let _ = render::serve(socket, |message| renderer.render(message));
        })?;
        let sends = TaskTracker::new();
        while let Some((frame, body)) = incoming.recv().await {
            match frame {
                ToChild::Send { tag } => {
                    let Ok(delivery) = frame::decoded::<Delivery>(&body) else {
                        writer.send_or_ignore(&ToParent::Unreadable { tag });
                        continue;
                    };
                    let (channel, writer) = (Arc::clone(&channel), writer.clone());
                    sends.spawn(async move {
                        let outcomes = frame::wire_outcomes(channel.send(&delivery).await);
                        writer.send_or_ignore(&ToParent::Report { tag, outcomes });
                    });
                }
                ToChild::Probe { tag } => {
                    let (channel, writer) = (Arc::clone(&channel), writer.clone());
                    sends.spawn(async move {
                        writer.send_or_ignore(&ToParent::Probed {
                            tag,
                            probe: channel.probe().await.map(WireProbe::from),
                        });
                    });
                }
                ToChild::HttpResult { id, result } => transport.complete(id, result, body),
                ToChild::Ping => writer.send_frame(&ToParent::Pong)?,
                ToChild::Open { .. } | ToChild::Close => break,
            }
        }
        sends.close();
        // Sends that still wait for the parent afterwards are cancelled with the channel.
        let _ = tokio::time::timeout(Duration::from_secs(2), sends.wait()).await;
        renders.shutdown(std::net::Shutdown::Both)?;
        // An error means that the thread panicked, so it has ended too.
        let _ = rendering.join();
        if let Some(channel) = Arc::into_inner(channel) {
            channel.close().await;
        }
        Ok(())
    }
}
