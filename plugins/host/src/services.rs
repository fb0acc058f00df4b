//! HTTP requests and timers for plugins: taken at once, answered later, and answered whatever happens, exactly once.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use pushgate::{Request, Response, TransportError};
use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;
use tokio_util::sync::CancellationToken;

use crate::context::{Context, NotBegun};
use crate::table::{Shared, guarded};
use crate::telemetry::Misuse;

const MOST_URL: usize = 8 * 1024;
const MOST_HEADERS: usize = 100;
const MOST_HEADER: usize = 16 * 1024;
const MOST_BODY: usize = 4 * 1024 * 1024;
const MOST_ANSWER: usize = 4 * 1024 * 1024;
const LONGEST_TIMER: u64 = 24 * 3600 * 1000;
/// A request may outlast the send it belongs to, but not by much.
const LONGEST_REQUEST: u64 = 600 * 1000;
/// What the transport sets by itself: two opinions about where a message ends are an attack.
const OURS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];
/// What is never kept in a connection's header table.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A pointer of the plugin's that is only carried.
struct User(*mut c_void);

// SAFETY: the contract says that what belongs to a request may be used from any thread, by one at a time.
unsafe impl Send for User {}

/// An answer that is owed: whoever drops it has answered, too.
struct Owed<F: FnMut(&User)> {
    user: User,
    otherwise: F,
    paid: bool,
}

impl<F: FnMut(&User)> Owed<F> {
    const fn new(user: User, otherwise: F) -> Self {
        Self { user, otherwise, paid: false }
    }

    fn pay(mut self, answer: impl FnOnce(&User)) {
        self.paid = true;
        answer(&self.user);
    }
}

impl<F: FnMut(&User)> Drop for Owed<F> {
    fn drop(&mut self) {
        if !self.paid {
            (self.otherwise)(&self.user);
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
    let run = |shared: &'static Shared| {
        let Some(context) = shared.channel(channel) else { return abi::CLOSED };
        // SAFETY: behind `request` lies what the contract says, for the call; that is the plugin's part.
        let request = unsafe { request.as_ref() }.and_then(|raw| unsafe { read(raw, context.timeout) });
        let (Some(request), Some(done)) = (request, done) else {
            shared.misused(Misuse::BadArgument);
            return abi::REFUSED;
        };
        let user = User(user);
        begun(context.begin(|closing| {
            let owed = Owed::new(user, move |user: &User| tell_cancelled(done, user));
            fetch(Arc::clone(&context), request, closing, done, owed)
        }))
    };
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, abi::REFUSED, run) }
}

pub(crate) unsafe extern "C" fn timer(
    host: *const abi::Host,
    channel: abi::Channel,
    after_ms: u64,
    done: Option<abi::TimerDone>,
    user: *mut c_void,
) -> i32 {
    let run = |shared: &'static Shared| {
        let Some(context) = shared.channel(channel) else { return abi::CLOSED };
        let Some(done) = done.filter(|_| after_ms <= LONGEST_TIMER) else {
            shared.misused(Misuse::BadArgument);
            return abi::REFUSED;
        };
        // SAFETY: `done` and what it is given are the plugin's, which is never unloaded.
        let call = move |user: &User, cancelled| unsafe { done(user.0, cancelled) };
        let user = User(user);
        begun(context.begin(|closing| {
            let owed = Owed::new(user, move |user: &User| call(user, 1));
            async move {
                tokio::select! {
                    biased;
                    () = closing.cancelled() => drop(owed),
                    () = tokio::time::sleep(Duration::from_millis(after_ms)) => owed.pay(|user| call(user, 0)),
                }
            }
        }))
    };
    // SAFETY: the plugin hands back the table it was given.
    unsafe { guarded(host, abi::REFUSED, run) }
}

const fn begun(result: Result<(), NotBegun>) -> i32 {
    match result {
        Ok(()) => abi::OK,
        Err(NotBegun::Closed) => abi::CLOSED,
        Err(NotBegun::Busy) => abi::BUSY,
    }
}

/// Sends the request, and tells the plugin what came.
async fn fetch<F: FnMut(&User)>(
    context: Arc<Context>,
    request: Request,
    closing: CancellationToken,
    done: abi::HttpDone,
    owed: Owed<F>,
) {
    tokio::select! {
        biased;
        () = closing.cancelled() => drop(owed),
        answer = context.transport.send(request) => owed.pay(|user| match &answer {
            Ok(response) => tell_response(done, user, response),
            Err(error) => tell_error(done, user, error),
        }),
    }
}

const NO_ANSWER: abi::HttpResponse = abi::HttpResponse {
    struct_size: size_of::<abi::HttpResponse>(),
    error: abi::HTTP_CANCELLED,
    status: 0,
    headers: std::ptr::null(),
    header_count: 0,
    body: Str::NONE,
    detail: Str::NONE,
};

fn tell(done: abi::HttpDone, user: &User, response: &abi::HttpResponse) {
    // SAFETY: `done` and what it is given are the plugin's, which is never unloaded; the response outlives the call.
    unsafe { done(user.0, response) }
}

fn tell_cancelled(done: abi::HttpDone, user: &User) {
    let detail = Str::of("the channel is being closed");
    tell(done, user, &abi::HttpResponse { detail, ..NO_ANSWER });
}

fn tell_error(done: abi::HttpDone, user: &User, error: &TransportError) {
    let detail = error.to_string();
    let error = match error {
        TransportError::Unreachable { .. } => abi::HTTP_UNREACHABLE,
        TransportError::Refused { .. } => abi::HTTP_REFUSED,
        TransportError::Timeout { .. } => abi::HTTP_TIMEOUT,
        TransportError::Broken { .. } => abi::HTTP_BROKEN,
        TransportError::AnswerTooLong { .. } => abi::HTTP_TOO_LONG,
    };
    tell(done, user, &abi::HttpResponse { error, detail: Str::of(&detail), ..NO_ANSWER });
}

fn tell_response(done: abi::HttpDone, user: &User, response: &Response) {
    // Texts are UTF-8 on the other side; a header that is none is handed over with its bytes replaced.
    let values: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let headers: Vec<_> = values
        .iter()
        .map(|(name, value)| abi::Header { name: Str::of(name.as_str()), value: Str::of(value) })
        .collect();
    let answer = abi::HttpResponse {
        error: abi::HTTP_OK,
        status: response.status.as_u16().into(),
        headers: headers.as_ptr(),
        header_count: headers.len(),
        body: Str::of_bytes(&response.body),
        ..NO_ANSWER
    };
    tell(done, user, &answer);
}

/// The request, copied; none when it is not right.
///
/// # Safety
/// The pointers in it are as the contract says.
unsafe fn read(raw: &abi::HttpRequest, timeout: Duration) -> Option<Request> {
    if raw.struct_size < size_of::<abi::HttpRequest>() || raw.url.len > MOST_URL || raw.body.len > MOST_BODY {
        return None;
    }
    // SAFETY: the caller says so; also below.
    let (method, url, body) =
        unsafe { (raw.method.bytes(32), raw.url.bytes(MOST_URL), raw.body.bytes(MOST_BODY)) };
    let uri = Uri::try_from(url?).ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return None;
    }
    let timeout = match raw.timeout_ms {
        0 => timeout,
        asked => Duration::from_millis(asked.min(LONGEST_REQUEST)),
    };
    let mut request = Request::post(uri, Bytes::copy_from_slice(body.unwrap_or_default()), timeout);
    if let Some(method) = method {
        request.method = Method::from_bytes(method).ok().filter(|method| *method != Method::CONNECT)?;
    }
    if raw.max_answer > 0 {
        request.max_answer = usize::try_from(raw.max_answer).unwrap_or(usize::MAX).min(MOST_ANSWER);
    }
    // SAFETY: as above.
    request.headers = unsafe { headers(raw) }?;
    Some(request)
}

/// # Safety
/// As for [`read`].
unsafe fn headers(raw: &abi::HttpRequest) -> Option<HeaderMap> {
    if raw.header_count > MOST_HEADERS || (raw.headers.is_null() && raw.header_count > 0) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(raw.header_count);
    for i in 0..raw.header_count {
        // SAFETY: there are so many, the caller says.
        let header = unsafe { *raw.headers.add(i) };
        if header.name.len > MOST_HEADER || header.value.len > MOST_HEADER {
            return None;
        }
        // SAFETY: its texts are good for the call, the caller says.
        let (name, value) = unsafe { (header.name.bytes(MOST_HEADER), header.value.bytes(MOST_HEADER)) };
        let name = HeaderName::from_bytes(name?).ok()?;
        let mut value = HeaderValue::from_bytes(value.unwrap_or_default()).ok()?;
        if OURS.contains(&name.as_str()) {
            return None;
        }
        value.set_sensitive(SECRET.contains(&name.as_str()));
        headers.append(name, value);
    }
    Some(headers)
}
