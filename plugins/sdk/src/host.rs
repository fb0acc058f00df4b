//! Functions of the gateway for a channel. Every asynchronous one ends, at the latest when the channel closes.

use std::ffi::c_void;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::outcome::{Fault, Kind};

/// Functions of the gateway for one channel. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    pub(crate) table: Table,
    pub(crate) channel: abi::Channel,
}

/// Pointer to the gateway's table, which lives as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table(pub(crate) *const abi::Host);

// SAFETY: the contract allows calls of the gateway's functions from any thread.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    pub(crate) const fn functions(&self) -> &abi::Host {
        // SAFETY: the gateway's table is never freed, and the entry function has checked its size.
        unsafe { &*self.0 }
    }
}

/// Level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Needs action.
    Error = abi::LOG_ERROR,
    /// May need action.
    Warn = abi::LOG_WARN,
    /// For operators.
    Info = abi::LOG_INFO,
    /// For the plugin's developer.
    Debug = abi::LOG_DEBUG,
}

/// HTTP request.
#[derive(Clone)]
pub struct Request {
    /// Method, such as `POST`.
    pub method: &'static str,
    /// Absolute URL, http or https, sent unchanged. At most 8 KiB.
    pub url: String,
    /// Headers: at most 100, each value at most 16 KiB. The gateway sets `host`, `content-length` and those of the
    /// connection.
    pub headers: Vec<(&'static str, String)>,
    /// Body. At most 4 MiB.
    pub body: Vec<u8>,
    /// Time until the last byte of the response. `None` selects the capability's timeout.
    pub timeout: Option<Duration>,
}

impl Request {
    /// Returns a POST with a JSON body.
    #[must_use]
    pub fn post_json(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: "POST", url: url.into(), headers, body: body.into(), timeout: None }
    }

    /// Returns a GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: "GET", url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// Returns the request with a further header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// HTTP response.
#[derive(Clone)]
pub struct Response {
    /// Status code. Redirects are not followed.
    pub status: u16,
    /// Headers. Names are in lower case.
    pub headers: Vec<(String, String)>,
    /// Body. At most 64 KiB; a longer one is an [`HttpError`].
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the first header with this name in lower case. `None` means that there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the delay of a `Retry-After` header in seconds. `None` means that there is none, or that it is a date.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Error of an HTTP request without a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpError {
    kind: Kind,
    detail: String,
}

impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::new(error.kind, error.detail)
    }
}

impl std::fmt::Display for HttpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for HttpError {}

impl Host {
    /// Sends a request through the gateway's client, with pooled connections and HTTP/2 if the server supports it. The roots
    /// and the proxy of the channel's configuration apply. Dropping the future does not cancel the request.
    ///
    /// # Errors
    /// [`HttpError`], which converts to a [`Fault`] of the right kind.
    pub async fn http(&self, request: Request) -> Result<Response, HttpError> {
        let refused = |detail: &str| HttpError { kind: Kind::Bug, detail: detail.to_owned() };
        let Some(send) = self.table.functions().http_request else {
            return Err(refused("this gateway has no http_request"));
        };
        let result = Arc::new(Slot::default());
        match start_request(self, send, &request, &result) {
            abi::OK => result.wait().await,
            abi::BUSY => Err(HttpError {
                kind: Kind::Unreachable,
                detail: "this channel has too many running requests".to_owned(),
            }),
            abi::CLOSED => {
                Err(HttpError { kind: Kind::Unreachable, detail: "the channel is closing".to_owned() })
            }
            _ => Err(refused(
                "the gateway refuses the request as invalid: use an absolute http or https URL and check the limits",
            )),
        }
    }

    /// Waits. Returns `true` after the duration, and `false` earlier when the channel closes. The maximum is 24 hours; a longer
    /// duration returns `false` at once.
    pub async fn sleep(&self, duration: Duration) -> bool {
        let Some(timer) = self.table.functions().timer else { return false };
        let slot: Arc<Slot<bool>> = Arc::new(Slot::default());
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        if !start_timer(self, timer, millis, &slot) {
            return false;
        }
        slot.wait().await
    }

    /// Returns the wall clock time in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        // SAFETY: function and table belong to the gateway.
        self.table.functions().now_ms.map_or(0, |now| unsafe { now(self.table.0) })
    }

    /// Writes a log line, which is cut to 1,000 bytes. It must contain no token, text of a user or credential.
    pub fn log(&self, level: Level, text: &str) {
        if let Some(log) = self.table.functions().log {
            // SAFETY: function and table belong to the gateway; the text is valid for the call.
            unsafe { log(self.table.0, self.channel, level as u32, Str::new(text)) }
        }
    }

    /// Adds to a counter. Its name has 1 to 64 characters of a–z, 0–9 and _. A channel may use 64 names.
    pub fn count(&self, name: &str, by: u64) {
        if let Some(counter) = self.table.functions().counter {
            // SAFETY: as in `log`.
            unsafe { counter(self.table.0, self.channel, Str::new(name), by) }
        }
    }

    /// Records a value in a histogram. The rules for its name are those of [`Host::count`].
    pub fn record(&self, name: &str, value: f64) {
        if let Some(histogram) = self.table.functions().histogram {
            // SAFETY: as in `log`.
            unsafe { histogram(self.table.0, self.channel, Str::new(name), value) }
        }
    }
}

type HttpResult = Result<Response, HttpError>;

fn start_request(
    host: &Host,
    send: unsafe extern "C" fn(
        *const abi::Host,
        abi::Channel,
        *const abi::HttpRequest,
        Option<abi::HttpDone>,
        *mut c_void,
    ) -> i32,
    request: &Request,
    result: &Arc<Slot<HttpResult>>,
) -> i32 {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| abi::Header { name: Str::new(name), value: Str::new(value) })
        .collect();
    let raw = abi::HttpRequest {
        struct_size: size_of::<abi::HttpRequest>(),
        method: Str::new(request.method),
        url: Str::new(&request.url),
        headers: headers.as_ptr(),
        header_count: headers.len(),
        body: Str::from_bytes(&request.body),
        timeout_ms: request
            .timeout
            .map_or(0, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)),
        max_answer: 0,
    };
    let user = Arc::into_raw(Arc::clone(result)).cast_mut().cast();
    // SAFETY: all arguments are valid for the call; `user` is a reference that `http_done` takes back, once.
    let code = unsafe { send(host.table.0, host.channel, &raw, Some(http_done), user) };
    if code != abi::OK {
        // SAFETY: the gateway has refused, so it never calls the callback that would take the reference back.
        drop(unsafe { Arc::from_raw(user.cast::<Slot<HttpResult>>()) });
    }
    code
}

unsafe extern "C" fn http_done(user: *mut c_void, response: *const abi::HttpResponse) {
    crate::export::catch_panic((), || {
        // SAFETY: takes back the reference that was given to the gateway, once.
        let result = unsafe { Arc::from_raw(user.cast_const().cast::<Slot<HttpResult>>()) };
        // SAFETY: the gateway guarantees null or a response that is valid for the call.
        result.fill(unsafe { response.as_ref() }.map_or_else(
            || Err(HttpError { kind: Kind::VendorDown, detail: "the gateway gave no response".to_owned() }),
            // SAFETY: as above.
            |response| unsafe { read_response(response) },
        ));
    });
}

/// Copies a response.
///
/// # Safety
/// The response is valid for the call, as the contract demands.
unsafe fn read_response(raw: &abi::HttpResponse) -> HttpResult {
    // SAFETY: the caller guarantees that the texts are valid for the call.
    let text = |raw: Str| unsafe { raw.text(usize::MAX) }.unwrap_or_default();
    if raw.error != abi::HTTP_OK {
        let kind = match raw.error {
            abi::HTTP_UNREACHABLE => Kind::Unreachable,
            abi::HTTP_REFUSED => Kind::BadMessage,
            abi::HTTP_TIMEOUT | abi::HTTP_CANCELLED => Kind::Timeout,
            _ => Kind::VendorDown,
        };
        return Err(HttpError { kind, detail: text(raw.detail) });
    }
    let headers = match raw.header_count {
        0 => &[],
        // SAFETY: the caller guarantees `header_count` headers.
        count => unsafe { std::slice::from_raw_parts(raw.headers, count) },
    };
    Ok(Response {
        status: u16::try_from(raw.status).unwrap_or(0),
        headers: headers.iter().map(|header| (text(header.name), text(header.value))).collect(),
        // SAFETY: as above.
        body: unsafe { raw.body.bytes(usize::MAX) }.unwrap_or_default().to_vec(),
    })
}

fn start_timer(
    host: &Host,
    timer: unsafe extern "C" fn(
        *const abi::Host,
        abi::Channel,
        u64,
        Option<abi::TimerDone>,
        *mut c_void,
    ) -> i32,
    millis: u64,
    slot: &Arc<Slot<bool>>,
) -> bool {
    let user = Arc::into_raw(Arc::clone(slot)).cast_mut().cast();
    // SAFETY: `user` is a reference that `timer_done` takes back, once.
    let is_started = unsafe { timer(host.table.0, host.channel, millis, Some(timer_done), user) } == abi::OK;
    if !is_started {
        // SAFETY: the gateway has refused, so it never calls the callback that would take the reference back.
        drop(unsafe { Arc::from_raw(user.cast::<Slot<bool>>()) });
    }
    is_started
}

unsafe extern "C" fn timer_done(user: *mut c_void, cancelled: u32) {
    crate::export::catch_panic((), || {
        // SAFETY: takes back the reference that was given to the gateway, once.
        let slot = unsafe { Arc::from_raw(user.cast_const().cast::<Slot<bool>>()) };
        slot.fill(cancelled == 0);
    });
}

/// Place for one value that a callback of the gateway delivers to a waiting task.
struct Slot<T>(Mutex<SlotState<T>>);

struct SlotState<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new(SlotState { value: None, waker: None }))
    }
}

impl<T> Slot<T> {
    fn fill(&self, value: T) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.value = Some(value);
            slot.waker.take()
        };
        // Outside the lock: `wake` may run the task on this thread, which locks the slot.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) -> T {
        poll_fn(|context| {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.value.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
