//! The parent's end of a running child: frames go out in order through one task, renders are asked on a socket of their own.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use parking_lot::Mutex;
use pushgate::{Message, Rendered};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::frame::{self, Down, RenderedAs, Up};

/// How long planning waits for a plugin that renders. It does so on a thread that serves others too.
const RENDER: Duration = Duration::from_secs(1);
/// How many frames wait for being heard before the child has to wait.
const UNHEARD: usize = 1024;
/// How many frames are written at once.
const AT_ONCE: usize = 256;

/// What is said to a child, and asked of it.
pub(crate) struct Link {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    renders: Mutex<UnixStream>,
    /// Cancelled when the child is found to be stuck.
    pub(crate) stuck: CancellationToken,
}

/// What a child says, with the body that came with it.
pub(crate) type Heard = mpsc::Receiver<(Up, bytes::Bytes)>;

impl Link {
    /// Takes the sockets over. The tasks end with them, and with the runtime.
    pub(crate) fn new(frames: UnixStream, renders: UnixStream) -> std::io::Result<(Self, Heard)> {
        frames.set_read_timeout(None)?;
        frames.set_nonblocking(true)?;
        renders.set_read_timeout(Some(RENDER))?;
        renders.set_write_timeout(Some(RENDER))?;
        let (reads, writes) = tokio::net::UnixStream::from_std(frames)?.into_split();
        let (sender, waiting) = mpsc::unbounded_channel();
        let (told, heard) = mpsc::channel(UNHEARD);
        tokio::spawn(write(writes, waiting));
        tokio::spawn(async move {
            // Its end is the end of `heard`: that is how it is told.
            let _ = read(reads, told).await;
        });
        Ok((Self { frames: sender, renders: Mutex::new(renders), stuck: CancellationToken::new() }, heard))
    }

    /// Says something. A child that is gone does not hear it; whoever waits for an answer is told by the supervisor.
    pub(crate) fn say(&self, what: &Down) {
        self.say_with(what, &[]);
    }

    pub(crate) fn say_with(&self, what: &Down, tail: &[u8]) {
        match frame::encoded(what, tail) {
            Ok(frame) => self.pass(frame),
            Err(error) => tracing::error!(%error, "a frame for a plugin cannot be written"),
        }
    }

    pub(crate) fn pass(&self, frame: Vec<u8>) {
        // As above.
        let _ = self.frames.send(frame);
    }

    /// What would be sent for the message; none when the child does not answer, and then it is stuck.
    pub(crate) fn render(&self, message: &Message) -> Option<Rendered> {
        if self.stuck.is_cancelled() {
            return None;
        }
        let mut renders = self.renders.lock();
        let rendered = frame::encoded(message, &[])
            .and_then(|ask| renders.write_all(&ask))
            .and_then(|()| frame::read::<RenderedAs>(&mut *renders));
        match rendered {
            Ok((rendered, _)) => Some(rendered.into()),
            Err(_) => {
                self.stuck.cancel();
                None
            }
        }
    }
}

async fn write(mut socket: OwnedWriteHalf, mut waiting: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut frames = Vec::new();
    while waiting.recv_many(&mut frames, AT_ONCE).await > 0 {
        let together = frames.concat();
        frames.clear();
        if socket.write_all(&together).await.is_err() {
            return;
        }
    }
}

async fn read(socket: OwnedReadHalf, told: mpsc::Sender<(Up, bytes::Bytes)>) -> std::io::Result<()> {
    let mut socket = tokio::io::BufReader::with_capacity(64 * 1024, socket);
    loop {
        let mut prefix = [0; 8];
        socket.read_exact(&mut prefix).await?;
        let (head, tail) = frame::lengths(prefix)?;
        let mut bytes = Vec::with_capacity((head + tail).min(frame::MOST_AHEAD));
        (&mut socket).take((head + tail) as u64).read_to_end(&mut bytes).await?;
        if bytes.len() < head + tail {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let up = frame::decoded(&bytes[..head])?;
        if told.send((up, bytes::Bytes::from(bytes).slice(head..))).await.is_err() {
            return Ok(());
        }
    }
}
