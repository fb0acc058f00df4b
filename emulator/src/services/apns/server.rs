//! Server of one environment: routing, authentication and responses.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::auth::Verification;
use super::broadcast::ChannelsPath;
use super::reason::Reason;
use super::validation::{validate, verify_environment};
use super::{Apns, Environment, MissingPushType};
use crate::event::EventKind;
use crate::fault::EndpointKind;
use crate::service::{PushService, ServiceContext};
use crate::wire::{HttpRequest, HttpResponse};

/// APNs in one environment.
pub(crate) struct ApnsServer {
    pub(crate) apns: Arc<Apns>,
    pub(crate) environment: Environment,
}

/// Resource that a request addresses.
enum Resource<'a> {
    Device(&'a str),
    Broadcast(&'a str),
    Channels(&'a str, ChannelsPath),
}

/// Returns the resource of a request. [`Reason::BadPath`] if the path is unknown.
fn resource(request: &HttpRequest) -> Result<Resource<'_>, Reason> {
    let path = request.head.uri.path();
    if let Some(token) = path.strip_prefix("/3/device") {
        return match token.strip_prefix('/') {
            Some(token) if token.contains('/') => Err(Reason::BadPath),
            Some(token) if !token.is_empty() => Ok(Resource::Device(token)),
            Some(_) => Err(Reason::MissingDeviceToken),
            None if token.is_empty() => Err(Reason::MissingDeviceToken),
            None => Err(Reason::BadPath),
        };
    }
    if let Some(bundle) = path.strip_prefix("/4/broadcasts/apps/") {
        return Ok(Resource::Broadcast(bundle));
    }
    match path.strip_prefix("/1/apps/").and_then(|rest| rest.rsplit_once('/')) {
        Some((bundle, "channels")) => Ok(Resource::Channels(bundle, ChannelsPath::Single)),
        Some((bundle, "all-channels")) => Ok(Resource::Channels(bundle, ChannelsPath::List)),
        _ => Err(Reason::BadPath),
    }
}

impl ApnsServer {
    /// Processes a request, or returns the reason to refuse it.
    fn try_respond(&self, request: &HttpRequest) -> Result<HttpResponse, Reason> {
        let apns = &self.apns;
        let rules = *apns.rules.lock();
        let verification =
            Verification { team: &apns.team, now_s: apns.context.clock.now_s(), rules: &rules };
        let sender = apns.credentials.authenticate(request, &verification)?;
        verify_environment(&sender, self.environment)?;
        if let Some(connection) = &request.peer.connection {
            // The stream limit of an unknown sender no longer applies.
            apns.context.connections.lift_restriction(connection);
        }
        match resource(request)? {
            Resource::Channels(bundle, path) if bundle == apns.bundle => {
                apns.manage_channels(request, self.environment, &path)
            }
            Resource::Channels(..) => Err(Reason::TopicDisallowed),
            _ if request.head.method != http::Method::POST => Err(Reason::MethodNotAllowed),
            Resource::Broadcast(bundle) if bundle == apns.bundle => apns.broadcast(request, self.environment),
            Resource::Broadcast(_) => Err(Reason::TopicDisallowed),
            Resource::Device(token) => {
                let push = validate(request, &sender, &apns.bundle, &rules)?;
                let device = apns.devices.find_target(token, &push, self.environment)?;
                // Checked last, so that a client without the header learns of all other errors first.
                if !push.has_push_type && rules.missing_push_type == MissingPushType::Refused {
                    return Err(Reason::InvalidPushType);
                }
                let events = device.deliver(&push, apns.context.clock.now_ms());
                events.into_iter().for_each(|event| apns.context.record(event));
                let response = HttpResponse { status: 200, ..HttpResponse::default() };
                // Only the sandbox returns the id under which the delivery can be looked up.
                let unique_id =
                    (self.environment == Environment::Sandbox).then(|| uuid::Uuid::now_v7().to_string());
                Ok(response.with_optional_header("apns-unique-id", unique_id))
            }
        }
    }

    /// Adds `apns-id` to a response: the sender's, or a new one.
    fn with_apns_id(&self, request: &HttpRequest, response: HttpResponse) -> HttpResponse {
        if !matches!(resource(request), Ok(Resource::Device(_)) | Err(_)) {
            return response;
        }
        let apns_id = request.header("apns-id").map(str::to_owned);
        response.with_header(
            "apns-id",
            apns_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string().to_uppercase()),
        )
    }
}

/// Explains a refusal that depends on a rule of the emulator, and how to change that rule. `None` for other refusals.
fn hint(request: &HttpRequest, reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::TooManyProviderTokenUpdates => Some(
            "this key used another provider token within the last mint_every_s seconds; \
             POST /control/apns/do/rules {\"mint_every_s\": 0} switches the rule off, \
             POST /control/apns/do/forget_provider_tokens forgets the used tokens of every key",
        ),
        Reason::InvalidPushType if request.header("apns-push-type").is_none() => Some(
            "the push has no apns-push-type; \
             POST /control/apns/do/rules {\"missing_push_type\": \"alert\"} accepts it as an alert",
        ),
        _ => None,
    }
}

/// Returns the response to a refused request.
fn refusal_response(status: u16, reason: &str, since_ms: Option<u64>) -> HttpResponse {
    let mut body = json!({"reason": reason});
    if let Some(since_ms) = since_ms {
        body["timestamp"] = since_ms.into();
    }
    HttpResponse::with_body(status, "application/json", body.to_string())
}

impl PushService for ApnsServer {
    fn context(&self) -> &ServiceContext {
        &self.apns.context
    }

    fn initial_stream_limit(&self, certificate: Option<&CertificateDer<'_>>) -> Option<u32> {
        certificate.is_none().then(|| self.apns.rules.lock().first_streams)
    }

    fn endpoint_kind(&self, request: &HttpRequest) -> EndpointKind {
        if matches!(resource(request), Ok(Resource::Channels(..))) {
            EndpointKind::Manage
        } else {
            EndpointKind::Send
        }
    }

    fn device_names(&self, request: &HttpRequest) -> Vec<String> {
        let Ok(Resource::Device(token)) = resource(request) else { return Vec::new() };
        let id = self.apns.devices.find_by_token(token).map(|(device, _)| device.id.clone());
        id.into_iter().chain([token.to_owned()]).collect()
    }

    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        let reason = match self.try_respond(request) {
            Ok(response) => {
                self.context().record(self.refusal_event(request, response.status, None));
                return self.with_apns_id(request, response);
            }
            Err(reason) => reason,
        };
        let (status, code) = reason.status_and_code();
        self.context().record(self.refusal_event(request, status, Some(code.to_owned())));
        let response = self.with_apns_id(request, refusal_response(status, code, reason.since_ms()));
        match hint(request, reason) {
            Some(text) => {
                self.context().record(EventKind::Hint { text: text.to_owned() });
                response.with_header("x-emulator-hint", text.to_owned())
            }
            None => response,
        }
    }

    fn error_response(&self, request: &HttpRequest, status: u16, code: Option<&str>) -> HttpResponse {
        let default_reason = match status {
            400 => "BadDeviceToken",
            403 => "InvalidProviderToken",
            410 => "Unregistered",
            413 => "PayloadTooLarge",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            _ => "InternalServerError",
        };
        let since_ms = (status == 410).then(|| self.context().clock.now_ms());
        self.with_apns_id(request, refusal_response(status, code.unwrap_or(default_reason), since_ms))
    }

    fn expired_credentials_response(&self, request: &HttpRequest) -> HttpResponse {
        self.with_apns_id(request, refusal_response(403, "ExpiredProviderToken", None))
    }

    fn refusal_event(&self, request: &HttpRequest, status: u16, code: Option<String>) -> EventKind {
        let device =
            self.device_names(request).into_iter().find(|name| self.apns.devices.find_by_id(name).is_some());
        EventKind::Send { status, code, device }
    }
}
