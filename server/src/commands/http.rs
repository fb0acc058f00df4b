//! HTTP client for the commands that call a gateway.

use std::time::Duration;

use http::{HeaderValue, Method, Uri};
use pushgate::{Request, Transport};
use pushgate_transport::HttpTransport;
use serde_json::Value;

/// Client of one gateway with one server key.
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

    /// Calls the API and returns the JSON of a 2xx response. A `null` body is not sent.
    ///
    /// # Errors
    /// Failed connections, and the status, code and detail of any other response.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let uri: Uri = format!("{}{path}", self.base).parse()?;
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = Request::post(uri, text, Duration::from_secs(60));
        request.method = method;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", self.key))?;
        authorization.set_sensitive(true);
        request.headers.insert(http::header::AUTHORIZATION, authorization);
        request.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.transport.send(request).await?;
        let response_body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        if response.status.is_success() {
            return Ok(response_body);
        }
        let code = response_body["code"].as_str().unwrap_or("no code");
        let detail = response_body["detail"]
            .as_str()
            .unwrap_or("the response is not a pushgate problem; check the URL");
        Err(format!("{} {code}: {detail}", response.status).into())
    }
}
