//! APNs as application servers see it: HTTP/2 only, provider tokens or certificates, the rules of Apple's reference,
//! and virtual devices behind it.
//! Where Apple's documentation is silent, [`AppleRules`] selects the behaviour.

mod auth;
mod broadcast;
mod control;
mod device;
mod push_type;
mod reason;
mod rules;
mod server;
mod validation;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rcgen::{CustomExtension, DnType};

use crate::Error;
use crate::event::{Event, EventKind};
use crate::fault::{Fault, Goaway};
use crate::inbox::{DeviceChange, DeviceState, ShownNotification};
use crate::service::ServiceContext;
use crate::tls::Authority;
use auth::Credentials;
pub use auth::{ApnsKey, CredentialScope};
use broadcast::Channels;
use device::Devices;
pub use device::{ApnsDevice, Environment};
pub use push_type::PushType;
pub use rules::{AppleRules, MissingPushType, TokenComparison, WrongSuffix};
pub(crate) use server::ApnsServer;

/// Host names of the service.
pub(crate) const HOSTS: [&str; 5] = [
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "api.development.push.apple.com",
    "api-manage-broadcast.push.apple.com",
    "api-manage-broadcast.sandbox.push.apple.com",
];
/// Concurrent streams that the service has been seen to allow on a connection.
pub(crate) const MAX_STREAMS: u32 = 1000;

/// Id of the team. Constant, so that an existing gateway configuration stays valid.
const TEAM_ID: &str = "PUSHGATE01";
/// Id of the team's first key. Constant for the same reason.
const KEY_ID: &str = "EMULATOR01";

/// Emulated APNs for one app of one team, in both environments.
pub struct Apns {
    bundle: String,
    team: String,
    urls: [String; 2],
    authority: Arc<Authority>,
    key: ApnsKey,
    certificate: String,
    credentials: Credentials,
    devices: Devices,
    channels: Channels,
    rules: Mutex<AppleRules>,
    context: ServiceContext,
}

impl Apns {
    /// Returns an APNs without devices. `urls` are the base URLs of production and sandbox.
    pub(crate) fn new(
        bundle: &str,
        urls: [String; 2],
        authority: Arc<Authority>,
        context: ServiceContext,
    ) -> Result<Self, Error> {
        let credentials = Credentials::default();
        let key = credentials
            .issue_key_with_id(KEY_ID.to_owned(), CredentialScope::default())
            .ok_or_else(|| Error::new("generating a key", "no randomness"))?;
        let mut apns = Self {
            bundle: bundle.to_owned(),
            team: TEAM_ID.to_owned(),
            urls,
            authority,
            key,
            certificate: String::new(),
            credentials,
            devices: Devices::default(),
            channels: Channels::default(),
            rules: Mutex::default(),
            context,
        };
        apns.certificate = apns.certificate_for(bundle)?;
        Ok(apns)
    }

    /// Returns the base URL of the production environment.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Returns the base URL of the sandbox.
    #[must_use]
    pub fn sandbox_url(&self) -> &str {
        &self.urls[1]
    }

    /// Returns the app's bundle id. The topic of a push is this id and the suffix of its push type.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.bundle
    }

    /// Returns the id of the team.
    #[must_use]
    pub fn team_id(&self) -> &str {
        &self.team
    }

    /// Returns the team's key, valid for both environments and all of its topics.
    #[must_use]
    pub const fn key(&self) -> &ApnsKey {
        &self.key
    }

    /// Issues another key of the team with this scope. `None` if the machine provides no randomness.
    pub fn issue_key(&self, scope: CredentialScope) -> Option<ApnsKey> {
        self.credentials.issue_key(scope)
    }

    /// Revokes a key. Returns `true` if the key existed.
    pub fn revoke_key(&self, id: &str) -> bool {
        self.credentials.revoke_key(id)
    }

    /// Returns a push certificate of the app with its private key, in PEM. It is valid for both environments.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// Issues a push certificate for any app. Returns it with its private key, in PEM.
    ///
    /// # Errors
    /// [`Error::Other`] if it cannot be signed.
    pub fn certificate_for(&self, bundle: &str) -> Result<String, Error> {
        let topics: Vec<_> = ["", ".voip", ".complication", ".pushkit.fileprovider", ".voip-ptt"]
            .map(|suffix| format!("{bundle}{suffix}"))
            .into();
        // Apple's certificates contain the bundle id as UID, a mark for each environment, and the list of topics.
        let uid = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]);
        let name = [(uid, bundle), (DnType::CommonName, &format!("Apple Push Services: {bundle}"))];
        let apple_extension = |number: u64, content| {
            CustomExtension::from_oid_content(&[1, 2, 840, 113_635, 100, 6, 3, number], content)
        };
        let extensions = vec![
            apple_extension(1, vec![5, 0]),
            apple_extension(2, vec![5, 0]),
            apple_extension(6, topic_list(&topics)),
        ];
        let issued = self
            .authority
            .issue_client_certificate(&name, extensions)
            .map_err(|e| Error::new("issuing a certificate", e))?;
        self.credentials.register_certificate(
            &issued.der,
            bundle,
            CredentialScope { environment: None, topics: Some(topics) },
        );
        Ok(issued.pem)
    }

    /// Revokes every certificate.
    pub fn revoke_certificates(&self) {
        self.credentials.revoke_certificates();
    }

    /// Forgets the provider tokens that the keys have used. Each key may use another one at once.
    pub fn forget_provider_tokens(&self) {
        self.credentials.forget_tokens();
    }

    /// Returns the current rules.
    #[must_use]
    pub fn rules(&self) -> AppleRules {
        *self.rules.lock()
    }

    /// Sets the rules.
    pub fn set_rules(&self, rules: AppleRules) {
        *self.rules.lock() = rules;
    }

    /// Adds a virtual device, or replaces the one with this id.
    pub fn add_device(&self, id: &str, environment: Environment) -> ApnsDevice {
        self.devices.add(id, environment)
    }

    /// Returns the token of a device for a push type. Push types with the same topic share a token. `None` if the
    /// device is unknown.
    #[must_use]
    pub fn token(&self, id: &str, kind: PushType) -> Option<String> {
        self.devices.find_by_id(id).map(|device| self.devices.token(&device, kind))
    }

    /// Returns the notifications that a device shows, newest first, at most the last 1,000. `None` if the device is
    /// unknown.
    #[must_use]
    pub fn inbox(&self, id: &str) -> Option<Vec<ShownNotification>> {
        self.devices.find_by_id(id).map(|device| device.inbox.notifications())
    }

    /// Changes the state of a device. Returns `true` if the device exists.
    ///
    /// The newest push for an offline device is stored until it expires. Pushes for a muted device are accepted and not
    /// shown. The app of an unregistered device is removed at the current time.
    pub fn change(&self, id: &str, change: DeviceChange) -> bool {
        let Some(device) = self.devices.find_by_id(id) else { return false };
        let now_ms = self.context.clock.now_ms();
        if change.registered == Some(false) {
            *device.unregistered_at_ms.lock() = now_ms;
        }
        let events = device.inbox.change(&change, now_ms);
        events.into_iter().for_each(|event| self.context.record(event));
        true
    }

    /// Returns the state of a device. `None` if the device is unknown.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<DeviceState> {
        self.devices.find_by_id(id).map(|device| device.inbox.state())
    }

    /// Removes the app from a device as of the time `at`. Returns `true` if the device exists.
    pub fn unregister_since(&self, id: &str, at: SystemTime) -> bool {
        let is_known = self.change(id, DeviceChange { registered: Some(false), ..DeviceChange::default() });
        let since_ms = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        if let Some(device) = self.devices.find_by_id(id) {
            *device.unregistered_at_ms.lock() = u64::try_from(since_ms).unwrap_or(u64::MAX);
        }
        is_known
    }

    /// Connects a device. Returns `true` if the device exists.
    pub fn set_online(&self, id: &str) -> bool {
        self.change(id, DeviceChange { online: Some(true), ..DeviceChange::default() })
    }

    /// Disconnects a device. Returns `true` if the device exists.
    pub fn set_offline(&self, id: &str) -> bool {
        self.change(id, DeviceChange { online: Some(false), ..DeviceChange::default() })
    }

    /// Subscribes the device's Live Activity to a broadcast channel. Returns `true` if the device exists.
    pub fn follow(&self, id: &str, channel: &str) -> bool {
        self.devices
            .find_by_id(id)
            .map(|device| device.followed_channels.lock().push(channel.to_owned()))
            .is_some()
    }

    /// Adds a fault rule and returns its number.
    pub fn add_fault(&self, fault: Fault) -> u64 {
        self.context.add_fault(fault)
    }

    /// Removes all fault rules and resumes stalled connections.
    pub fn clear_faults(&self) {
        self.context.faults.clear();
        self.context.connections.resume();
    }

    /// Sets the maximum of concurrent streams for open and future connections. It applies to a connection once its
    /// sender is authorised.
    pub fn set_stream_limit(&self, streams: u32) {
        self.context.set_stream_limit(streams);
    }

    /// Stops reading bodies on all connections: the flow-control window is 0, and no WINDOW_UPDATE follows.
    pub fn stall(&self) {
        self.context.connections.stall();
    }

    /// Reads bodies again after [`Apns::stall`].
    pub fn resume(&self) {
        self.context.connections.resume();
    }

    /// Sends GOAWAY on every open connection.
    pub fn send_goaway(&self, goaway: &Goaway) {
        self.context.send_goaway(goaway);
    }

    /// Returns the number of open connections.
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

/// Returns the list of topics in the DER form of Apple's certificates: each topic and its kind.
fn topic_list(topics: &[String]) -> Vec<u8> {
    let tagged = |tag: u8, content: &[u8]| {
        let mut der = vec![tag];
        match u8::try_from(content.len()) {
            Ok(length @ 0..=127) => der.push(length),
            Ok(length) => der.extend_from_slice(&[0x81, length]),
            Err(_) => {
                der.push(0x82);
                der.extend_from_slice(&u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        der.extend_from_slice(content);
        der
    };
    let entries = topics.iter().map(|topic| {
        let kind = topic.rsplit('.').next().filter(|last| *last == "voip" || *last == "complication");
        let kind = tagged(0x30, &tagged(0x0c, kind.unwrap_or("app").as_bytes()));
        [tagged(0x0c, topic.as_bytes()), kind].concat()
    });
    tagged(0x30, &entries.collect::<Vec<_>>().concat())
}
