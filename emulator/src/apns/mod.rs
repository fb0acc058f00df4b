//! Apple's push service as app servers see it: strict HTTP/2, provider tokens or certificates, every rule of its reference,
//! and virtual iPhones behind it. Where Apple's documents leave room, [`Rules`] says what is done.

mod auth;
mod broadcast;
mod check;
mod desk;
mod gate;
mod phone;
mod push_type;
mod reason;
mod rules;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rcgen::{CustomExtension, DnType};

use crate::Error;
use crate::event::{Event, What};
use crate::fault::{Fault, Goaway};
use crate::mailbox::{Change, Shown, State};
use crate::rig::Rig;
use crate::tls::Authority;
use auth::Credentials;
pub use auth::{Key, Scope};
use broadcast::Channels;
pub(crate) use gate::Gate;
use phone::Phones;
pub use phone::{Environment, Phone};
pub use push_type::PushType;
pub use rules::{MissingPushType, Rules, SameToken, WrongSuffix};

/// The names the service has.
pub(crate) const HOSTS: [&str; 5] = [
    "api.push.apple.com",
    "api.sandbox.push.apple.com",
    "api.development.push.apple.com",
    "api-manage-broadcast.push.apple.com",
    "api-manage-broadcast.sandbox.push.apple.com",
];
/// As many streams as the service has been seen to allow on a connection.
pub(crate) const STREAMS: u32 = 1000;

/// The ids of the team and of its first key. The same at each start, so that a configuration which names them stays right.
const TEAM_ID: &str = "PUSHGATE01";
const KEY_ID: &str = "EMULATOR01";

/// Apple's push service for one app of one team, in both environments.
pub struct Apns {
    bundle: String,
    team: String,
    urls: [String; 2],
    authority: Arc<Authority>,
    key: Key,
    certificate: String,
    credentials: Credentials,
    phones: Phones,
    channels: Channels,
    rules: Mutex<Rules>,
    rig: Rig,
}

impl Apns {
    /// `urls`: where production and sandbox answer.
    pub(crate) fn new(
        bundle: &str,
        urls: [String; 2],
        authority: Arc<Authority>,
        rig: Rig,
    ) -> Result<Self, Error> {
        let credentials = Credentials::default();
        let key = credentials
            .key_named(KEY_ID.to_owned(), Scope::default())
            .ok_or_else(|| Error::new("making a key", "no randomness"))?;
        let mut apns = Self {
            bundle: bundle.to_owned(),
            team: TEAM_ID.to_owned(),
            urls,
            authority,
            key,
            certificate: String::new(),
            credentials,
            phones: Phones::default(),
            channels: Channels::default(),
            rules: Mutex::default(),
            rig,
        };
        apns.certificate = apns.certificate_for(bundle)?;
        Ok(apns)
    }

    /// Where production answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    /// Where the sandbox answers.
    #[must_use]
    pub fn sandbox_url(&self) -> &str {
        &self.urls[1]
    }

    /// The app's bundle id, to which the suffixes of push types are added.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.bundle
    }

    /// The team's id.
    #[must_use]
    pub fn team_id(&self) -> &str {
        &self.team
    }

    /// The team's key, good for both environments and all of its topics.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// Another key of the team, good for what the scope says. None when the machine has no randomness.
    pub fn issue_key(&self, scope: Scope) -> Option<Key> {
        self.credentials.key(scope)
    }

    /// The key is refused from now on. Whether there was one of this id.
    pub fn revoke_key(&self, id: &str) -> bool {
        self.credentials.revoke_key(id)
    }

    /// A push certificate of the app with its private key, in PEM, good for both environments.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// A push certificate with its private key, in PEM, for any app.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn certificate_for(&self, bundle: &str) -> Result<String, Error> {
        let topics: Vec<_> = ["", ".voip", ".complication", ".pushkit.fileprovider", ".voip-ptt"]
            .map(|suffix| format!("{bundle}{suffix}"))
            .into();
        // What Apple writes into them: the bundle id as UID, both environments, and the list of topics.
        let uid = DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]);
        let name = [(uid, bundle), (DnType::CommonName, &format!("Apple Push Services: {bundle}"))];
        let own = |number: u64, content| {
            CustomExtension::from_oid_content(&[1, 2, 840, 113_635, 100, 6, 3, number], content)
        };
        let extensions = vec![own(1, vec![5, 0]), own(2, vec![5, 0]), own(6, topic_list(&topics))];
        let issued =
            self.authority.issue(&name, extensions).map_err(|e| Error::new("issuing a certificate", e))?;
        self.credentials.certify(&issued.der, bundle, Scope { environment: None, topics: Some(topics) });
        Ok(issued.pem)
    }

    /// Every certificate is refused from now on.
    pub fn revoke_certificates(&self) {
        self.credentials.revoke_certificates();
    }

    /// Forgets which provider tokens the keys have shown: each may show another one at once.
    pub fn forget_provider_tokens(&self) {
        self.credentials.forget_tokens();
    }

    /// Returns the current rules.
    #[must_use]
    pub fn rules(&self) -> Rules {
        *self.rules.lock()
    }

    /// Sets what Apple's documents leave open.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.lock() = rules;
    }

    /// A new virtual iPhone; it takes the place of one of the same name.
    pub fn add_device(&self, id: &str, environment: Environment) -> Phone {
        self.phones.add(id, environment)
    }

    /// The token of an iPhone for any kind of push; kinds that share a topic share it.
    #[must_use]
    pub fn token(&self, id: &str, kind: PushType) -> Option<String> {
        self.phones.named(id).map(|phone| self.phones.token(&phone, kind))
    }

    /// What an iPhone shows, newest first, at most the last 1,000.
    #[must_use]
    pub fn inbox(&self, id: &str) -> Option<Vec<Shown>> {
        self.phones.named(id).map(|phone| phone.mailbox.inbox())
    }

    /// Changes an iPhone: offline, its newest push is kept until it expires; muted, pushes are taken and not shown; not
    /// registered, the app is gone since now. Whether there is such an iPhone.
    pub fn change(&self, id: &str, change: Change) -> bool {
        let Some(phone) = self.phones.named(id) else { return false };
        let now_ms = self.rig.clock.now_ms();
        if change.registered == Some(false) {
            *phone.gone_ms.lock() = now_ms;
        }
        let told = phone.mailbox.change(&change, now_ms);
        told.into_iter().for_each(|what| self.rig.tell(what));
        true
    }

    /// How an iPhone is.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<State> {
        self.phones.named(id).map(|phone| phone.mailbox.state())
    }

    /// The app is removed, and APNs has known it since `at`. Whether there is such an iPhone.
    pub fn unregister_since(&self, id: &str, at: SystemTime) -> bool {
        let known = self.change(id, Change { registered: Some(false), ..Change::default() });
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        if let Some(phone) = self.phones.named(id) {
            *phone.gone_ms.lock() = u64::try_from(since).unwrap_or(u64::MAX);
        }
        known
    }

    /// The iPhone is reached again. Whether there is such an iPhone.
    pub fn set_online(&self, id: &str) -> bool {
        self.change(id, Change { online: Some(true), ..Change::default() })
    }

    /// The iPhone is not reached. Whether there is such an iPhone.
    pub fn set_offline(&self, id: &str) -> bool {
        self.change(id, Change { online: Some(false), ..Change::default() })
    }

    /// An activity on the iPhone follows a broadcast channel. Whether there is such an iPhone.
    pub fn follow(&self, id: &str, channel: &str) -> bool {
        self.phones.named(id).map(|phone| phone.follows.lock().push(channel.to_owned())).is_some()
    }

    /// Makes requests go wrong. Gives the rule's number.
    pub fn fail(&self, fault: Fault) -> u64 {
        self.rig.fail(fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.rig.faults.clear();
        self.rig.lines.resume();
    }

    /// How many streams every connection carries at most once it has been authorised.
    pub fn limit_streams(&self, streams: u32) {
        self.rig.limit_streams(streams);
    }

    /// No body is read any more, on any connection: no window, no WINDOW_UPDATE.
    pub fn stall(&self) {
        self.rig.lines.stall();
    }

    /// Bodies are read again.
    pub fn resume(&self) {
        self.rig.lines.resume();
    }

    /// Tells every living connection to go away.
    pub fn send_away(&self, goaway: &Goaway) {
        self.rig.send_away(goaway);
    }

    /// How many connections live.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.rig.lines.count()
    }

    /// What has happened since event number `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.rig.events(seq)
    }

    /// The first event that matches, whether it has happened or happens within `patience`.
    pub async fn wait_for(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        self.rig.wait_for(wanted, patience).await
    }
}

/// The list of topics as Apple's certificates have it, in DER: each topic, and what it is for.
fn topic_list(topics: &[String]) -> Vec<u8> {
    let tagged = |tag: u8, content: &[u8]| {
        let mut all = vec![tag];
        match u8::try_from(content.len()) {
            Ok(length @ 0..=127) => all.push(length),
            Ok(length) => all.extend_from_slice(&[0x81, length]),
            Err(_) => {
                all.push(0x82);
                all.extend_from_slice(&u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        all.extend_from_slice(content);
        all
    };
    let entries = topics.iter().map(|topic| {
        let kind = topic.rsplit('.').next().filter(|last| *last == "voip" || *last == "complication");
        let kind = tagged(0x30, &tagged(0x0c, kind.unwrap_or("app").as_bytes()));
        [tagged(0x0c, topic.as_bytes()), kind].concat()
    });
    tagged(0x30, &entries.collect::<Vec<_>>().concat())
}
