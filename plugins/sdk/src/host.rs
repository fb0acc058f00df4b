//! The gateway's services, in types. Everything asynchronous ends, whatever happens: with an answer, or cancelled at close.

use std::ffi::c_void;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::outcome::{Fault, Kind};

/// The gateway, as one channel sees it. Cheap to clone.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    pub(crate) table: Table,
    pub(crate) channel: abi::Channel,
}

/// The gateway's table, which lives as long as the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table(pub(crate) *const abi::Host);

// SAFETY: the gateway promises that its functions may be called from any thread.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl Table {
    pub(crate) const fn functions(&self) -> &abi::Host {
        // SAFETY: the gateway's table is never freed; its size was checked when the plugin was loaded.
        unsafe { &*self.0 }
    }
}

/// How loud a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// Somebody should act.
    Error = abi::LOG_ERROR,
    /// Worth a look.
    Warn = abi::LOG_WARN,
    /// Worth knowing.
    Info = abi::LOG_INFO,
    /// For the author.
    Debug = abi::LOG_DEBUG,
}

/// One HTTP request.
#[derive(Clone)]
pub struct Request {
    /// The verb.
    pub method: &'static str,
    /// Absolute, http or https; goes out byte for byte.
    pub url: String,
    /// At most 100. What a message's length and end are is the gateway's to say.
    pub headers: Vec<(&'static str, String)>,
    /// At most 4 MiB.
    pub body: Vec<u8>,
    /// From now to the last byte of the answer; without one, the capability's timeout.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A POST of JSON.
    #[must_use]
    pub fn post_json(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: "POST", url: url.into(), headers, body: body.into(), timeout: None }
    }

    /// A GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: "GET", url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// One HTTP answer, at most 64 KiB of it.
#[derive(Clone)]
pub struct Response {
    /// The status. Redirects are not followed.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The wait a `Retry-After` in seconds asks for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why there is no answer.
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
    /// Sends one request through the gateway's own client: pooled, HTTP/2 where the peer has it, TLS with the roots and the
    /// proxy of the channel's configuration. Dropping the future does not call the request back.
    ///
    /// # Errors
    /// [`HttpError`], which is a [`Fault`] of the right kind.
    pub async fn http(&self, request: Request) -> Result<Response, HttpError> {
        let refused = |detail: &str| HttpError { kind: Kind::Bug, detail: detail.to_owned() };
        let Some(send) = self.table.functions().http_request else {
            return Err(refused("this gateway has no http_request"));
        };
        let answer = Arc::new(Slot::default());
        match begin_request(self, send, &request, &answer) {
            abi::OK => answer.filled().await,
            abi::BUSY => Err(HttpError {
                kind: Kind::Unreachable,
                detail: "too many requests are under way for this channel".to_owned(),
            }),
            abi::CLOSED => {
                Err(HttpError { kind: Kind::Unreachable, detail: "the channel is being closed".to_owned() })
            }
            _ => Err(refused(
                "the gateway does not take this request: is its address absolute, http or https?",
            )),
        }
    }

    /// Waits. Ends early when the channel is being closed, and then says `false`.
    pub async fn sleep(&self, span: Duration) -> bool {
        let Some(timer) = self.table.functions().timer else { return false };
        let rung: Arc<Slot<bool>> = Arc::new(Slot::default());
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        if !begin_timer(self, timer, millis, &rung) {
            return false;
        }
        rung.filled().await
    }

    /// The wall clock, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        // SAFETY: the gateway's own function and table.
        self.table.functions().now_ms.map_or(0, |now| unsafe { now(self.table.0) })
    }

    /// A line for the operator. No token, no text of a user, no credential; at most 1,000 bytes are kept.
    pub fn log(&self, level: Level, text: &str) {
        if let Some(log) = self.table.functions().log {
            // SAFETY: the gateway's own function and table; the text is lent for the call.
            unsafe { log(self.table.0, self.channel, level as u32, Str::of(text)) }
        }
    }

    /// Adds to a counter; its name is 1 to 64 of a–z 0–9 _, and a channel has at most 64 of them.
    pub fn count(&self, name: &str, by: u64) {
        if let Some(counter) = self.table.functions().counter {
            // SAFETY: as for the log.
            unsafe { counter(self.table.0, self.channel, Str::of(name), by) }
        }
    }

    /// Records a value under a name, which is as for [`Host::count`].
    pub fn record(&self, name: &str, value: f64) {
        if let Some(histogram) = self.table.functions().histogram {
            // SAFETY: as for the log.
            unsafe { histogram(self.table.0, self.channel, Str::of(name), value) }
        }
    }
}

type Answer = Result<Response, HttpError>;

fn begin_request(
    host: &Host,
    send: unsafe extern "C" fn(
        *const abi::Host,
        abi::Channel,
        *const abi::HttpRequest,
        Option<abi::HttpDone>,
        *mut c_void,
    ) -> i32,
    request: &Request,
    answer: &Arc<Slot<Answer>>,
) -> i32 {
    let headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| abi::Header { name: Str::of(name), value: Str::of(value) })
        .collect();
    let raw = abi::HttpRequest {
        struct_size: size_of::<abi::HttpRequest>(),
        method: Str::of(request.method),
        url: Str::of(&request.url),
        headers: headers.as_ptr(),
        header_count: headers.len(),
        body: Str::of_bytes(&request.body),
        timeout_ms: request
            .timeout
            .map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)),
        max_answer: 0,
    };
    let user = Arc::into_raw(Arc::clone(answer)).cast_mut().cast();
    // SAFETY: all of it is lent for the call; `user` is a reference that `answered` takes back, once.
    let begun = unsafe { send(host.table.0, host.channel, &raw, Some(answered), user) };
    if begun != abi::OK {
        // SAFETY: refused, so nobody else will take the reference back.
        drop(unsafe { Arc::from_raw(user.cast::<Slot<Answer>>()) });
    }
    begun
}

unsafe extern "C" fn answered(user: *mut c_void, response: *const abi::HttpResponse) {
    crate::export::guarded((), || {
        // SAFETY: the reference that was handed over, taken back once.
        let answer = unsafe { Arc::from_raw(user.cast_const().cast::<Slot<Answer>>()) };
        // SAFETY: lent by the gateway for the call.
        answer.fill(unsafe { response.as_ref() }.map_or_else(
            || Err(HttpError { kind: Kind::VendorDown, detail: "no answer".to_owned() }),
            // SAFETY: as above.
            |response| unsafe { copied(response) },
        ));
    });
}

/// # Safety
/// As lent by the gateway.
unsafe fn copied(raw: &abi::HttpResponse) -> Answer {
    // SAFETY: texts are lent for the call; also below.
    let text = |lent: Str| unsafe { lent.text(usize::MAX) }.unwrap_or_default();
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
        // SAFETY: so many are lent for the call.
        count => unsafe { std::slice::from_raw_parts(raw.headers, count) },
    };
    Ok(Response {
        status: u16::try_from(raw.status).unwrap_or(0),
        headers: headers.iter().map(|header| (text(header.name), text(header.value))).collect(),
        // SAFETY: as above.
        body: unsafe { raw.body.bytes(usize::MAX) }.unwrap_or_default().to_vec(),
    })
}

fn begin_timer(
    host: &Host,
    timer: unsafe extern "C" fn(
        *const abi::Host,
        abi::Channel,
        u64,
        Option<abi::TimerDone>,
        *mut c_void,
    ) -> i32,
    millis: u64,
    rung: &Arc<Slot<bool>>,
) -> bool {
    let user = Arc::into_raw(Arc::clone(rung)).cast_mut().cast();
    // SAFETY: `user` is a reference that `rang` takes back, once.
    let begun = unsafe { timer(host.table.0, host.channel, millis, Some(rang), user) } == abi::OK;
    if !begun {
        // SAFETY: refused, so nobody else will take the reference back.
        drop(unsafe { Arc::from_raw(user.cast::<Slot<bool>>()) });
    }
    begun
}

unsafe extern "C" fn rang(user: *mut c_void, cancelled: u32) {
    crate::export::guarded((), || {
        // SAFETY: the reference that was handed over, taken back once.
        let rung = unsafe { Arc::from_raw(user.cast_const().cast::<Slot<bool>>()) };
        rung.fill(cancelled == 0);
    });
}

/// Where an answer is put, and who is woken for it.
struct Slot<T>(Mutex<(Option<T>, Option<Waker>)>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::new((None, None)))
    }
}

impl<T> Slot<T> {
    fn fill(&self, value: T) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(value);
            slot.1.take()
        };
        // Outside of the lock: the task may run here and now, and look into it.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn filled(&self) -> T {
        poll_fn(|context| {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match slot.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
