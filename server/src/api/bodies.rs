//! Bodies of requests: read within limits of size and time, and within one budget of bytes for all requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::problem::Problem;

/// Largest body of a request that needs no credentials, in bytes: a push id with a subscription has less than one.
const ANONYMOUS_BYTES: usize = 8 * 1024;
/// Time that the body of such a request may take.
const ANONYMOUS_TIME: Duration = Duration::from_secs(10);

/// Rest of a refused body that is read and thrown away. A client that is still sending would not see the refusal otherwise.
#[derive(Clone, Copy)]
struct Drain {
    bytes: usize,
    time: Duration,
}

/// For callers with credentials: as much as a body that was meant for another limit.
const DRAIN: Drain = Drain { bytes: 16 * 1024 * 1024, time: Duration::from_secs(5) };
/// For strangers: as much as their own machine has sent before it could see the refusal.
const ANONYMOUS_DRAIN: Drain = Drain { bytes: 512 * 1024, time: Duration::from_secs(1) };

/// Budget of bytes for the bodies of all requests.
pub struct BodyBudget {
    permits: Arc<Semaphore>,
    closing: CancellationToken,
}

/// A complete body.
pub(crate) struct Received {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Its share of the budget, free for others when dropped.
    pub(crate) share: Share,
}

/// Bytes of the budget that one request holds.
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
    /// A budget of `bytes`. Once `closing` is cancelled, a body that is not complete is refused.
    #[must_use]
    pub fn new(bytes: usize, closing: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(bytes)), closing }
    }

    /// Reads the body of a caller who was authenticated.
    pub(crate) async fn read(&self, body: Body, max: usize) -> Result<Received, Problem> {
        self.read_within(body, max, DRAIN).await
    }

    /// Reads the body of a caller who needs no credentials. `max` counts where it is below the limit for all such bodies.
    pub(crate) async fn read_anonymous(&self, body: Body, max: Option<usize>) -> Result<Received, Problem> {
        let max = max.unwrap_or(ANONYMOUS_BYTES).min(ANONYMOUS_BYTES);
        let read = self.read_within(body, max, ANONYMOUS_DRAIN);
        tokio::time::timeout(ANONYMOUS_TIME, read)
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
            && refusal.leaves_rest()
        {
            throw_away(body, drain).await;
        }
        read
    }

    async fn collect(&self, body: &mut Body, max: usize) -> Result<Received, Problem> {
        let (mut bytes, mut share) = (BytesMut::new(), Share::default());
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|_| Problem::new(400, "broken_body", "the body ended before its time"))?;
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
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).try_acquire_many_owned(wanted).map_err(|_| {
            metrics::counter!("pushgate_bodies_refused_total").increment(1);
            Problem::overloaded(
                "the bodies of other requests take all memory there is for them; try again in a moment",
            )
        })
    }
}

/// Reads on until the sender has finished, or the limits are reached.
async fn throw_away(mut body: Body, drain: Drain) {
    let end = Instant::now() + drain.time;
    let mut read = 0;
    while read <= drain.bytes {
        let Ok(Some(Ok(frame))) = tokio::time::timeout_at(end, body.frame()).await else { return };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
