//! One request to one origin: on which connection, and what to do when a connection gives it back. Repeats only what the
//! peer has certainly not looked at.

use std::sync::Arc;

use pushgate::{Request, Response, TransportError};

use crate::http2::Connection;
use crate::pool::{Pool, Way};

/// How often one request is put on a connection at most.
const TRIES: u32 = 3;

/// Why an exchange gave no answer.
pub(crate) enum Failed {
    /// The peer certainly did not look at it.
    Unsent(Unsent),
    /// The connection had been closed while nobody used it; nothing was written.
    Stale,
    /// The peer may have acted on it.
    Broken(String),
    /// It cannot be written as HTTP.
    Malformed(&'static str),
    /// The answer is longer than allowed.
    TooLong,
}

/// How a request came back.
pub(crate) enum Unsent {
    /// By GOAWAY, with the peer's reason.
    GoneAway(String),
    /// By REFUSED_STREAM, on this connection.
    Refused(Arc<Connection>),
    /// The connection ended before anything was written.
    Closed(String),
}

/// A request's way through the pool of its origin.
pub(crate) struct Sending<'a> {
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) request: &'a Request,
    /// Why it is not on any connection at present, if one has given it back.
    pub(crate) given_back: Option<TransportError>,
}

impl Sending<'_> {
    /// Sends it and reads the answer. The caller keeps the deadline.
    pub(crate) async fn run(&mut self) -> Result<Response, TransportError> {
        let mut tries = 0;
        let mut avoid = None;
        loop {
            let way = match self.pool.way(avoid.take()).await {
                Ok(way) => way,
                Err(error) => return Err(self.given_back.take().unwrap_or(error)),
            };
            self.given_back = None;
            let answer = match way {
                Way::H2(slot) => slot.exchange(self.request).await,
                Way::H1(turn) => Box::pin(turn.exchange(self.request)).await,
            };
            match answer {
                Ok(response) => return Ok(response),
                Err(Failed::Stale) => {}
                Err(Failed::Unsent(how)) => {
                    tries += 1;
                    let (error, refused_by) = self.told(how);
                    tracing::debug!(host = self.pool.host(), %error, "request given back");
                    if tries == TRIES {
                        return Err(error);
                    }
                    self.given_back = Some(error);
                    avoid = refused_by;
                }
                Err(Failed::Broken(why)) => return Err(TransportError::Broken { host: self.host(), why }),
                Err(Failed::Malformed(why)) => {
                    return Err(TransportError::Refused { host: self.host(), why: why.to_owned() });
                }
                Err(Failed::TooLong) => {
                    let limit = self.request.max_answer;
                    return Err(TransportError::AnswerTooLong { host: self.host(), limit });
                }
            }
        }
    }

    fn told(&self, how: Unsent) -> (TransportError, Option<Arc<Connection>>) {
        let host = self.host();
        match how {
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
