//! HTTP/1.1 connections, for peers without HTTP/2: one request at a time, idle connections are kept.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, HOST};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use pushgate::{Request, Response};

use crate::io::Io;
use crate::origin::{ExchangeError, Unsent};
use crate::pool::Pool;

/// Maximum size of a response head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Idle connection.
pub(crate) struct Idle {
    sender: SendRequest<Full<Bytes>>,
    used: bool,
}

/// Exclusive use of a connection for one exchange. Returns it to the pool once the response has been read, and closes it
/// otherwise.
pub(crate) struct Exclusive {
    handle: Option<Idle>,
    pool: Arc<Pool>,
}

pub(crate) async fn open(io: Io) -> hyper::Result<Idle> {
    let (sender, driver) = Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(Idle { sender, used: false })
}

impl Exclusive {
    pub(crate) fn new(handle: Idle, pool: &Arc<Pool>) -> Self {
        Self { handle: Some(handle), pool: Arc::clone(pool) }
    }

    /// Sends the request and reads the whole response. Closes the connection if dropped before that.
    pub(crate) async fn exchange(mut self, request: &Request) -> Result<Response, ExchangeError> {
        let head = head(request)?;
        let Some(Idle { sender, used }) = &mut self.handle else { return Err(ExchangeError::Stale) };
        let unsent = |used: bool, error: &hyper::Error| {
            if used { ExchangeError::Stale } else { ExchangeError::Unsent(Unsent::Closed(error.to_string())) }
        };
        sender.ready().await.map_err(|error| unsent(*used, &error))?;
        let answer = sender.send_request(head).await.map_err(|error| {
            // `canceled`: the connection had closed before a byte of it was written.
            if error.is_canceled() { unsent(*used, &error) } else { ExchangeError::Broken(error.to_string()) }
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, request.max_answer).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                ExchangeError::TooLong
            } else {
                ExchangeError::Broken(error.to_string())
            }
        })?;
        *used = true;
        if let Some(handle) = self.handle.take() {
            self.pool.put_back(handle);
        }
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        if self.handle.take().is_some() {
            self.pool.forget_http1();
        }
    }
}

fn head(request: &Request) -> Result<http::Request<Full<Bytes>>, ExchangeError> {
    let mut head = http::Request::new(Full::new(request.body.clone()));
    *head.method_mut() = request.method.clone();
    *head.headers_mut() = request.headers.clone();
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    *head.uri_mut() = path.parse().map_err(|_| ExchangeError::Malformed("the path is not one"))?;
    let authority = request.uri.authority().map_or("", |authority| authority.as_str());
    let host =
        HeaderValue::try_from(authority).map_err(|_| ExchangeError::Malformed("the host is not one"))?;
    head.headers_mut().insert(HOST, host);
    head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    Ok(head)
}
