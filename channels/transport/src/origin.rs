//! Sends one request to one origin. Moves it to another connection if the peer has certainly not processed it, and repeats
//! nothing else.

use std::sync::Arc;

use pushgate::{Request, Response, TransportError};

use crate::http2::Connection;
use crate::pool::{Lease, Pool};

/// Maximum number of connections that one request is tried on.
const MAX_TRIES: u32 = 3;

/// Reason why an exchange produced no response.
pub(crate) enum ExchangeError {
    /// The peer has certainly not processed the request.
    Unsent(Unsent),
    /// The idle connection had been closed. Nothing was written.
    Stale,
    /// The peer may have processed the request.
    Broken(String),
    /// The request cannot be written as HTTP.
    Malformed(&'static str),
    /// The response exceeds its size limit.
    TooLong,
}

/// Reason why a request was returned unprocessed.
pub(crate) enum Unsent {
    /// GOAWAY, with the peer's reason.
    GoneAway(String),
    /// REFUSED_STREAM on this connection.
    Refused(Arc<Connection>),
    /// The connection ended before anything was written.
    Closed(String),
}

/// Sending of one request through the pool of its origin.
pub(crate) struct Sending<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) request: &'a Request,
    /// Error of the last connection that returned the request, while it waits for another.
    pub(crate) returned: Option<TransportError>,
}

impl Sending<'_> {
    /// Sends the request and reads the response. The deadline is the caller's.
    pub(crate) async fn run(&mut self) -> Result<Response, TransportError> {
        let mut tries = 0;
        let mut avoid = None;
        loop {
            let lease = match self.pool.acquire(avoid.take()).await {
                Ok(lease) => lease,
                Err(error) => return Err(self.returned.take().unwrap_or(error)),
            };
            self.returned = None;
            let answer = match lease {
                Lease::H2(slot) => slot.exchange(self.request).await,
                Lease::H1(turn) => Box::pin(turn.exchange(self.request)).await,
            };
            match answer {
                Ok(response) => return Ok(response),
                Err(ExchangeError::Stale) => {}
                Err(ExchangeError::Unsent(unsent)) => {
                    tries += 1;
                    let (error, refused_by) = self.transport_error(unsent);
                    tracing::debug!(host = self.pool.host(), %error, "request returned unprocessed");
                    if tries == MAX_TRIES {
                        return Err(error);
                    }
                    self.returned = Some(error);
                    avoid = refused_by;
                }
                Err(ExchangeError::Broken(why)) => {
                    return Err(TransportError::Broken { host: self.host(), why });
                }
                Err(ExchangeError::Malformed(why)) => {
                    return Err(TransportError::Refused { host: self.host(), why: why.to_owned() });
                }
                Err(ExchangeError::TooLong) => {
                    let limit = self.request.max_answer;
                    return Err(TransportError::AnswerTooLong { host: self.host(), limit });
                }
            }
        }
    }

    fn transport_error(&self, unsent: Unsent) -> (TransportError, Option<Arc<Connection>>) {
        let host = self.host();
        match unsent {
            Unsent::GoneAway(reason) => (TransportError::GoneAway { host, reason }, None),
            Unsent::Closed(why) => (TransportError::Unreachable { host, why }, None),
            Unsent::Refused(by) => {
                (TransportError::Unreachable { host, why: "it refuses streams".to_owned() }, Some(by))
            }
        }
    }

    fn host(&self) -> String {
        self.pool.host().to_owned()
    }
}
