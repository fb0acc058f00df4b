//! Response of a Web Push service: status, headers, body.

use crate::wire::HttpResponse;

/// Response of a Web Push service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PushResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl PushResponse {
    /// Returns a response with a status only.
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::with_body(status, "application/json", &body.to_string())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::with_body(status, "text/plain; charset=utf-8", body)
    }

    pub(super) fn html(status: u16, body: &str) -> Self {
        Self::with_body(status, "text/html; charset=utf-8", body)
    }

    fn with_body(status: u16, content_type: &str, body: &str) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.to_owned() }
    }

    /// Adds a header, or replaces the one with this name.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(old, _)| *old != name);
        self.headers.push((name, value.into()));
        self
    }

    #[cfg(test)]
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

impl From<PushResponse> for HttpResponse {
    fn from(response: PushResponse) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body.into() }
    }
}
