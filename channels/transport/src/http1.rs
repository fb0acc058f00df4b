//! HTTP/1.1, for peers that have nothing better: one request at a time on each connection, idle ones kept.

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use pushgate::{Request, Response, TransportError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dial::Io;
use crate::h2c::Failed;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, HOST};
use std::sync::Arc;

/// A connection whose turn it is, and its place among those that may be open.
pub(crate) struct Sender {
    handle: SendRequest<Full<Bytes>>,
    _place: OwnedSemaphorePermit,
}

/// Connections waiting for a request.
pub(crate) struct Idle {
    waiting: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    places: Arc<Semaphore>,
}

impl Idle {
    pub(crate) fn new(most: usize) -> Self {
        Self { waiting: Mutex::new(Vec::new()), places: Arc::new(Semaphore::new(most)) }
    }

    /// An idle connection that still lives.
    pub(crate) async fn reuse(&self) -> Option<Sender> {
        loop {
            let mut handle = self.waiting.lock().pop()?;
            let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
            if handle.ready().await.is_ok() {
                return Some(Sender { handle, _place: place });
            }
        }
    }

    pub(crate) async fn open(&self, io: Io, host: &str) -> Result<Sender, TransportError> {
        let unreachable = |why: String| TransportError::Unreachable { host: host.to_owned(), why };
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|e| unreachable(e.to_string()))?;
        let (handle, driver) = handshake(TokioIo::new(io)).await.map_err(|e| unreachable(e.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Sender { handle, _place: place })
    }

    pub(crate) async fn exchange(&self, mut sender: Sender, request: &Request) -> Result<Response, Failed> {
        let mut head = http::Request::new(Full::new(request.body.clone()));
        *head.method_mut() = request.method.clone();
        *head.headers_mut() = request.headers.clone();
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        *head.uri_mut() = path.parse().map_err(|_| Failed::Broken("the path is not one".to_owned()))?;
        let authority = request.uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::try_from(authority).map_err(|e| Failed::Broken(e.to_string()))?;
        head.headers_mut().insert(HOST, host);
        head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
        let answer = sender.handle.send_request(head).await.map_err(|error| {
            // `canceled`: the connection had closed before a byte of it was written.
            let failed = if error.is_canceled() { Failed::Unsent } else { Failed::Broken };
            failed(error.to_string())
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, request.max_answer).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Failed::TooLong
            } else {
                Failed::Broken(error.to_string())
            }
        })?;
        self.waiting.lock().push(sender.handle);
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}
