//! Common part of all push services: clock, fault rules, event log, connections, and the action for each request.
//! This module knows no push service. Each service words its own errors.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use crate::clock::Clock;
use crate::event::{Event, EventKind, Log};
use crate::fault::{Effect, EndpointKind, Fault, FaultRules, FaultTarget, Goaway, LastStream};
use crate::wire::{Connections, HttpRequest, HttpResponse};

/// Clock, connections, faults and event log of one push service.
pub(crate) struct ServiceContext {
    pub(crate) clock: Clock,
    pub(crate) connections: Arc<Connections>,
    pub(crate) faults: FaultRules,
    log: Log,
}

impl ServiceContext {
    /// Returns a context with the connections of the service's port. Services that share a port share its connections.
    pub(crate) fn new(clock: Clock, seed: u64, connections: Arc<Connections>) -> Self {
        Self { clock, connections, faults: FaultRules::new(seed), log: Log::default() }
    }

    /// Returns a context without a port, for tests.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self::new(Clock::default(), 0, Arc::new(Connections::new(100)))
    }

    /// Appends an event to the log.
    pub(crate) fn record(&self, kind: EventKind) {
        self.log.append(self.clock.now_ms(), kind);
    }

    /// Returns the logged events with a number above `seq`.
    pub(crate) fn events(&self, seq: u64) -> Vec<Event> {
        self.log.after(seq)
    }

    /// Returns the first logged or future event that matches. `None` if there is none within `timeout`.
    pub(crate) async fn wait_for(
        &self,
        matches: impl Fn(&EventKind) -> bool,
        timeout: Duration,
    ) -> Option<Event> {
        self.log.wait(matches, timeout).await
    }

    /// Adds a fault rule and returns its number.
    pub(crate) fn add_fault(&self, fault: Fault) -> u64 {
        self.faults.add(fault)
    }

    /// Sets the maximum of concurrent streams for open and future connections.
    pub(crate) fn set_stream_limit(&self, streams: u32) {
        self.record(EventKind::StreamLimit { streams });
        self.connections.set_stream_limit(streams);
    }

    /// Sends GOAWAY on every open connection.
    pub(crate) fn send_goaway(&self, goaway: &Goaway) {
        for last in self.connections.send_goaway(goaway) {
            self.record(EventKind::Goaway { last });
        }
    }
}

/// Push service as its port sees it.
pub(crate) trait PushService: Send + Sync + 'static {
    /// Returns the common state of the service.
    fn context(&self) -> &ServiceContext;
    /// Returns the kind of endpoint that a request addresses.
    fn endpoint_kind(&self, request: &HttpRequest) -> EndpointKind;
    /// Returns name and token of the addressed device. Empty if the request addresses no device.
    fn device_names(&self, request: &HttpRequest) -> Vec<String>;
    /// Processes a request without faults. All of its effects are complete on return.
    fn respond(&self, request: &HttpRequest) -> HttpResponse;
    /// Returns the requested error in the service's own format.
    fn error_response(&self, request: &HttpRequest, status: u16, code: Option<&str>) -> HttpResponse;
    /// Returns the service's response to expired credentials.
    fn expired_credentials_response(&self, request: &HttpRequest) -> HttpResponse;
    /// Returns `true` if the request is for this service. Used where services share a port. The default service gets
    /// the requests that no other service handles.
    fn handles(&self, _request: &HttpRequest) -> bool {
        false
    }
    /// Returns the stream limit of a new connection until the service lifts it. `None` means the limit of all
    /// connections.
    fn initial_stream_limit(&self, _certificate: Option<&CertificateDer<'_>>) -> Option<u32> {
        None
    }
    /// Returns the event for a response that a fault caused.
    fn refusal_event(&self, request: &HttpRequest, status: u16, code: Option<String>) -> EventKind {
        match self.endpoint_kind(request) {
            EndpointKind::Token => EventKind::Token { status },
            EndpointKind::Send | EndpointKind::Manage => {
                EventKind::Send { status, code, device: self.device_names(request).into_iter().next() }
            }
        }
    }
}

/// Action of the server on a request.
#[derive(Debug)]
pub(crate) enum ServerAction {
    /// Sends a response.
    Respond(HttpResponse),
    /// Sends a response after a delay.
    RespondLater(HttpResponse, Duration),
    /// Never responds.
    Hang,
    /// Resets the stream with this error code.
    ResetStream(u32),
    /// Closes the connection.
    CloseConnection,
    /// Sends GOAWAY, and the response if the request is processed.
    SendGoaway(Goaway, Option<HttpResponse>),
}

/// Returns the action of the fault that is due for a request. Without a fault, processes the request.
pub(crate) fn next_action(service: &dyn PushService, request: &HttpRequest) -> ServerAction {
    let endpoint = service.endpoint_kind(request);
    let device_names = || service.device_names(request);
    let context = service.context();
    let Some((rule, effect)) =
        context.faults.take_due(&FaultTarget { endpoint, device_names: &device_names })
    else {
        return ServerAction::Respond(service.respond(request));
    };
    context.record(EventKind::Fault { rule, effect: effect.name() });
    let respond = |response: HttpResponse, code: Option<String>| {
        context.record(service.refusal_event(request, response.status, code));
        ServerAction::Respond(response)
    };
    match effect {
        Effect::Error { status, code, retry_after } => {
            let response = service.error_response(request, status, code.as_deref());
            let retry_after = retry_after.map(|delay| delay.value(context.clock.now()));
            respond(response.with_optional_header("retry-after", retry_after), code)
        }
        Effect::Raw { status, body } => {
            respond(HttpResponse::with_body(status, "text/html; charset=UTF-8", body), None)
        }
        Effect::Redirect { status, location } => respond(
            HttpResponse { status, ..HttpResponse::default() }.with_header("location", location),
            None,
        ),
        Effect::ExpiredBearer => respond(service.expired_credentials_response(request), None),
        Effect::Delay { ms } => {
            ServerAction::RespondLater(service.respond(request), Duration::from_millis(ms))
        }
        Effect::Hang => ServerAction::Hang,
        Effect::LoseAnswer => {
            service.respond(request);
            ServerAction::Hang
        }
        Effect::Reset { code } => ServerAction::ResetStream(code),
        Effect::Close => ServerAction::CloseConnection,
        Effect::Goaway(goaway) => {
            let response = (goaway.last != LastStream::Before).then(|| service.respond(request));
            ServerAction::SendGoaway(goaway, response)
        }
        Effect::StreamLimit(streams) => {
            context.set_stream_limit(streams);
            ServerAction::Respond(service.respond(request))
        }
    }
}
