//! The vendors on loopback: strict as the real ones, with faults on demand and virtual devices.
//!
//! Shares no code with the channels, so that one cannot hide the other's mistake. Everything is in memory and on loopback.

mod apns;
mod browser;
mod clock;
mod control;
mod desk;
mod event;
mod fault;
mod google;
mod guard;
mod mailbox;
mod push_crypto;
mod rig;
mod start;
mod tls;
mod webpush;
mod wire;
mod written;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub use apns::{
    Apns, Environment, Key, MissingPushType, Phone, PushType, Rules, SameToken, Scope, WrongSuffix,
};
pub use browser::Browsers;
pub use event::{Event, What, Why};
pub use fault::{Effect, Fault, Goaway, Last, RetryAfter, Share, Then, Where};
pub use google::{BearerLife, Device, Platform, Vendor};
pub use mailbox::{Change, Shown, State};
pub use push_crypto::Unreadable;
pub use webpush::{BadKey, Keys, Push, Service, Subscription, Urgency, WebPush};

use clock::Clock;
use control::ControlPort;
use start::{Google, Opening, bind};
use tls::Authority;
pub use written::Configuration;
use written::Vapid;

/// How an emulator is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port of the vendor side; 0 takes a free one.
    pub port: u16,
    /// Port of control API and inbox page; 0 takes a free one.
    pub control_port: u16,
    /// Port of the push connection of real browsers; 0 takes a free one. Browsers that know no better want 5228.
    pub mcs_port: u16,
    /// Where CA, credentials and a configuration for the gateway are written; `None` writes nothing. Credentials are new at each
    /// start; a configuration that is there already is kept.
    pub directory: Option<PathBuf>,
    /// Port of Apple's push service; 0 takes a free one.
    pub apple_port: u16,
    /// Port of Apple's push service for development (sandbox); 0 takes a free one.
    pub sandbox_port: u16,
    /// What Apple's push service does where Apple's documents leave room.
    pub apple_rules: Rules,
    /// The Firebase project it plays.
    pub project: String,
    /// The bundle id of the app it plays APNs for.
    pub bundle: String,
    /// What decides which requests a fault of a share hits; the same seed hits the same ones.
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
            apple_rules: Rules::default(),
            project: "demo".to_owned(),
            bundle: "com.example.demo".to_owned(),
            seed: 0,
        }
    }
}

/// Why an emulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port cannot be opened.
    #[error(
        "port {port} cannot be opened: {source}; choose another one with --{flag} (Options::{option}), or 0 for a free one"
    )]
    Port {
        /// The port.
        port: u16,
        /// The field of [`Options`] that it comes from.
        option: &'static str,
        /// The flag of `pushgate emulate` that sets it, without its dashes.
        flag: String,
        /// Why it cannot be opened.
        source: std::io::Error,
    },
    /// Anything else.
    #[error("the emulator cannot start while {doing}: {source}")]
    Other {
        /// What it was about to do.
        doing: &'static str,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    fn new(doing: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other { doing, source: source.into() }
    }
}

/// A running emulator; stops when dropped.
pub struct Emulator {
    vendor: Arc<Vendor>,
    webpush: Arc<WebPush>,
    browsers: Arc<Browsers>,
    mcs_address: SocketAddr,
    apns: Arc<Apns>,
    clock: Clock,
    address: SocketAddr,
    control_address: SocketAddr,
    authority: Arc<Authority>,
    vapid: Vapid,
    configuration: Option<Configuration>,
    tasks: JoinSet<()>,
}

impl Emulator {
    /// Starts on loopback.
    ///
    /// # Errors
    /// When a port is taken, or the directory cannot be written.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let port = bind(options.port, "port").await?;
        let (control, control_address) = bind(options.control_port, "control_port").await?;
        let (mcs, mcs_address) = bind(options.mcs_port, "mcs_port").await?;
        let apple = [
            bind(options.apple_port, "apple_port").await?,
            bind(options.sandbox_port, "sandbox_port").await?,
        ];
        let mut opening = Opening::new(options.seed)?;
        let address = port.1;
        let Google { vendor, webpush, browsers } = opening.google(&options.project, port, mcs)?;
        let apns = opening.apple(&options.bundle, apple)?;
        apns.set_rules(options.apple_rules);
        let (tasks, clock, authority, answering) = opening.control(ControlPort {
            listener: control,
            address: control_address,
            own: webpush::control::routes(Arc::clone(&webpush)),
            browsers: browser::autopush::routes(Arc::clone(&browsers)),
        });
        let vapid = Vapid::generate().ok_or_else(|| Error::new("making a key", "no randomness"))?;
        let mut emulator = Self {
            vendor,
            webpush,
            browsers,
            mcs_address,
            apns,
            clock,
            address,
            control_address,
            authority,
            vapid,
            configuration: None,
            tasks,
        };
        if let Some(directory) = options.directory {
            let written = written::write(&emulator, &directory);
            emulator.configuration = Some(written.map_err(|e| Error::new("writing its directory", e))?);
        }
        // Last: whoever gets an answer from the control API finds the files.
        emulator.tasks.spawn(answering);
        Ok(emulator)
    }

    /// Where the vendors are: HTTPS under its own authority.
    #[must_use]
    pub fn url(&self) -> String {
        https(self.address)
    }

    /// Where control API and inbox page are: plain HTTP.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control_address)
    }

    /// Where real browsers keep their push connection: MCS over TLS, as `--gcm-mcs-endpoint` wants it.
    #[must_use]
    pub fn mcs_url(&self) -> String {
        format!("https://{}", self.mcs_address)
    }

    /// What a Firefox has its push connection with (`dom.push.serverURL`): autopush over WebSocket, without TLS on loopback.
    #[must_use]
    pub fn autopush_url(&self) -> String {
        format!("ws://{}/autopush", self.control_address)
    }

    /// What to start a Chromium with so that its pushes come from here: `subscribe()` of a page and the Firebase SDK work, with
    /// no account. It also needs a real profile (`--user-data-dir`), and a network interface beside loopback, or it thinks itself
    /// offline and never opens the push connection. The endpoints it gives name Google's hosts; this emulator answers for them.
    #[must_use]
    pub fn chromium_switches(&self) -> Vec<String> {
        browser::switches(self.address, self.mcs_address, &self.authority.key_pin())
    }

    /// The authority to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.authority.ca_pem
    }

    /// A service account of the project, as the Firebase console gives it out.
    #[must_use]
    pub fn service_account_json(&self) -> String {
        self.vendor.service_account_json()
    }

    /// The vendor behind it: devices, faults, events.
    #[must_use]
    pub fn vendor(&self) -> &Arc<Vendor> {
        &self.vendor
    }

    /// The real browsers that have found the way here.
    #[must_use]
    pub fn browsers(&self) -> &Arc<Browsers> {
        &self.browsers
    }

    /// The Web Push services behind it: subscriptions, faults, events.
    #[must_use]
    pub fn webpush(&self) -> &Arc<WebPush> {
        &self.webpush
    }

    /// Apple's push service behind it: keys and certificates, iPhones, faults, events.
    #[must_use]
    pub fn apns(&self) -> &Arc<Apns> {
        &self.apns
    }

    /// The key that pages subscribe with for the gateway of the written configuration, in base64url (`applicationServerKey`).
    #[must_use]
    pub fn vapid_public_key(&self) -> &str {
        &self.vapid.public
    }

    /// What became of the configuration for the gateway. `None` if it was started without a directory.
    #[must_use]
    pub const fn configuration(&self) -> Option<Configuration> {
        self.configuration
    }

    /// What it plays, and where, for somebody to read.
    #[must_use]
    pub fn places(&self) -> Vec<(&'static str, String)> {
        vec![
            ("vendors", self.url()),
            ("browsers", self.mcs_url()),
            ("APNs", self.apns.url().to_owned()),
            ("  sandbox", self.apns.sandbox_url().to_owned()),
            ("inbox page", self.control_url()),
        ]
    }

    /// Lets time go by for the vendors: bearers grow old, what is kept for offline devices expires. It never comes back.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn https(address: SocketAddr) -> String {
    format!("https://{address}")
}
