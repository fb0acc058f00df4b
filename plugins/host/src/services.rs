//! HTTP requests and timers for plugins. Each accepted request or timer calls its callback exactly once, even when the
//! channel closes.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pushgate::{Request, Response, Transport, TransportError};
use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::context::StartError;
use crate::http_request::{self, RawRequest};
use crate::table::{PluginState, run_guarded};
use crate::telemetry::Misuse;

/// Maximum delay of a timer, in milliseconds: 24 hours.
const MAX_TIMER_MS: u64 = 24 * 3600 * 1000;
/// Memory reserved for the headers of a request, in bytes.
const TYPICAL_HEADER_BYTES: usize = 512;

/// Pointer of the plugin that is passed back to its callback. The host never reads it.
struct UserData(*mut c_void);

// SAFETY: the contract allows use of the pointer from any thread, by one thread at a time.
unsafe impl Send for UserData {}

/// Callback of the plugin that runs exactly once: by [`Callback::call`], or with `on_drop` when this is dropped.
struct Callback<F: FnMut(&UserData)> {
    user: UserData,
    on_drop: F,
    is_called: bool,
}

impl<F: FnMut(&UserData)> Callback<F> {
    const fn new(user: UserData, on_drop: F) -> Self {
        Self { user, on_drop, is_called: false }
    }

    fn call(mut self, run: impl FnOnce(&UserData)) {
        self.is_called = true;
        run(&self.user);
    }
}

impl<F: FnMut(&UserData)> Drop for Callback<F> {
    fn drop(&mut self) {
        if !self.is_called {
            (self.on_drop)(&self.user);
        }
    }
}

pub(crate) unsafe extern "C" fn http_request(
    host: *const abi::Host,
    channel: abi::Channel,
    request: *const abi::HttpRequest,
    done: Option<abi::HttpDone>,
    user: *mut c_void,
) -> i32 {
    let run = |shared: &'static PluginState| {
        let Some(context) = shared.find_channel(channel) else { return abi::CLOSED };
        // SAFETY: the contract demands null or a valid request for the duration of the call.
        let request =
            unsafe { request.as_ref() }.and_then(|raw| unsafe { read_request(raw, context.timeout) });
        let (Some(request), Some(done)) = (request, done) else {
            shared.record_misuse(Misuse::BadArgument);
            return abi::REFUSED;
        };
        let user = UserData(user);
        start_code(context.start(|| {
            let callback = Callback::new(user, move |user: &UserData| report_cancelled(done, user));
            fetch(Arc::clone(&context.transport), request, done, callback)
        }))
    };
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, abi::REFUSED, run) }
}

pub(crate) unsafe extern "C" fn timer(
    host: *const abi::Host,
    channel: abi::Channel,
    after_ms: u64,
    done: Option<abi::TimerDone>,
    user: *mut c_void,
) -> i32 {
    let run = |shared: &'static PluginState| {
        let Some(context) = shared.find_channel(channel) else { return abi::CLOSED };
        let Some(done) = done.filter(|_| after_ms <= MAX_TIMER_MS) else {
            shared.record_misuse(Misuse::BadArgument);
            return abi::REFUSED;
        };
        // SAFETY: `done` and `user` belong to the plugin, which is never unloaded.
        let run_done = move |user: &UserData, cancelled| unsafe { done(user.0, cancelled) };
        let user = UserData(user);
        start_code(context.start(|| {
            let callback = Callback::new(user, move |user: &UserData| run_done(user, 1));
            async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                callback.call(|user| run_done(user, 0));
            }
        }))
    };
    // SAFETY: the contract demands the table that the plugin has received.
    unsafe { run_guarded(host, abi::REFUSED, run) }
}

const fn start_code(result: Result<(), StartError>) -> i32 {
    match result {
        Ok(()) => abi::OK,
        Err(StartError::Closed) => abi::CLOSED,
        Err(StartError::Busy) => abi::BUSY,
    }
}

/// Sends the request and passes the response or the error to the plugin.
async fn fetch<F: FnMut(&UserData)>(
    transport: Arc<dyn Transport>,
    request: Request,
    done: abi::HttpDone,
    callback: Callback<F>,
) {
    let result = transport.send(request).await;
    callback.call(|user| match &result {
        Ok(response) => report_response(done, user, response),
        Err(error) => report_error(done, user, error),
    });
}

const NO_RESPONSE: abi::HttpResponse = abi::HttpResponse {
    struct_size: size_of::<abi::HttpResponse>(),
    error: abi::HTTP_CANCELLED,
    status: 0,
    headers: std::ptr::null(),
    header_count: 0,
    body: Str::NONE,
    detail: Str::NONE,
};

fn report(done: abi::HttpDone, user: &UserData, response: &abi::HttpResponse) {
    // SAFETY: `done` and `user` belong to the plugin, which is never unloaded; the response outlives the call.
    unsafe { done(user.0, response) }
}

fn report_cancelled(done: abi::HttpDone, user: &UserData) {
    let detail = Str::new("the channel is being closed");
    report(done, user, &abi::HttpResponse { detail, ..NO_RESPONSE });
}

fn report_error(done: abi::HttpDone, user: &UserData, error: &TransportError) {
    let detail = error.to_string();
    let error = match error {
        TransportError::Unreachable { .. } => abi::HTTP_UNREACHABLE,
        TransportError::Refused { .. } => abi::HTTP_REFUSED,
        TransportError::Timeout { .. } => abi::HTTP_TIMEOUT,
        TransportError::Broken { .. } => abi::HTTP_BROKEN,
        TransportError::GoneAway { .. } => abi::HTTP_GONE_AWAY,
        TransportError::AnswerTooLong { .. } => abi::HTTP_TOO_LONG,
    };
    report(done, user, &abi::HttpResponse { error, detail: Str::new(&detail), ..NO_RESPONSE });
}

fn report_response(done: abi::HttpDone, user: &UserData, response: &Response) {
    // The interface demands UTF-8, so invalid bytes of a header are replaced.
    let values: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let headers: Vec<_> = values
        .iter()
        .map(|(name, value)| abi::Header { name: Str::new(name.as_str()), value: Str::new(value) })
        .collect();
    let raw = abi::HttpResponse {
        error: abi::HTTP_OK,
        status: response.status.as_u16().into(),
        headers: headers.as_ptr(),
        header_count: headers.len(),
        body: Str::from_bytes(&response.body),
        ..NO_RESPONSE
    };
    report(done, user, &raw);
}

/// Copies and validates a request. `None` means that it is invalid.
///
/// # Safety
/// The pointers in the request are as the contract demands.
unsafe fn read_request(raw: &abi::HttpRequest, timeout: Duration) -> Option<Request> {
    if raw.struct_size < size_of::<abi::HttpRequest>() || raw.header_count > http_request::MAX_HEADERS {
        return None;
    }
    let is_array_missing = raw.headers.is_null() && raw.header_count > 0;
    if is_array_missing || raw.url.len > http_request::MAX_URL || raw.body.len > http_request::MAX_BODY {
        return None;
    }
    // One allocation, which the parts of the request share.
    let mut copy = Vec::with_capacity(raw.url.len + raw.body.len + TYPICAL_HEADER_BYTES);
    let mut append = |bytes: &[u8]| {
        let start = copy.len();
        copy.extend_from_slice(bytes);
        start..copy.len()
    };
    // SAFETY: the caller guarantees that the texts are valid for the call.
    let (method, url, body) = unsafe {
        let (url, body) = (raw.url.bytes(http_request::MAX_URL)?, raw.body.bytes(http_request::MAX_BODY));
        (raw.method.bytes(http_request::MAX_METHOD), append(url), append(body.unwrap_or_default()))
    };
    let mut headers = Vec::with_capacity(raw.header_count);
    for i in 0..raw.header_count {
        // SAFETY: the caller guarantees `header_count` headers, whose texts are valid for the call.
        let (name, value) = unsafe {
            let header = *raw.headers.add(i);
            (
                header.name.bytes(http_request::MAX_HEADER + 1)?,
                header.value.bytes(http_request::MAX_HEADER + 1),
            )
        };
        headers.push((name, append(value.unwrap_or_default())));
    }
    let copy = Bytes::from(copy);
    let timeout = if raw.timeout_ms == 0 { timeout } else { Duration::from_millis(raw.timeout_ms) };
    let request = RawRequest {
        method: method.unwrap_or(b"POST"),
        url: copy.slice(url),
        body: copy.slice(body),
        timeout,
        max_answer: raw.max_answer,
    };
    request.validate(headers.into_iter().map(|(name, value)| (name, copy.slice(value))))
}
