//! FCM as its callers see it: Google's token endpoint, `messages:send` and topic management, with virtual devices
//! behind them.

mod bearers;
mod condition;
mod device;
mod responses;
mod send;
mod token_endpoint;
mod topics;
mod validation;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Error;
use crate::control::{ApiManual, ControlledService};
use crate::event::{Event, EventKind};
use crate::fault::{EndpointKind, Fault, Goaway};
use crate::inbox::{DeviceChange, DeviceState, ShownNotification};
use crate::service::{PushService, ServiceContext};
use crate::wire::{HttpRequest, HttpResponse};
pub use bearers::BearerLifetime;
use bearers::Bearers;
use device::Devices;
pub use device::{FcmDevice, Platform};
pub(crate) use device::{Relay, displayed_notification};
pub(crate) use token_endpoint::parse_form;

/// Host names of the service, beside those of Web Push.
pub(crate) const HOSTS: [&str; 2] = ["oauth2.googleapis.com", "iid.googleapis.com"];

/// Emulated Firebase project with its devices.
pub struct Fcm {
    project: String,
    token_uri: String,
    key: KeyPair,
    key_id: String,
    bearers: Bearers,
    devices: Devices,
    context: ServiceContext,
}

impl Fcm {
    /// Returns a project without devices. `url` is the base URL of the token endpoint.
    pub(crate) fn new(project: &str, url: &str, context: ServiceContext) -> Result<Self, Error> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|e| Error::new("generating a key", e))?;
        Ok(Self {
            project: project.to_owned(),
            token_uri: format!("{url}/token"),
            key,
            key_id: uuid::Uuid::now_v7().simple().to_string(),
            bearers: Bearers::default(),
            devices: Devices::default(),
            context,
        })
    }

    fn service_account_email(&self) -> String {
        format!("pushgate@{}.iam.gserviceaccount.com", self.project)
    }

    /// Returns the service account of the project, in the format of the Firebase console.
    pub(crate) fn service_account_json(&self) -> String {
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&self.key).map(|der| STANDARD.encode(der.as_ref()));
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", der.unwrap_or_default());
        json!({
            "type": "service_account", "project_id": self.project, "private_key_id": self.key_id,
            "private_key": pem, "client_email": self.service_account_email(), "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": self.token_uri,
        })
        .to_string()
    }

    /// Adds a virtual device, or replaces the one with this id. `None` if its keys could not be generated.
    pub fn add_device(&self, id: &str, platform: Platform) -> Option<FcmDevice> {
        self.devices.add(id, platform)
    }

    /// Adds a device whose pushes go to a real browser through the relay.
    pub(crate) fn add_real_device(&self, device: FcmDevice, relay: Relay) {
        self.devices.add_real(device, relay);
    }

    /// Returns id and platform of every device.
    #[must_use]
    pub fn devices(&self) -> Vec<(String, Platform)> {
        self.devices
            .all()
            .iter()
            .map(|installed| (installed.device.id.clone(), installed.device.platform))
            .collect()
    }

    /// Returns the notifications that a device shows, newest first, at most the last 1,000. `None` if the device is
    /// unknown.
    #[must_use]
    pub fn inbox(&self, id: &str) -> Option<Vec<ShownNotification>> {
        self.devices.find_by_id(id).map(|installed| installed.inbox.notifications())
    }

    /// Changes the state of a device. Returns `true` if the device exists.
    ///
    /// Pushes for an offline device are stored as their TTL and collapse key say, and shown when it is online again.
    /// Pushes for a muted device are accepted and not shown. The token of an unregistered device is refused.
    pub fn change(&self, id: &str, change: DeviceChange) -> bool {
        let Some(device) = self.devices.find_by_id(id) else { return false };
        let events = device.inbox.change(&change, self.context.clock.now_ms());
        events.into_iter().for_each(|event| self.context.record(event));
        true
    }

    /// Returns the state of a device. `None` if the device is unknown.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<DeviceState> {
        self.devices.find_by_id(id).map(|installed| installed.inbox.state())
    }

    /// Removes the app from a device, so that its token is refused. Returns `true` if the device exists.
    pub fn unregister(&self, id: &str) -> bool {
        self.change(id, DeviceChange { registered: Some(false), ..DeviceChange::default() })
    }

    /// Connects a device. Returns `true` if the device exists.
    pub fn set_online(&self, id: &str) -> bool {
        self.change(id, DeviceChange { online: Some(true), ..DeviceChange::default() })
    }

    /// Disconnects a device. Returns `true` if the device exists.
    pub fn set_offline(&self, id: &str) -> bool {
        self.change(id, DeviceChange { online: Some(false), ..DeviceChange::default() })
    }

    /// Revokes every bearer issued so far.
    pub fn revoke_bearers(&self) {
        self.bearers.revoke();
    }

    /// Sets the lifetime of bearers issued from now on.
    pub fn set_bearer_lifetime(&self, lifetime: BearerLifetime) {
        self.bearers.set_lifetime(lifetime);
    }

    /// Makes every bearer issued so far older by this duration.
    pub fn age_bearers(&self, by: Duration) {
        self.bearers.age(by);
    }

    /// Adds a fault rule and returns its number.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.context.add_fault(fault)
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.context.faults.clear();
    }

    /// Sets the maximum of concurrent streams for open and future connections.
    pub fn set_stream_limit(&self, streams: u32) {
        self.context.set_stream_limit(streams);
    }

    /// Sends GOAWAY on every open connection.
    pub fn send_goaway(&self, goaway: &Goaway) {
        self.context.send_goaway(goaway);
    }

    /// Returns the number of open HTTP/2 connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.context.connections.count()
    }

    /// Returns the events with a number above `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.context.events(seq)
    }

    /// Returns the first logged or future event that matches. `None` if there is none within `timeout`.
    pub async fn wait_for(&self, matches: impl Fn(&EventKind) -> bool, timeout: Duration) -> Option<Event> {
        self.context.wait_for(matches, timeout).await
    }
}

impl PushService for Fcm {
    fn context(&self) -> &ServiceContext {
        &self.context
    }

    fn endpoint_kind(&self, request: &HttpRequest) -> EndpointKind {
        match request.head.uri.path() {
            "/token" => EndpointKind::Token,
            path if path.starts_with("/iid/") => EndpointKind::Manage,
            _ => EndpointKind::Send,
        }
    }

    fn device_names(&self, request: &HttpRequest) -> Vec<String> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let message = &body["message"];
        let Some(key) = message["token"].as_str().or_else(|| message["fid"].as_str()) else {
            return Vec::new();
        };
        let device = self.devices.find_by_address(key).map(|installed| installed.device.id.clone());
        device.into_iter().chain([key.to_owned()]).collect()
    }

    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        let path = request.head.uri.path();
        let project = path.strip_prefix("/v1/projects/").and_then(|rest| rest.strip_suffix("/messages:send"));
        match (request.head.method.as_str(), path, project) {
            ("POST", "/token", _) => {
                let response = self.issue_bearer(&request.body);
                self.context.record(EventKind::Token { status: response.status });
                response
            }
            ("POST", _, Some(project)) => self.send(project, request),
            _ if path.starts_with("/iid/") => self.manage_topics(request),
            _ => {
                let code = Some("no such path".to_owned());
                self.context.record(EventKind::Send { status: 404, code, device: None });
                responses::not_found()
            }
        }
    }

    fn error_response(&self, request: &HttpRequest, status: u16, code: Option<&str>) -> HttpResponse {
        match self.endpoint_kind(request) {
            EndpointKind::Token => responses::oauth_error(
                status,
                code.unwrap_or("internal_failure"),
                "Fault injected by the emulator.",
            ),
            EndpointKind::Send | EndpointKind::Manage => responses::fault_response(status, code),
        }
    }

    fn expired_credentials_response(&self, _request: &HttpRequest) -> HttpResponse {
        responses::unauthenticated()
    }
}

impl ControlledService for Fcm {
    fn create_device(&self, body: Value) -> Result<Value, String> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct NewDevice {
            id: String,
            platform: Platform,
        }
        let NewDevice { id, platform } = serde_json::from_value(body).map_err(|error| error.to_string())?;
        let device = self
            .add_device(&id, platform)
            .ok_or("the keys of the device could not be generated: the machine has no randomness")?;
        Ok(json!(device))
    }

    fn list_devices(&self) -> Vec<Value> {
        let described = |installed: &Arc<device::Installed>| {
            let (id, platform) = (&installed.device.id, installed.device.platform);
            json!({"id": id, "kind": platform, "state": installed.inbox.state()})
        };
        self.devices.all().iter().map(described).collect()
    }

    fn shown_notifications(&self, id: &str) -> Option<Vec<ShownNotification>> {
        self.inbox(id)
    }

    fn change_device(&self, id: &str, change: DeviceChange) -> bool {
        Self::change(self, id, change)
    }

    fn api_manual(&self) -> ApiManual {
        ApiManual {
            device: Some(json!({"id": "bob-web", "platform": "web"})),
            device_fields: json!({
                "id": "the id of the device; a new device replaces the one with the same id",
                "platform": "web | android | ios",
                "answer": "id, platform, token (registration token), fid (Firebase installation id)",
            }),
            own_routes: json!({}),
        }
    }

    fn verbs(&self) -> Value {
        json!({"revoke_bearers": {}, "bearer_life": {"announced_s": 3599, "real_s": 3599}, "age_bearers": {"by_s": 3600}})
    }

    fn run_verb(&self, name: &str, body: Value) -> Option<Result<(), String>> {
        Some(match name {
            "revoke_bearers" => {
                self.revoke_bearers();
                Ok(())
            }
            "bearer_life" => serde_json::from_value(body)
                .map(|lifetime| self.set_bearer_lifetime(lifetime))
                .map_err(|e| e.to_string()),
            "age_bearers" => match body["by_s"].as_u64() {
                Some(seconds) => {
                    self.age_bearers(Duration::from_secs(seconds));
                    Ok(())
                }
                None => Err("by_s must be a number of seconds".to_owned()),
            },
            _ => return None,
        })
    }
}
