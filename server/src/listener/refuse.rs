//! Refuses a connection when no slot is free.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Largest number of concurrent refusals. Each needs a descriptor for at most [`LINGER`]. Further connections are closed without
/// a response.
pub(super) const MAX_REFUSALS: usize = 64;
/// Time for a client to read the refusal. Closing the connection while its request arrives would lose the refusal.
const LINGER: Duration = Duration::from_secs(1);
/// Largest number of bytes of the request that are read and discarded meanwhile.
const MAX_READ: usize = 64 * 1024;

const BODY: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded","detail":"every connection of this server is in use; try again in a moment"}"#;

/// Writer of refusals, with a limit on concurrent ones.
pub(super) struct Refusals(Arc<Semaphore>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_REFUSALS)))
    }
}

impl Refusals {
    /// Answers with 503 and closes the connection, in a task of its own.
    pub(super) fn refuse(&self, stream: TcpStream, tasks: &TaskTracker) {
        let Ok(slot) = Arc::clone(&self.0).try_acquire_owned() else { return };
        tasks.spawn(async move {
            let _slot = slot;
            // A timeout or an I/O error concerns this client only.
            let _ = tokio::time::timeout(LINGER, answer(&stream)).await;
        });
    }
}

async fn answer(stream: &TcpStream) -> std::io::Result<()> {
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let (mut buffer, mut read) = ([0; 4096], 0);
    while read < MAX_READ {
        stream.readable().await?;
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
