//! Reads request bodies within limits of size and time, and within one memory budget for all requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Largest body of a request without credentials, in bytes. A push id with a subscription has less than a kilobyte.
const MAX_ANONYMOUS_BYTES: usize = 8 * 1024;
/// Timeout for reading the body of a request without credentials.
const ANONYMOUS_TIMEOUT: Duration = Duration::from_secs(10);

/// Limits for reading and discarding the rest of a refused body. A client that is still sending would otherwise not see the refusal.
#[derive(Clone, Copy)]
struct Drain {
    bytes: usize,
    time: Duration,
}

/// Limits for callers with credentials, whose body may just exceed a configured limit.
const DRAIN: Drain = Drain { bytes: 16 * 1024 * 1024, time: Duration::from_secs(5) };
/// Limits for callers without credentials: about the data that is in flight before they can see the refusal.
const ANONYMOUS_DRAIN: Drain = Drain { bytes: 512 * 1024, time: Duration::from_secs(1) };

/// Memory budget for the bodies of all requests, in bytes.
pub struct BodyBudget {
    permits: Arc<Semaphore>,
    closing: CancellationToken,
}

/// Complete body of a request.
pub(crate) struct Received {
    /// Content of the body.
    pub(crate) bytes: Bytes,
    /// Share of the budget. Dropping it frees the bytes for other requests.
    pub(crate) share: Share,
}

/// Part of the budget that one request holds.
#[derive(Default)]
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl Share {
    fn add(&mut self, permit: OwnedSemaphorePermit) {
        metrics::gauge!("pushgate_body_bytes_in_flight").increment(permit.num_permits() as f64);
        match &mut self.0 {
            Some(all) => all.merge(permit),
            None => self.0 = Some(permit),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let bytes = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        metrics::gauge!("pushgate_body_bytes_in_flight").decrement(bytes as f64);
    }
}

impl BodyBudget {
    /// Returns a budget of `bytes`. Once `closing` is cancelled, incomplete bodies are refused with 503.
    #[must_use]
    pub fn new(bytes: usize, closing: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(bytes)), closing }
    }

    /// Reads the body of an authenticated caller, at most `max` bytes.
    pub(crate) async fn read(&self, body: Body, max: usize) -> Result<Received, Problem> {
        self.read_within(body, max, DRAIN).await
    }

    /// Reads the body of a caller without credentials, at most `max` bytes and at most the limit for all such bodies.
    pub(crate) async fn read_anonymous(&self, body: Body, max: Option<usize>) -> Result<Received, Problem> {
        let max = max.unwrap_or(MAX_ANONYMOUS_BYTES).min(MAX_ANONYMOUS_BYTES);
        let read = self.read_within(body, max, ANONYMOUS_DRAIN);
        tokio::time::timeout(ANONYMOUS_TIMEOUT, read)
            .await
            .unwrap_or_else(|_| Err(Problem::new(408, "timeout", "the body took too long")))
    }

    async fn read_within(&self, mut body: Body, max: usize, drain: Drain) -> Result<Received, Problem> {
        let read = tokio::select! {
            biased;
            () = self.closing.cancelled() => return Err(Problem::shutting_down()),
            read = self.collect(&mut body, max) => read,
        };
        if let Err(refusal) = &read
            && refusal.has_unread_body()
        {
            discard_rest(body, drain).await;
        }
        read
    }

    async fn collect(&self, body: &mut Body, max: usize) -> Result<Received, Problem> {
        let (mut bytes, mut share) = (BytesMut::new(), Share::default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(400, "broken_body", "the body ended early"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > max {
                return Err(Problem::new(413, "body_too_large", format!("at most {max} bytes")));
            }
            share.add(self.permits_for(data.len())?);
            bytes.extend_from_slice(&data);
        }
        Ok(Received { bytes: bytes.freeze(), share })
    }

    fn permits_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).try_acquire_many_owned(permits).map_err(|_| {
            metrics::counter!("pushgate_bodies_refused_total").increment(1);
            Problem::overloaded("the memory for request bodies is in use; try again in a moment")
        })
    }
}

/// Reads and discards the rest of a body until the sender has finished, or the limits are reached.
async fn discard_rest(mut body: Body, drain: Drain) {
    let end = Instant::now() + drain.time;
    let mut read = 0;
    while read <= drain.bytes {
        let Ok(Some(Ok(frame))) = tokio::time::timeout_at(end, body.frame()).await else { return };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
