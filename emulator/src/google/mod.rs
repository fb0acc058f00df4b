//! Google as FCM's callers see it: the token endpoint and `messages:send`, and what stands behind them.

mod answer;
mod bearers;
mod check;
mod condition;
mod device;
mod send;
mod token;
mod topic;

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Error;
use crate::desk::{Desk, Manual};
use crate::event::{Event, What};
use crate::fault::{Fault, Goaway, Where};
use crate::mailbox::{Change, Shown, State};
use crate::rig::{Rig, Site};
use crate::wire::{Asked, Reply};
pub use bearers::BearerLife;
use bearers::Bearers;
use device::Devices;
pub use device::{Device, Platform};
pub(crate) use device::{Relay, shown};
pub(crate) use token::form;

/// The names under which the service is asked, beside those of Web Push.
pub(crate) const HOSTS: [&str; 2] = ["oauth2.googleapis.com", "iid.googleapis.com"];

/// A Firebase project with its devices.
pub struct Vendor {
    project: String,
    token_uri: String,
    key: KeyPair,
    key_id: String,
    bearers: Bearers,
    devices: Devices,
    rig: Rig,
}

impl Vendor {
    pub(crate) fn new(project: &str, url: &str, rig: Rig) -> Result<Self, Error> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|e| Error::new("making a key", e))?;
        Ok(Self {
            project: project.to_owned(),
            token_uri: format!("{url}/token"),
            key,
            key_id: uuid::Uuid::now_v7().simple().to_string(),
            bearers: Bearers::default(),
            devices: Devices::default(),
            rig,
        })
    }

    fn email(&self) -> String {
        format!("pushgate@{}.iam.gserviceaccount.com", self.project)
    }

    pub(crate) fn service_account_json(&self) -> String {
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&self.key).map(|der| STANDARD.encode(der.as_ref()));
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", der.unwrap_or_default());
        json!({
            "type": "service_account", "project_id": self.project, "private_key_id": self.key_id,
            "private_key": pem, "client_email": self.email(), "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": self.token_uri,
        })
        .to_string()
    }

    /// A new virtual device; it takes the place of one of the same name. None when no keys could be made.
    pub fn add_device(&self, id: &str, platform: Platform) -> Option<Device> {
        self.devices.add(id, platform)
    }

    /// A device that is no virtual one: its pushes go where the relay takes them.
    pub(crate) fn adopt(&self, device: Device, relay: Relay) {
        self.devices.adopt(device, relay);
    }

    /// The names and platforms of the devices.
    #[must_use]
    pub fn devices(&self) -> Vec<(String, Platform)> {
        self.devices.all().iter().map(|one| (one.device.id.clone(), one.device.platform)).collect()
    }

    /// What a device shows, newest first, at most the last 1,000.
    #[must_use]
    pub fn inbox(&self, id: &str) -> Option<Vec<Shown>> {
        self.devices.named(id).map(|one| one.mailbox.inbox())
    }

    /// Changes a device: offline, its pushes are kept as their TTL and collapse key say, and shown when it is online again;
    /// muted, they are taken and not shown; not registered, its token is dead. Whether there is such a device.
    pub fn change(&self, id: &str, change: Change) -> bool {
        let Some(device) = self.devices.named(id) else { return false };
        let told = device.mailbox.change(&change, self.rig.clock.now_ms());
        told.into_iter().for_each(|what| self.rig.tell(what));
        true
    }

    /// How a device is.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<State> {
        self.devices.named(id).map(|one| one.mailbox.state())
    }

    /// The app is removed from the device: its token is dead from now on.
    pub fn unregister(&self, id: &str) -> bool {
        self.change(id, Change { registered: Some(false), ..Change::default() })
    }

    /// The device is reached from now on. Whether there is such a device.
    pub fn set_online(&self, id: &str) -> bool {
        self.change(id, Change { online: Some(true), ..Change::default() })
    }

    /// The device is not reached from now on. Whether there is such a device.
    pub fn set_offline(&self, id: &str) -> bool {
        self.change(id, Change { online: Some(false), ..Change::default() })
    }

    /// Every bearer given out so far is refused from now on.
    pub fn revoke_bearers(&self) {
        self.bearers.revoke();
    }

    /// How long bearers live that are given out from now on.
    pub fn bearer_life(&self, life: BearerLife) {
        self.bearers.life(life);
    }

    /// Every bearer given out so far is older by so much.
    pub fn age_bearers(&self, by: Duration) {
        self.bearers.age(by);
    }

    /// Makes requests go wrong. Gives the rule's number.
    pub fn fail(&self, fault: Fault) -> u64 {
        self.rig.fail(fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.rig.faults.clear();
    }

    /// How many streams every connection carries at most, the living ones and those to come.
    pub fn limit_streams(&self, streams: u32) {
        self.rig.limit_streams(streams);
    }

    /// Tells every living connection to go away.
    pub fn send_away(&self, goaway: &Goaway) {
        self.rig.send_away(goaway);
    }

    /// How many HTTP/2 connections live.
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

impl Site for Vendor {
    fn rig(&self) -> &Rig {
        &self.rig
    }

    fn place(&self, asked: &Asked) -> Where {
        match asked.head.uri.path() {
            "/token" => Where::Token,
            path if path.starts_with("/iid/") => Where::Manage,
            _ => Where::Send,
        }
    }

    fn names(&self, asked: &Asked) -> Vec<String> {
        let request: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let message = &request["message"];
        let Some(key) = message["token"].as_str().or_else(|| message["fid"].as_str()) else {
            return Vec::new();
        };
        let device = self.devices.addressed(key).map(|one| one.device.id.clone());
        device.into_iter().chain([key.to_owned()]).collect()
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.head.uri.path();
        let project = path.strip_prefix("/v1/projects/").and_then(|rest| rest.strip_suffix("/messages:send"));
        match (asked.head.method.as_str(), path, project) {
            ("POST", "/token", _) => {
                let reply = self.token(&asked.body);
                self.rig.tell(What::Token { status: reply.status });
                reply
            }
            ("POST", _, Some(project)) => self.send(project, asked),
            _ if path.starts_with("/iid/") => self.instance_id(asked),
            _ => {
                let code = Some("no such path".to_owned());
                self.rig.tell(What::Send { status: 404, code, device: None });
                answer::not_found()
            }
        }
    }

    fn error(&self, asked: &Asked, status: u16, code: Option<&str>) -> Reply {
        match self.place(asked) {
            Where::Token => {
                answer::oauth(status, code.unwrap_or("internal_failure"), "An error was asked for.")
            }
            Where::Send | Where::Manage => answer::injected(status, code),
        }
    }

    fn expired(&self, _asked: &Asked) -> Reply {
        answer::unauthenticated()
    }
}

impl Desk for Vendor {
    fn add(&self, wish: Value) -> Result<Value, String> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wish {
            id: String,
            platform: Platform,
        }
        let Wish { id, platform } = serde_json::from_value(wish).map_err(|error| error.to_string())?;
        let device = self.add_device(&id, platform).ok_or("no keys could be made")?;
        Ok(json!(device))
    }

    fn list(&self) -> Vec<Value> {
        let one = |d: &std::sync::Arc<device::Installed>| json!({"id": d.device.id, "kind": d.device.platform, "state": d.mailbox.state()});
        self.devices.all().iter().map(one).collect()
    }

    fn shown(&self, id: &str) -> Option<Vec<Shown>> {
        self.inbox(id)
    }

    fn change(&self, id: &str, change: Change) -> bool {
        Self::change(self, id, change)
    }

    fn manual(&self) -> Manual {
        Manual {
            device: Some(json!({"id": "bob-web", "platform": "web"})),
            device_fields: json!({
                "id": "the name of the device; a new one takes the place of an old one",
                "platform": "web | android | ios",
                "answer": "id, platform, token (registration token), fid (Firebase installation id)",
            }),
            more: json!({}),
        }
    }

    fn verbs(&self) -> Value {
        json!({"revoke_bearers": {}, "bearer_life": {"announced_s": 3599, "real_s": 3599}, "age_bearers": {"by_s": 3600}})
    }

    fn verb(&self, name: &str, body: Value) -> Option<Result<(), String>> {
        Some(match name {
            "revoke_bearers" => {
                self.revoke_bearers();
                Ok(())
            }
            "bearer_life" => {
                serde_json::from_value(body).map(|life| self.bearer_life(life)).map_err(|e| e.to_string())
            }
            "age_bearers" => match body["by_s"].as_u64() {
                Some(seconds) => {
                    self.age_bearers(Duration::from_secs(seconds));
                    Ok(())
                }
                None => Err("by_s: seconds are wanted".to_owned()),
            },
            _ => return None,
        })
    }
}
