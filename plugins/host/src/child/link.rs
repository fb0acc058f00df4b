//! Parent's side of the connection to a running child. One task writes the frames in order, and rendering has its own
//! socket. Waiting frames are limited in bytes in both directions.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pushgate::{Message, Rendered, Response, TransportError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::{self, ToChild, ToParent, WireResult};
use super::render::{Renderer, estimated};

/// Maximum time that planning waits for the rendering of one message.
const RENDER_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum total length of frames from the child that wait to be handled, in bytes. Beyond it the child waits.
const MAX_UNREAD: usize = frame::MAX_FRAME;
/// Maximum total length of frames that wait for the child, in bytes. Beyond it deliveries and HTTP results wait.
const MAX_UNWRITTEN: usize = frame::MAX_FRAME;
/// Maximum number of frames from the child that wait to be handled.
const MAX_UNREAD_FRAMES: usize = 1024;
/// Number of bytes after which no further frame is added to one write.
const MAX_WRITE: usize = 256 * 1024;

/// Connection to a running child.
pub(crate) struct Link {
    frames: mpsc::UnboundedSender<QueuedFrame>,
    /// One permit for each byte of [`MAX_UNWRITTEN`] that is free.
    unwritten: Arc<Semaphore>,
    renderer: Renderer,
    /// Number of messages that the child did not render in time.
    unrendered: AtomicU64,
    /// Cancelled when the child does not read its frames or does not render in time.
    pub(crate) stuck: CancellationToken,
}

/// Frame for the child and its share of [`MAX_UNWRITTEN`]. A short frame may have none.
struct QueuedFrame {
    frame: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

/// Frame from the child. Holds its share of [`MAX_UNREAD`] until it is dropped.
pub(crate) struct Frame {
    pub(crate) head: ToParent,
    pub(crate) body: bytes::Bytes,
    permit: OwnedSemaphorePermit,
}

impl Frame {
    /// Releases the permit and returns the head and the body.
    pub(crate) fn into_parts(self) -> (ToParent, bytes::Bytes) {
        drop(self.permit);
        (self.head, self.body)
    }
}

/// Frames from a child. Ends when the child closes the connection or sends an invalid frame.
pub(crate) type Incoming = mpsc::Receiver<Frame>;

impl Link {
    /// Starts the tasks that read and write the sockets. They end when the sockets close.
    pub(crate) fn new(frames: UnixStream, renders: UnixStream) -> std::io::Result<(Self, Incoming)> {
        frames.set_read_timeout(None)?;
        frames.set_write_timeout(None)?;
        frames.set_nonblocking(true)?;
        let (reads, writes) = tokio::net::UnixStream::from_std(frames)?.into_split();
        let (queue, queued) = mpsc::unbounded_channel();
        let (sender, incoming) = mpsc::channel(MAX_UNREAD_FRAMES);
        tokio::spawn(write(writes, queued));
        tokio::spawn(async move {
            // The receiver notices an error by the end of `incoming`.
            let _ = read(reads, sender).await;
        });
        let stuck = CancellationToken::new();
        let link = Self {
            frames: queue,
            unwritten: Arc::new(Semaphore::new(MAX_UNWRITTEN)),
            renderer: Renderer::start(renders, RENDER_TIMEOUT, stuck.clone())?,
            unrendered: AtomicU64::new(0),
            stuck,
        };
        Ok((link, incoming))
    }

    /// Sends a short frame. If the child is dead, nothing happens: the supervisor fails the pending calls.
    pub(crate) fn send(&self, head: &ToChild) {
        match frame::encoded(head, &[]) {
            Ok(frame) => self.enqueue(frame, None),
            Err(error) => tracing::error!(%error, "a frame for a plugin cannot be written"),
        }
    }

    /// Sends the result of an HTTP request, once the queue has room for it. Holds the request's permit until then.
    pub(crate) async fn send_result(
        &self,
        id: u64,
        result: Result<Response, TransportError>,
        request_permit: OwnedSemaphorePermit,
    ) {
        let Some(frame) = result_frame(id, result) else { return };
        let permit = self.reserve(frame.len()).await;
        // Released before the child can read the result: it may then start another request, which needs the permit.
        drop(request_permit);
        self.enqueue(frame, permit);
    }

    /// Tells the child that a request was not sent. When the queue is full, marks the child as stuck: it starts requests
    /// but does not read results.
    pub(crate) fn refuse(&self, id: u64, error: TransportError) {
        let Some(frame) = result_frame(id, Err(error)) else { return };
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        match Arc::clone(&self.unwritten).try_acquire_many_owned(bytes) {
            Ok(permit) => self.enqueue(frame, Some(permit)),
            Err(_) => self.stuck.cancel(),
        }
    }

    /// Waits until a frame of so many bytes fits into the queue. Returns its permit.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(MAX_UNWRITTEN)).unwrap_or(u32::MAX);
        // Never fails, because the semaphore is never closed. When the child dies, its unread frames release their permits.
        Arc::clone(&self.unwritten).acquire_many_owned(bytes).await.ok()
    }

    /// Appends a frame to the queue. The permit is released when the frame is written.
    pub(crate) fn enqueue(&self, frame: Vec<u8>, permit: Option<OwnedSemaphorePermit>) {
        // An error means that the child is dead, as in `send`.
        let _ = self.frames.send(QueuedFrame { frame, permit });
    }

    /// Returns the message as the child renders it. Returns an estimate if the child does not reply in time.
    pub(crate) fn render(&self, message: &Message, channel: &str) -> Rendered {
        self.renderer.render(message).unwrap_or_else(|| {
            let times = self.unrendered.fetch_add(1, Ordering::Relaxed) + 1;
            // Logged at counts 1, 2, 4, 8 …: the first is never missing and many do not flood the log.
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

fn result_frame(id: u64, result: Result<Response, TransportError>) -> Option<Vec<u8>> {
    let (result, body) = WireResult::from_result(result);
    let frame = frame::encoded(&ToChild::HttpResult { id, result }, &body);
    frame.inspect_err(|error| tracing::error!(%error, "an HTTP result for a plugin cannot be written")).ok()
}

async fn write(mut socket: OwnedWriteHalf, mut queued: mpsc::UnboundedReceiver<QueuedFrame>) {
    while let Some(QueuedFrame { frame: mut batch, permit }) = queued.recv().await {
        let mut permits = vec![permit];
        while batch.len() < MAX_WRITE
            && let Ok(next) = queued.try_recv()
        {
            batch.extend_from_slice(&next.frame);
            permits.push(next.permit);
        }
        if socket.write_all(&batch).await.is_err() {
            return;
        }
    }
}

async fn read(socket: OwnedReadHalf, sender: mpsc::Sender<Frame>) -> std::io::Result<()> {
    let mut socket = tokio::io::BufReader::with_capacity(64 * 1024, socket);
    let unread = Arc::new(Semaphore::new(MAX_UNREAD));
    loop {
        let mut prefix = [0; 8];
        socket.read_exact(&mut prefix).await?;
        let (head_length, tail_length) = frame::parse_prefix(prefix)?;
        let length = u32::try_from(head_length + tail_length).map_err(std::io::Error::other)?;
        // Waits before it reads the frame, so that the socket's buffer fills and the child has to wait.
        let permit = Arc::clone(&unread).acquire_many_owned(length).await.map_err(std::io::Error::other)?;
        let head = frame::decoded(&read_exactly(&mut socket, head_length).await?)?;
        // Allocated separately from the head, because a running request keeps its body.
        let body = read_exactly(&mut socket, tail_length).await?.into();
        if sender.send(Frame { head, body, permit }).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads so many bytes. The announced length is not trusted for the allocation, because the bytes may never arrive.
async fn read_exactly(socket: &mut (impl AsyncRead + Unpin), length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(frame::MAX_PREALLOCATED));
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

    /// Link and the child's ends of its sockets.
    struct Connected {
        link: Link,
        incoming: Incoming,
        child_frames: UnixStream,
        /// Unused, but must stay open.
        _child_renders: UnixStream,
    }

    fn connected() -> Connected {
        let (frames, child_frames) = UnixStream::pair().unwrap();
        let (renders, child_renders) = UnixStream::pair().unwrap();
        let (link, incoming) = Link::new(frames, renders).unwrap();
        Connected { link, incoming, child_frames, _child_renders: child_renders }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn frames_of_a_child_beyond_the_limit_wait_in_its_own_process() {
        let Connected { link: _link, incoming, child_frames: mut child, _child_renders } = connected();
        let frame = frame::encoded(&ToParent::Pong, &vec![0; 8 * MIB]).unwrap();
        let limit = MAX_UNREAD + 16 * MIB;
        let writing = tokio::task::spawn_blocking(move || {
            child.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let mut written = 0;
            while written < limit && child.write_all(&frame).is_ok() {
                written += frame.len();
            }
            written
        });
        let written = writing.await.unwrap();
        assert!(written < limit, "{written} bytes were accepted although no frame was handled");
        drop(incoming);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn frames_that_a_child_does_not_read_hold_back_further_ones() {
        let Connected { link, incoming: _incoming, child_frames: mut child, _child_renders } = connected();
        let permit = link.reserve(MAX_UNWRITTEN).await;
        link.enqueue(vec![0; MAX_UNWRITTEN], permit);
        assert!(tokio::time::timeout(Duration::ZERO, link.reserve(1)).await.is_err());
        let reading = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; MAX_UNWRITTEN];
            child.read_exact(&mut buffer).map(|()| child)
        });
        assert!(link.reserve(1).await.is_some());
        reading.await.unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_child_that_does_not_read_results_is_stuck() {
        let Connected { link, incoming: _incoming, child_frames: _child_frames, _child_renders } =
            connected();
        let refusal = || TransportError::Refused { host: String::new(), why: "no".to_owned() };
        link.refuse(1, refusal());
        assert!(!link.stuck.is_cancelled());
        let _permit = link.reserve(MAX_UNWRITTEN - 4096).await;
        for id in 0..MIB as u64 {
            link.refuse(id, refusal());
            if link.stuck.is_cancelled() {
                return;
            }
        }
        panic!("a million results are queued for a child that reads none");
    }
}
