//! HTTP/1.1, for peers that have nothing better: one request at a time on each connection, idle ones kept.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, HOST};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use pushgate::{Request, Response};

use crate::io::Io;
use crate::origin::{Failed, Unsent};
use crate::pool::Pool;

/// The longest head of an answer, in bytes.
const MOST_HEAD: usize = 16 * 1024;

/// A connection that waits for a request.
pub(crate) struct Handle {
    sender: SendRequest<Full<Bytes>>,
    used: bool,
}

/// A connection whose turn it is. It goes back to the pool when the answer has been read, and ends with anything else.
pub(crate) struct Turn {
    handle: Option<Handle>,
    pool: Arc<Pool>,
}

pub(crate) async fn open(io: Io) -> hyper::Result<Handle> {
    let (sender, driver) = Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(Handle { sender, used: false })
}

impl Turn {
    pub(crate) fn new(handle: Handle, pool: &Arc<Pool>) -> Self {
        Self { handle: Some(handle), pool: Arc::clone(pool) }
    }

    /// Sends the request and reads the whole answer. Dropped half-way, it closes the connection.
    pub(crate) async fn exchange(mut self, request: &Request) -> Result<Response, Failed> {
        let head = head(request)?;
        let Some(Handle { sender, used }) = &mut self.handle else { return Err(Failed::Stale) };
        let unsent = |used: bool, error: &hyper::Error| {
            if used { Failed::Stale } else { Failed::Unsent(Unsent::Closed(error.to_string())) }
        };
        sender.ready().await.map_err(|error| unsent(*used, &error))?;
        let answer = sender.send_request(head).await.map_err(|error| {
            // `canceled`: the connection had closed before a byte of it was written.
            if error.is_canceled() { unsent(*used, &error) } else { Failed::Broken(error.to_string()) }
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, request.max_answer).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Failed::TooLong } else { Failed::Broken(error.to_string()) }
        })?;
        *used = true;
        if let Some(handle) = self.handle.take() {
            self.pool.put_back(handle);
        }
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.handle.take().is_some() {
            self.pool.forget_http1();
        }
    }
}

fn head(request: &Request) -> Result<http::Request<Full<Bytes>>, Failed> {
    let mut head = http::Request::new(Full::new(request.body.clone()));
    *head.method_mut() = request.method.clone();
    *head.headers_mut() = request.headers.clone();
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    *head.uri_mut() = path.parse().map_err(|_| Failed::Malformed("the path is not one"))?;
    let authority = request.uri.authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::try_from(authority).map_err(|_| Failed::Malformed("the host is not one"))?;
    head.headers_mut().insert(HOST, host);
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    Ok(head)
}
