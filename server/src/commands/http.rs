//! A few words of HTTP for the commands that talk to a gateway.

use std::time::Duration;

use http::{HeaderValue, Method, Uri};
use pushgate::{Request, Transport};
use pushgate_transport::HttpTransport;
use serde_json::Value;

/// Talks to one gateway with one key.
pub(super) struct Client {
    transport: HttpTransport,
    base: String,
    key: String,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    pub(super) fn new(base: &str, key: &str) -> Result<Self, Failure> {
        let transport = HttpTransport::builder().build()?;
        Ok(Self { transport, base: base.trim_end_matches('/').to_owned(), key: key.to_owned() })
    }

    /// The answer of a 2xx; else the gateway's own words. A body of `null` is none.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let uri: Uri = format!("{}{path}", self.base).parse()?;
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = Request::post(uri, text, Duration::from_secs(60));
        request.method = method;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.key))?;
        bearer.set_sensitive(true);
        request.headers.insert(http::header::AUTHORIZATION, bearer);
        request.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.transport.send(request).await?;
        let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        if response.status.is_success() {
            return Ok(answer);
        }
        let code = answer["code"].as_str().unwrap_or("no code");
        let detail = answer["detail"].as_str().unwrap_or("is this a pushgate?");
        Err(format!("{} {code}: {detail}", response.status).into())
    }
}
