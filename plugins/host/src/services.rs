//! HTTP requests and timers for plugins: taken at once, answered later, and answered whatever happens, exactly once.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pushgate::{Request, Response, Transport, TransportError};
use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;

use crate::asked;
use crate::context::NotBegun;
use crate::table::{Shared, guarded};
use crate::telemetry::Misuse;

const LONGEST_TIMER: u64 = 24 * 3600 * 1000;
/// What the headers of a request take as a rule, in bytes.
const HEADERS: usize = 512;

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
        begun(context.begin(|| {
            let owed = Owed::new(user, move |user: &User| tell_cancelled(done, user));
            fetch(Arc::clone(&context.transport), request, done, owed)
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
        begun(context.begin(|| {
            let owed = Owed::new(user, move |user: &User| call(user, 1));
            async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                owed.pay(|user| call(user, 0));
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
    transport: Arc<dyn Transport>,
    request: Request,
    done: abi::HttpDone,
    owed: Owed<F>,
) {
    let answer = transport.send(request).await;
    owed.pay(|user| match &answer {
        Ok(response) => tell_response(done, user, response),
        Err(error) => tell_error(done, user, error),
    });
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
        TransportError::GoneAway { .. } => abi::HTTP_GONE_AWAY,
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
    if raw.struct_size < size_of::<abi::HttpRequest>() || raw.header_count > asked::MOST_HEADERS {
        return None;
    }
    let missing = raw.headers.is_null() && raw.header_count > 0;
    if missing || raw.url.len > asked::MOST_URL || raw.body.len > asked::MOST_BODY {
        return None;
    }
    // All in one piece, which the parts of the request share.
    let mut copy = Vec::with_capacity(raw.url.len + raw.body.len + HEADERS);
    let mut keep = |bytes: &[u8]| {
        let from = copy.len();
        copy.extend_from_slice(bytes);
        from..copy.len()
    };
    // SAFETY: the texts are good for the call, the caller says.
    let (method, url, body) = unsafe {
        let (url, body) = (raw.url.bytes(asked::MOST_URL)?, raw.body.bytes(asked::MOST_BODY));
        (raw.method.bytes(asked::MAX_METHOD), keep(url), keep(body.unwrap_or_default()))
    };
    let mut headers = Vec::with_capacity(raw.header_count);
    for i in 0..raw.header_count {
        // SAFETY: there are so many, the caller says; their texts are good for the call.
        let (name, value) = unsafe {
            let header = *raw.headers.add(i);
            (header.name.bytes(asked::MOST_HEADER + 1)?, header.value.bytes(asked::MOST_HEADER + 1))
        };
        headers.push((name, keep(value.unwrap_or_default())));
    }
    let copy = Bytes::from(copy);
    let timeout = if raw.timeout_ms == 0 { timeout } else { Duration::from_millis(raw.timeout_ms) };
    let asked = asked::Asked {
        method: method.unwrap_or(b"POST"),
        url: copy.slice(url),
        body: copy.slice(body),
        timeout,
        max_answer: raw.max_answer,
    };
    asked.checked(headers.into_iter().map(|(name, value)| (name, copy.slice(value))))
}
