//! The child: gives up everything it was born with, loads one plugin, and serves one channel of it until the parent goes.
//! One thread runs the plugin, so that the parent notices when it is stuck; others read, so that an orphan ends at once.

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

use super::frame::{self, Answer, Ask, Down, Known, Up};
use super::render;
use crate::bounds::{MAX_REQUEST_BYTES, cost};
use crate::channel::Plugged;
use crate::error::LoadError;
use crate::library::Library;
use crate::loader::{Isolation, Loader, Opening, Source};
use crate::telemetry::{Death, Level, Misuse, Telemetry};

/// What is read and written at once, in bytes.
const AT_ONCE: usize = 64 * 1024;

/// What a process that was started as a plugin's host is to do.
#[derive(Debug)]
pub struct Role {
    /// The plugin.
    pub path: PathBuf,
    /// What the file must be, where that is known.
    pub sha256: Option<[u8; 32]>,
    /// Address space, in bytes.
    pub memory: u64,
    /// Open files.
    pub open_files: u64,
}

impl Role {
    /// Plays it. To be called first thing in a process, before anything else is opened; comes back when the parent is done.
    #[must_use]
    pub fn play(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // To the parent, which puts it into its log.
                let _ = writeln!(std::io::stderr(), "{error}");
                ExitCode::FAILURE
            }
        }
    }

    fn serve(self) -> std::io::Result<()> {
        let (frames, renders) = sockets()?;
        self.limit()?;
        let (writer, writing) = Writer::start(frames.try_clone()?)?;
        let served = self.serve_by(&writer, frames, renders);
        // What was said last is heard, too.
        writer.end();
        // When nobody reads any more, nobody is to be told of it.
        let _ = writing.join();
        served
    }

    fn serve_by(self, writer: &Writer, frames: UnixStream, renders: UnixStream) -> std::io::Result<()> {
        let loader = Loader::new(Arc::new(SystemClock), Arc::new(writer.clone()));
        let source = Source { path: self.path, sha256: self.sha256, isolation: Isolation::None };
        let library = match loader.library(&source) {
            Ok(library) => library,
            Err(why) => return writer.say(&Up::Refused { why: why.to_string() }),
        };
        writer.say(&Up::Hello { description: Box::new(library.description.clone()) })?;
        let (told, heard) = mpsc::unbounded_channel();
        std::thread::Builder::new().spawn(move || listen(frames, &told))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(Child { library, writer: writer.clone(), renders }.live(heard))
    }

    fn limit(&self) -> std::io::Result<()> {
        let at_most = |most| Rlimit { current: Some(most), maximum: Some(most) };
        // A dump of memory would hold credentials and what users wrote.
        setrlimit(Resource::Core, at_most(0))?;
        setrlimit(Resource::Nofile, at_most(self.open_files))?;
        setrlimit(Resource::As, at_most(self.memory))?;
        Ok(())
    }
}

/// Takes the two sockets from where they were inherited, and closes everything else.
fn sockets() -> std::io::Result<(UnixStream, UnixStream)> {
    close_others()?;
    let moved =
        |fd: BorrowedFd<'_>| -> std::io::Result<OwnedFd> { Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?) };
    let frames = moved(std::io::stdin().as_fd())?;
    let renders = moved(std::io::stdout().as_fd())?;
    // A plugin that reads stdin or writes to stdout finds nothing, and breaks nothing.
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok((frames.into(), renders.into()))
}

/// Closes what a careless library in the parent has left open across `exec`.
fn close_others() -> std::io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd"))?;
    let open: Vec<i32> = open.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: this process has just begun and owns nothing but its first three. The folder that was read is among
        // them and closed by now, so each is asked first.
        unsafe {
            if rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(fd)).is_ok() {
                rustix::io::close(fd);
            }
        }
    }
    Ok(())
}

/// Hands on what the parent says. Its end is ours: nobody is left to answer to.
fn listen(frames: UnixStream, told: &mpsc::UnboundedSender<(Down, Bytes)>) {
    let mut frames = BufReader::with_capacity(AT_ONCE, frames);
    while let Ok(frame) = frame::read(&mut frames) {
        if told.send(frame).is_err() {
            return;
        }
    }
    std::process::exit(0);
}

/// Where frames to the parent go, whole and one after the other. A thread of its own writes them, so that a plugin that is
/// stuck holds no answer back, and as many at once as have come meanwhile.
#[derive(Clone)]
struct Writer(std::sync::mpsc::Sender<Option<Vec<u8>>>);

/// Frames, and none when there will be no more.
type Waiting = std::sync::mpsc::Receiver<Option<Vec<u8>>>;

impl Writer {
    fn start(socket: UnixStream) -> std::io::Result<(Self, JoinHandle<std::io::Result<()>>)> {
        let (frames, waiting) = std::sync::mpsc::channel();
        let writing = std::thread::Builder::new().spawn(move || write(socket, &waiting))?;
        Ok((Self(frames), writing))
    }

    fn say(&self, what: &impl Serialize) -> std::io::Result<()> {
        self.say_with(what, &[])
    }

    fn say_with(&self, what: &impl Serialize, tail: &[u8]) -> std::io::Result<()> {
        self.0.send(Some(frame::encoded(what, tail)?)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    /// Nothing comes after this.
    fn end(&self) {
        // Whoever would read it has gone: it has ended.
        let _ = self.0.send(None);
    }

    /// For what cannot be helped when it fails: then the parent is gone, and so are we.
    fn mention(&self, what: &Up) {
        let _ = self.say(what);
    }
}

/// Writes what waits, until the end or until nobody reads.
fn write(socket: UnixStream, waiting: &Waiting) -> std::io::Result<()> {
    let mut socket = BufWriter::with_capacity(AT_ONCE, socket);
    while let Ok(first) = waiting.recv() {
        for frame in std::iter::once(first).chain(waiting.try_iter()) {
            let Some(frame) = frame else { return socket.flush() };
            socket.write_all(&frame)?;
        }
        socket.flush()?;
    }
    Ok(())
}

impl Telemetry for Writer {
    fn log(&self, _plugin: &str, _channel: &str, level: Level, text: &str) {
        self.mention(&Up::Log { level, text: text.to_owned() });
    }
    fn count(&self, _plugin: &str, _channel: &str, name: &str, by: u64) {
        self.mention(&Up::Count { name: name.to_owned(), by });
    }
    fn record(&self, _plugin: &str, _channel: &str, name: &str, value: f64) {
        self.mention(&Up::Record { name: name.to_owned(), value });
    }
    fn misused(&self, _plugin: &str, what: Misuse) {
        self.mention(&Up::Misused { what });
    }
    // A child has no children.
    fn rose(&self, _plugin: &str, _channel: &str) {}
    fn died(&self, _plugin: &str, _channel: &str, _death: &Death<'_>) {}
}

/// Sends through the parent: this process has no network of its own to speak of.
struct Through {
    writer: Writer,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<(Answer, Bytes)>>>,
    /// One permit for each byte that requests may take in the parent, which refuses what goes beyond.
    room: Semaphore,
}

impl Through {
    fn new(writer: Writer) -> Self {
        let room = Semaphore::new(MAX_REQUEST_BYTES);
        Self { writer, next: AtomicU64::new(0), waiting: Mutex::default(), room }
    }

    fn answered(&self, id: u64, answer: Answer, body: Bytes) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            // Who asked may have gone.
            let _ = waiting.send((answer, body));
        }
    }
}

#[async_trait]
impl Transport for Through {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let lost = |why: &str| TransportError::Unreachable {
            host: request.uri.host().unwrap_or_default().to_owned(),
            why: why.to_owned(),
        };
        let began = tokio::time::Instant::now();
        let Ok(Ok(_place)) =
            tokio::time::timeout(request.timeout, self.room.acquire_many(cost(&request))).await
        else {
            return Err(lost("too much is under way for this channel"));
        };
        let timeout = request.timeout.saturating_sub(began.elapsed());
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = request.headers.iter();
        let ask = Ask {
            method: request.method.to_string(),
            url: request.uri.to_string(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            max_answer: request.max_answer as u64,
        };
        if self.writer.say_with(&Up::Request { id, ask }, &request.body).is_err() {
            self.waiting.lock().remove(&id);
            return Err(lost("the gateway cannot be reached from the plugin's process"));
        }
        let (answer, body) = receiver.await.map_err(|_| lost("the plugin's process ends"))?;
        answer.result(body)
    }
}

struct Child {
    library: &'static Library,
    writer: Writer,
    renders: UnixStream,
}

impl Child {
    async fn live(self, mut heard: mpsc::UnboundedReceiver<(Down, Bytes)>) -> std::io::Result<()> {
        let Self { library, writer, renders } = self;
        let transport = Arc::new(Through::new(writer.clone()));
        let Some((Down::Open { name, config }, _)) = heard.recv().await else { return Ok(()) };
        let opened =
            ChannelName::new(&name).map_err(|error| LoadError::Refused(error.to_string())).and_then(|name| {
                Plugged::open(library, Opening { name, config, transport: Arc::clone(&transport) as _ })
            });
        let channel = match opened {
            Ok(channel) => Arc::new(channel),
            Err(why) => return writer.say(&Up::Refused { why: why.to_string() }),
        };
        writer.say(&Up::Opened)?;
        let (socket, rendered) = (renders.try_clone()?, Arc::clone(&channel));
        // A thread and a socket of its own: planning waits for it, and not for deliveries.
        let rendering = std::thread::Builder::new().spawn(move || {
            // It ends with the socket.
            let _ = render::serve(socket, |message| rendered.render(message));
        })?;
        let sends = TaskTracker::new();
        while let Some((frame, body)) = heard.recv().await {
            match frame {
                Down::Send { tag } => {
                    let Ok(delivery) = frame::decoded::<Delivery>(&body) else {
                        writer.mention(&Up::Unreadable { tag });
                        continue;
                    };
                    let (channel, writer) = (Arc::clone(&channel), writer.clone());
                    sends.spawn(async move {
                        let outcomes = frame::outcomes(channel.send(&delivery).await);
                        writer.mention(&Up::Report { tag, outcomes });
                    });
                }
                Down::Probe { tag } => {
                    let (channel, writer) = (Arc::clone(&channel), writer.clone());
                    sends.spawn(async move {
                        writer.mention(&Up::Probed { tag, probe: channel.probe().await.map(Known::from) });
                    });
                }
                Down::Answered { id, answer } => transport.answered(id, answer, body),
                Down::Ping => writer.say(&Up::Pong)?,
                Down::Open { .. } | Down::Close => break,
            }
        }
        sends.close();
        // Whoever still waits for an answer of the parent's is cancelled with the channel.
        let _ = tokio::time::timeout(Duration::from_secs(2), sends.wait()).await;
        renders.shutdown(std::net::Shutdown::Both)?;
        // It has nothing to return, and a panic of its own has ended it as well.
        let _ = rendering.join();
        if let Some(channel) = Arc::into_inner(channel) {
            channel.close().await;
        }
        Ok(())
    }
}
