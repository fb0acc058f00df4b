//! The parent's end of a running child: frames go out in order through one task, renders are asked on a socket of their own.
//! What waits in either direction, and what is asked of the gateway's client, is bounded in bytes.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pushgate::{Message, Rendered, Response, TransportError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::{self, Answer, Down, Up};
use super::render::{Renderer, estimated};

/// How long planning waits for a plugin that renders.
const RENDER: Duration = Duration::from_secs(1);
/// Bytes of frames from the child that wait to be read; beyond it the child has to wait.
const MAX_UNREAD: usize = frame::MAX_FRAME;
/// Bytes of frames that wait for the child; beyond it deliveries and answers wait.
const MAX_UNWRITTEN: usize = frame::MAX_FRAME;
/// Frames from the child that wait, however small.
const MAX_UNREAD_FRAMES: usize = 1024;
/// How many bytes are written at once, beyond the first frame.
const AT_ONCE: usize = 256 * 1024;

/// What is said to a child, and asked of it.
pub(crate) struct Link {
    frames: mpsc::UnboundedSender<Waiting>,
    /// One permit for each byte that may still wait for the child.
    room: Arc<Semaphore>,
    renderer: Renderer,
    /// How often the child has not rendered a message in time.
    unrendered: AtomicU64,
    /// Cancelled when the child is found to be stuck.
    pub(crate) stuck: CancellationToken,
}

/// A frame for the child, with the room it takes.
struct Waiting {
    frame: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

/// A frame from the child. It takes up room until it is dropped.
pub(crate) struct Frame {
    pub(crate) up: Up,
    pub(crate) body: bytes::Bytes,
    room: OwnedSemaphorePermit,
}

impl Frame {
    /// Returns head and body, and gives the room back.
    pub(crate) fn into_parts(self) -> (Up, bytes::Bytes) {
        drop(self.room);
        (self.up, self.body)
    }
}

/// What a child says.
pub(crate) type Heard = mpsc::Receiver<Frame>;

impl Link {
    /// Takes the sockets over. The tasks end with them, and with the runtime.
    pub(crate) fn new(frames: UnixStream, renders: UnixStream) -> std::io::Result<(Self, Heard)> {
        frames.set_read_timeout(None)?;
        frames.set_write_timeout(None)?;
        frames.set_nonblocking(true)?;
        let (reads, writes) = tokio::net::UnixStream::from_std(frames)?.into_split();
        let (sender, waiting) = mpsc::unbounded_channel();
        let (told, heard) = mpsc::channel(MAX_UNREAD_FRAMES);
        tokio::spawn(write(writes, waiting));
        tokio::spawn(async move {
            // Its end is the end of `heard`: that is how it is told.
            let _ = read(reads, told).await;
        });
        let stuck = CancellationToken::new();
        let link = Self {
            frames: sender,
            room: Arc::new(Semaphore::new(MAX_UNWRITTEN)),
            renderer: Renderer::start(renders, RENDER, stuck.clone())?,
            unrendered: AtomicU64::new(0),
            stuck,
        };
        Ok((link, heard))
    }

    /// Says something short. A child that is gone does not hear it; whoever waits for an answer is told by the supervisor.
    pub(crate) fn say(&self, what: &Down) {
        match frame::encoded(what, &[]) {
            Ok(frame) => self.pass(frame, None),
            Err(error) => tracing::error!(%error, "a frame for a plugin cannot be written"),
        }
    }

    /// Tells the child what came of a request, which takes up its place until there is room for the answer.
    pub(crate) async fn answer(
        &self,
        id: u64,
        result: Result<Response, TransportError>,
        place: OwnedSemaphorePermit,
    ) {
        let Some(frame) = answer_frame(id, result) else { return };
        let room = self.room_for(frame.len()).await;
        // Before the child can have read the answer: then it may begin another request, for which there must be room.
        drop(place);
        self.pass(frame, room);
    }

    /// Tells the child that a request was not sent. A child that begins requests and takes in no answers is stuck.
    pub(crate) fn answer_at_once(&self, id: u64, error: TransportError) {
        let Some(frame) = answer_frame(id, Err(error)) else { return };
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            Ok(room) => self.pass(frame, Some(room)),
            Err(_) => self.stuck.cancel(),
        }
    }

    /// Waits until so many bytes may wait for the child.
    pub(crate) async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(MAX_UNWRITTEN)).unwrap_or(u32::MAX);
        // It is never closed: who waits for a child that dies gets the room of the frames it left unread.
        Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()
    }

    /// Puts a frame behind the others, with the room it takes.
    pub(crate) fn pass(&self, frame: Vec<u8>, room: Option<OwnedSemaphorePermit>) {
        // As in `say`.
        let _ = self.frames.send(Waiting { frame, room });
    }

    /// Returns what would be sent for the message: as the child says, or an estimate where it does not say in time.
    pub(crate) fn render(&self, message: &Message, channel: &str) -> Rendered {
        self.renderer.render(message).unwrap_or_else(|| {
            let times = self.unrendered.fetch_add(1, Ordering::Relaxed) + 1;
            // The first, the second, the fourth …: a line that is never missing and never a flood.
            if times.is_power_of_two() {
                tracing::warn!(
                    channel,
                    times,
                    "the plugin did not render a message in time; its size is estimated"
                );
            }
            estimated(message)
        })
    }
}

fn answer_frame(id: u64, result: Result<Response, TransportError>) -> Option<Vec<u8>> {
    let (answer, body) = Answer::of(result);
    let frame = frame::encoded(&Down::Answered { id, answer }, &body);
    frame.inspect_err(|error| tracing::error!(%error, "an answer for a plugin cannot be written")).ok()
}

async fn write(mut socket: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(Waiting { frame: mut together, room }) = waiting.recv().await {
        let mut rooms = vec![room];
        while together.len() < AT_ONCE
            && let Ok(next) = waiting.try_recv()
        {
            together.extend_from_slice(&next.frame);
            rooms.push(next.room);
        }
        if socket.write_all(&together).await.is_err() {
            return;
        }
    }
}

async fn read(socket: OwnedReadHalf, told: mpsc::Sender<Frame>) -> std::io::Result<()> {
    let mut socket = tokio::io::BufReader::with_capacity(64 * 1024, socket);
    let unread = Arc::new(Semaphore::new(MAX_UNREAD));
    loop {
        let mut prefix = [0; 8];
        socket.read_exact(&mut prefix).await?;
        let (head, tail) = frame::lengths(prefix)?;
        let length = u32::try_from(head + tail).map_err(std::io::Error::other)?;
        // Waits before anything of it is read: that is what holds the child back.
        let room = Arc::clone(&unread).acquire_many_owned(length).await.map_err(std::io::Error::other)?;
        let up = frame::decoded(&read_exactly(&mut socket, head).await?)?;
        // Apart from the head: a request keeps its body for as long as it is under way.
        let body = read_exactly(&mut socket, tail).await?.into();
        if told.send(Frame { up, body, room }).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads so many bytes. Not much is allocated ahead: what is announced need not come.
async fn read_exactly(socket: &mut (impl AsyncRead + Unpin), length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(frame::MOST_AHEAD));
    socket.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// Links to the other end of two sockets; the renders' is given back unused.
    fn link() -> (Link, Heard, UnixStream, UnixStream) {
        let (frames, child) = UnixStream::pair().unwrap();
        let (renders, their_renders) = UnixStream::pair().unwrap();
        let (link, heard) = Link::new(frames, renders).unwrap();
        (link, heard, child, their_renders)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_child_says_beyond_the_limit_waits_in_its_own_process() {
        let (_link, heard, mut child, _renders) = link();
        let frame = frame::encoded(&Up::Pong, &vec![0; 8 * MIB]).unwrap();
        let enough = MAX_UNREAD + 16 * MIB;
        let writing = tokio::task::spawn_blocking(move || {
            child.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut written = 0;
            while written < enough && child.write_all(&frame).is_ok() {
                written += frame.len();
            }
            written
        });
        let written = writing.await.unwrap();
        assert!(written < enough, "nobody has read anything, and {written} bytes were taken in");
        drop(heard);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_child_does_not_take_in_holds_back_what_comes_next() {
        let (link, _heard, mut child, _renders) = link();
        let room = link.room_for(MAX_UNWRITTEN).await;
        link.pass(vec![0; MAX_UNWRITTEN], room);
        assert!(tokio::time::timeout(Duration::ZERO, link.room_for(1)).await.is_err());
        let reading = tokio::task::spawn_blocking(move || {
            let mut all = vec![0; MAX_UNWRITTEN];
            child.read_exact(&mut all).map(|()| child)
        });
        assert!(link.room_for(1).await.is_some());
        reading.await.unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_child_that_takes_in_no_answers_is_stuck() {
        let (link, _heard, _child, _renders) = link();
        let gone = || TransportError::Refused { host: String::new(), why: "no".to_owned() };
        link.answer_at_once(1, gone());
        assert!(!link.stuck.is_cancelled());
        let _room = link.room_for(MAX_UNWRITTEN - 4096).await;
        for id in 0..MIB as u64 {
            link.answer_at_once(id, gone());
            if link.stuck.is_cancelled() {
                return;
            }
        }
        panic!("a million answers were kept for a child that reads none");
    }
}
