//! Emulated push services on loopback: as strict as the real ones, with faults on demand and virtual devices.
//!
//! The emulator shares no code with the channels, so that neither can hide a mistake of the other. It keeps everything
//! in memory and serves on loopback only.

mod browsers;
mod clock;
mod control;
mod event;
mod fault;
mod inbox;
mod output;
mod push_crypto;
mod service;
mod services;
mod startup;
mod tls;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub use browsers::Browsers;
pub use event::{DropReason, Event, EventKind};
pub use fault::{AfterGoaway, Effect, EndpointKind, Fault, Goaway, LastStream, RetryAfter, Share};
pub use inbox::{DeviceChange, DeviceState, ShownNotification};
pub use output::ConfigurationFile;
pub use push_crypto::DecryptionError;
pub use services::apns::{
    Apns, ApnsDevice, ApnsKey, AppleRules, CredentialScope, Environment, MissingPushType, PushType,
    TokenComparison, WrongSuffix,
};
pub use services::fcm::{BearerLifetime, Fcm, FcmDevice, Platform};
pub use services::web_push::{
    InvalidKey, ReceivedPush, Subscription, SubscriptionKeys, Urgency, WebPush, WebPushService,
};

use clock::Clock;
use control::ControlPort;
use output::VapidKeyPair;
use startup::{BoundPort, GooglePort, Startup};
use tls::Authority;

/// Options of [`Emulator::start`]. The default takes free ports and writes no files.
#[derive(Debug, Clone)]
pub struct Options {
    /// HTTPS port of the push services, except Apple's. 0 takes a free one.
    pub port: u16,
    /// Port of the control API and the inbox page. 0 takes a free one.
    pub control_port: u16,
    /// Port of the push connection of real browsers (MCS). 0 takes a free one. A browser without switches uses 5228.
    pub mcs_port: u16,
    /// Directory for the CA, the credentials and a gateway configuration. `None` writes nothing. Credentials are new at
    /// each start, and an existing configuration is kept.
    pub directory: Option<PathBuf>,
    /// Port of APNs in production. 0 takes a free one.
    pub apple_port: u16,
    /// Port of APNs for development (sandbox). 0 takes a free one.
    pub sandbox_port: u16,
    /// Behaviour of APNs where Apple's documentation is silent or ambiguous.
    pub apple_rules: AppleRules,
    /// Id of the emulated Firebase project.
    pub project: String,
    /// Bundle id of the iOS app that APNs serves.
    pub bundle: String,
    /// Seed of the random choice which requests a fault with a share hits. The same seed hits the same requests.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            control_port: 0,
            mcs_port: 0,
            directory: None,
            apple_port: 0,
            sandbox_port: 0,
            apple_rules: AppleRules::default(),
            project: "demo".to_owned(),
            bundle: "com.example.demo".to_owned(),
            seed: 0,
        }
    }
}

/// Error of [`Emulator::start`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port could not be opened.
    #[error(
        "port {port} cannot be opened: {source}; choose another one with --{flag} (Options::{option}), or 0 for a free one"
    )]
    Port {
        /// Number of the port.
        port: u16,
        /// Field of [`Options`] that sets the port.
        option: &'static str,
        /// Flag of `pushgate emulate` that sets the port, without its dashes.
        flag: String,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A step of the start failed.
    #[error("the emulator failed to start while {step}: {source}")]
    Other {
        /// The step, as in "writing its directory".
        step: &'static str,
        /// Cause of the failure.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    fn new(step: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other { step, source: source.into() }
    }
}

/// Running emulator. It stops when dropped.
pub struct Emulator {
    fcm: Arc<Fcm>,
    web_push: Arc<WebPush>,
    browsers: Arc<Browsers>,
    mcs_address: SocketAddr,
    apns: Arc<Apns>,
    clock: Clock,
    address: SocketAddr,
    control_address: SocketAddr,
    authority: Arc<Authority>,
    vapid: VapidKeyPair,
    configuration: Option<ConfigurationFile>,
    tasks: JoinSet<()>,
}

impl Emulator {
    /// Starts an emulator on loopback. All ports are open and all files are written when this returns.
    ///
    /// # Errors
    /// [`Error::Port`] if a port cannot be opened. [`Error::Other`] if keys or certificates cannot be generated, or if
    /// the directory cannot be written.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let port = BoundPort::open(options.port, "port").await?;
        let control = BoundPort::open(options.control_port, "control_port").await?;
        let mcs = BoundPort::open(options.mcs_port, "mcs_port").await?;
        let production = BoundPort::open(options.apple_port, "apple_port").await?;
        let sandbox = BoundPort::open(options.sandbox_port, "sandbox_port").await?;
        let (address, control_address, mcs_address) = (port.address, control.address, mcs.address);
        let mut startup = Startup::new(options.seed)?;
        let GooglePort { fcm, web_push, browsers } = startup.serve_google(&options.project, port, mcs)?;
        let apns = startup.serve_apple(&options.bundle, [production, sandbox])?;
        apns.set_rules(options.apple_rules);
        let started = startup.finish(ControlPort {
            listener: control.listener,
            address: control_address,
            guarded_routes: services::web_push::control::routes(Arc::clone(&web_push)),
            browser_routes: browsers::autopush::routes(Arc::clone(&browsers)),
        });
        let vapid =
            VapidKeyPair::generate().ok_or_else(|| Error::new("generating a VAPID key", "no randomness"))?;
        let mut emulator = Self {
            fcm,
            web_push,
            browsers,
            mcs_address,
            apns,
            clock: started.clock,
            address,
            control_address,
            authority: started.authority,
            vapid,
            configuration: None,
            tasks: started.tasks,
        };
        if let Some(directory) = options.directory {
            let file = output::write(&emulator, &directory);
            emulator.configuration = Some(file.map_err(|e| Error::new("writing its directory", e))?);
        }
        // Comes last, so that the files exist when the control API first responds.
        emulator.tasks.spawn(started.control_api);
        Ok(emulator)
    }

    /// Returns the base URL of FCM and the Web Push services: HTTPS with a certificate of the emulator's own authority.
    #[must_use]
    pub fn url(&self) -> String {
        https(self.address)
    }

    /// Returns the URL of the control API and the inbox page: plain HTTP.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control_address)
    }

    /// Returns the address of the push connection of real browsers (MCS over TLS), in the form of `--gcm-mcs-endpoint`.
    #[must_use]
    pub fn mcs_url(&self) -> String {
        format!("https://{}", self.mcs_address)
    }

    /// Returns the URL for Firefox's `dom.push.serverURL`: autopush over WebSocket, without TLS on loopback.
    #[must_use]
    pub fn autopush_url(&self) -> String {
        format!("ws://{}/autopush", self.control_address)
    }

    /// Returns the command-line switches that point a Chromium to this emulator. A page's `subscribe()` and the
    /// Firebase SDK then work without an account.
    ///
    /// Chromium also needs a real profile (`--user-data-dir`). It needs a network interface beside loopback, too:
    /// otherwise it considers itself offline and never opens the push connection. Its endpoints name Google's hosts.
    /// This emulator serves the requests for those hosts.
    #[must_use]
    pub fn chromium_switches(&self) -> Vec<String> {
        browsers::chromium_switches(self.address, self.mcs_address, &self.authority.key_pin())
    }

    /// Returns the certificate of the emulator's authority, in PEM. Clients must trust it.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority.ca_pem
    }

    /// Returns a service account of the project as JSON, in the format of the Firebase console.
    #[must_use]
    pub fn service_account_json(&self) -> String {
        self.fcm.service_account_json()
    }

    /// Returns the emulated FCM: devices, faults, events.
    #[must_use]
    pub fn fcm(&self) -> &Arc<Fcm> {
        &self.fcm
    }

    /// Returns the service side of real browsers that connect to this emulator.
    #[must_use]
    pub fn browsers(&self) -> &Arc<Browsers> {
        &self.browsers
    }

    /// Returns the emulated Web Push services: subscriptions, faults, events.
    #[must_use]
    pub fn webpush(&self) -> &Arc<WebPush> {
        &self.web_push
    }

    /// Returns the emulated APNs: keys and certificates, devices, faults, events.
    #[must_use]
    pub fn apns(&self) -> &Arc<Apns> {
        &self.apns
    }

    /// Returns the VAPID public key of the written gateway configuration, in base64url. Pages subscribe with it
    /// (`applicationServerKey`).
    #[must_use]
    pub fn vapid_public_key(&self) -> &str {
        &self.vapid.public
    }

    /// Returns what happened to the gateway configuration at the start. `None` if no directory was given.
    #[must_use]
    pub const fn configuration(&self) -> Option<ConfigurationFile> {
        self.configuration
    }

    /// Returns name and address of each listener, for display.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<(&'static str, String)> {
        vec![
            ("services", self.url()),
            ("browsers", self.mcs_url()),
            ("APNs", self.apns.url().to_owned()),
            ("  sandbox", self.apns.sandbox_url().to_owned()),
            ("inbox page", self.control_url()),
        ]
    }

    /// Advances the time of all push services. Bearers age, and pushes stored for offline devices expire. The time
    /// cannot be set back.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn https(address: SocketAddr) -> String {
    format!("https://{address}")
}
