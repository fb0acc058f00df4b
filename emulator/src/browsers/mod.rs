//! Services that real browsers need: check-in, registration, the push connection, and the REST services of the Firebase
//! SDK.
//! A Chromium that is pointed here subscribes and gets its pushes as from Google. Its tokens are devices of
//! `messages:send`, and its endpoints belong to the Web Push services.

pub(crate) mod autopush;
mod checkin;
mod chromium;
mod fcm_registrations;
mod firebase;
mod installations;
mod mcs;
mod protobuf;
mod push_queue;
mod register3;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::control::{ApiManual, ControlledService};
use crate::event::{Event, EventKind};
use crate::fault::{EndpointKind, Fault};
use crate::inbox::{DeviceChange, ShownNotification};
use crate::service::{PushService, ServiceContext};
use crate::services::fcm::Fcm;
use crate::services::web_push::{PushRequest, RealSubscription, WebPush, WebPushService};
use crate::wire::{HttpRequest, HttpResponse};
pub(crate) use chromium::chromium_switches;
use fcm_registrations::FcmRegistrations;
use installations::Installations;
use registry::{ConnectionCommand, DeviceRegistry, PushContent, Registration};

/// Host names that browsers request, beside those of Web Push.
pub(crate) const HOSTS: [&str; 4] = [
    "mtalk.google.com",
    "android.clients.google.com",
    "firebaseinstallations.googleapis.com",
    "fcmregistrations.googleapis.com",
];

/// Service side of real browsers that connect to the emulator.
pub struct Browsers {
    registry: Arc<DeviceRegistry>,
    installations: Installations,
    fcm_registrations: FcmRegistrations,
    project: String,
    fcm: Arc<Fcm>,
    web_push: Arc<WebPush>,
    context: Arc<ServiceContext>,
}

impl Browsers {
    pub(crate) fn new(project: &str, fcm: Arc<Fcm>, web_push: Arc<WebPush>, context: ServiceContext) -> Self {
        let context = Arc::new(context);
        let registry = Arc::new(DeviceRegistry::new(Arc::clone(&context)));
        let (installations, fcm_registrations) = (Installations::default(), FcmRegistrations::default());
        Self {
            registry,
            installations,
            fcm_registrations,
            project: project.to_owned(),
            fcm,
            web_push,
            context,
        }
    }

    /// Returns the name of every browser, and `true` if it is connected.
    #[must_use]
    pub fn devices(&self) -> Vec<(String, bool)> {
        self.registry.devices()
    }

    /// Closes the connection of every browser with a close message. Returns the number of connections.
    ///
    /// A browser that logged in less than 10 s ago reconnects after 20 to 50 s. Others reconnect at once.
    pub fn close_connections(&self) -> usize {
        self.registry.command_all(ConnectionCommand::Close)
    }

    /// Closes the connection of every browser without a message. Returns the number of connections.
    pub fn cut_connections(&self) -> usize {
        self.registry.command_all(ConnectionCommand::Cut)
    }

    /// Adds a fault rule and returns its number. Check-in and installations are [`EndpointKind::Token`], registrations
    /// are [`EndpointKind::Manage`].
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.context.add_fault(fault)
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.context.faults.clear();
    }

    /// Returns the events with a number above `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.context.events(seq)
    }

    /// Returns the first logged or future event that matches. `None` if there is none within `timeout`.
    ///
    /// [`EventKind::Arrived`] means that a browser has acknowledged a push.
    pub async fn wait_for(&self, matches: impl Fn(&EventKind) -> bool, timeout: Duration) -> Option<Event> {
        self.context.wait_for(matches, timeout).await
    }

    /// Serves the MCS connections of browsers until the future is dropped.
    pub(crate) fn serve_mcs(
        &self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
    ) -> impl Future<Output = ()> + use<> {
        mcs::serve(listener, tls, Arc::clone(&self.registry))
    }

    /// Subscribes a registration at a Web Push service and returns the endpoint. Pushes to it go into the queue of the
    /// device.
    fn subscribe(&self, service: WebPushService, registration: &Registration, vapid_key: Vec<u8>) -> String {
        let (registry, token) = (Arc::clone(&self.registry), registration.token.clone());
        let relay = move |push: &PushRequest| {
            let body = (!push.body.is_empty()).then(|| push.body.clone());
            let coding = body.is_some().then(|| ("content-encoding", "aes128gcm".to_owned()));
            let headers = coding.into_iter().collect();
            registry.deliver(&token, PushContent { topic: push.topic.clone(), headers, body, ttl: push.ttl });
        };
        let (id, relay) = (registration.name.clone(), Arc::new(relay));
        let subscription = RealSubscription { id, vapid_key, relay };
        self.web_push.add_real_subscription(service, &registration.token, subscription)
    }

    /// Handles a request to Firebase's REST services.
    fn firebase(&self, request: &HttpRequest, project: &str, path: &[&str]) -> HttpResponse {
        let headers = &request.head.headers;
        let method = request.head.method.as_str();
        if method == "OPTIONS" {
            return HttpResponse { status: 204, ..HttpResponse::default() };
        }
        if project != self.project {
            return firebase::error(403, "PERMISSION_DENIED", "The caller does not have permission.");
        }
        match (method, path) {
            ("POST", ["installations"]) => {
                self.installations.create(project, &request.body, self.registry.now_ms())
            }
            ("POST", ["installations", fid, "authTokens:generate"]) => {
                self.installations.renew(fid, headers, self.registry.now_ms())
            }
            ("DELETE", ["installations", fid]) => {
                self.delete_registration(fid);
                self.installations.delete(fid)
            }
            ("POST", ["registrations"]) | ("PATCH", ["registrations", _]) => {
                self.create_registration(headers, &request.body)
            }
            ("DELETE", ["registrations", id]) => self.delete_registration(id),
            _ => firebase::error(404, "NOT_FOUND", "Requested entity was not found."),
        }
    }
}

/// Parsed path of a request to one of these services.
enum Route<'a> {
    CheckIn,
    Register,
    Firebase(&'a str, Vec<&'a str>),
}

/// Returns the route of a request. `None` if it is for none of these services.
fn route(request: &HttpRequest) -> Option<Route<'_>> {
    let path: Vec<_> = request.head.uri.path().split('/').skip(1).collect();
    match path.as_slice() {
        ["checkin"] => Some(Route::CheckIn),
        ["c2dm", "register3"] => Some(Route::Register),
        ["v1", "projects", project, "installations" | "registrations", ..] => {
            Some(Route::Firebase(project, path[3..].to_vec()))
        }
        _ => None,
    }
}

impl PushService for Browsers {
    fn context(&self) -> &ServiceContext {
        &self.context
    }

    fn handles(&self, request: &HttpRequest) -> bool {
        route(request).is_some()
    }

    fn endpoint_kind(&self, request: &HttpRequest) -> EndpointKind {
        match route(request) {
            Some(Route::Register) => EndpointKind::Manage,
            Some(Route::Firebase(_, path)) if path[0] == "registrations" => EndpointKind::Manage,
            _ => EndpointKind::Token,
        }
    }

    fn device_names(&self, _request: &HttpRequest) -> Vec<String> {
        Vec::new()
    }

    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        match route(request) {
            Some(Route::CheckIn) => checkin::respond(&self.registry, &request.body),
            Some(Route::Register) => self.register3(&request.head.headers, &request.body),
            Some(Route::Firebase(project, path)) => {
                firebase::with_cors(self.firebase(request, project, &path))
            }
            None => firebase::error(404, "NOT_FOUND", "Requested entity was not found."),
        }
    }

    fn error_response(&self, request: &HttpRequest, status: u16, code: Option<&str>) -> HttpResponse {
        match route(request) {
            // Errors of this endpoint have the same format as its successes.
            Some(Route::Register) => HttpResponse {
                status,
                ..register3::key_value("Error", code.unwrap_or("PHONE_REGISTRATION_ERROR"))
            },
            Some(Route::Firebase(..)) => firebase::with_cors(firebase::error(
                status,
                code.unwrap_or("INTERNAL"),
                "Fault injected by the emulator.",
            )),
            _ => HttpResponse { status, ..HttpResponse::default() },
        }
    }

    fn expired_credentials_response(&self, request: &HttpRequest) -> HttpResponse {
        self.error_response(request, 401, Some("UNAUTHENTICATED"))
    }
}

impl ControlledService for Browsers {
    fn create_device(&self, _body: Value) -> Result<Value, String> {
        Err("real browsers register by themselves; create virtual devices at the other services".to_owned())
    }

    fn list_devices(&self) -> Vec<Value> {
        let state = |online| json!({"registered": true, "online": online, "real": true});
        let described = |(id, online)| json!({"id": id, "kind": "browser", "state": state(online)});
        self.devices().into_iter().map(described).collect()
    }

    fn shown_notifications(&self, id: &str) -> Option<Vec<ShownNotification>> {
        // The emulator does not know what a real browser shows.
        self.devices().iter().any(|(name, _)| name == id).then(Vec::new)
    }

    fn change_device(&self, _id: &str, _change: DeviceChange) -> bool {
        false
    }

    fn api_manual(&self) -> ApiManual {
        ApiManual {
            device: None,
            device_fields: json!(
                "real browsers register by themselves; they cannot be created or changed here"
            ),
            own_routes: json!({}),
        }
    }

    fn verbs(&self) -> Value {
        json!({"close": {}, "cut": {}})
    }

    fn run_verb(&self, name: &str, _body: Value) -> Option<Result<(), String>> {
        match name {
            "close" => self.close_connections(),
            "cut" => self.cut_connections(),
            _ => return None,
        };
        Some(Ok(()))
    }
}

/// Returns `N` random bytes as base64url.
fn random_id<const N: usize>() -> String {
    use base64::Engine as _;
    let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
