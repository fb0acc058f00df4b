//! Google as FCM's callers see it: the token endpoint and `messages:send`, and what stands behind them.

mod answer;
mod check;
mod send;
mod token;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;

use crate::Error;
use crate::device::{Device, Installed, Platform, Shown};
use crate::event::{Event, Log, What};
use crate::fault::{Effect, Fault, Faults, Where};
pub(crate) use answer::Answer;

/// A Firebase project with its devices.
pub struct Vendor {
    project: String,
    token_uri: String,
    key: KeyPair,
    key_id: String,
    bearers: Mutex<HashMap<String, SystemTime>>,
    devices: Mutex<Vec<Installed>>,
    faults: Faults,
    log: Log,
}

/// What a request meets.
pub(crate) enum Met {
    /// An answer.
    Answer(Answer),
    /// Silence.
    Hang,
    /// A reset.
    Reset,
}

impl Vendor {
    pub(crate) fn new(project: &str, url: &str) -> Result<Self, Error> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|e| Error::new("making a key", e))?;
        Ok(Self {
            project: project.to_owned(),
            token_uri: format!("{url}/token"),
            key,
            key_id: uuid::Uuid::now_v7().simple().to_string(),
            bearers: Mutex::default(),
            devices: Mutex::default(),
            faults: Faults::default(),
            log: Log::default(),
        })
    }

    fn email(&self) -> String {
        format!("pushgate@{}.iam.gserviceaccount.com", self.project)
    }

    pub(crate) fn service_account_json(&self) -> String {
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&self.key).map(|der| STANDARD.encode(der.as_ref()));
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", der.unwrap_or_default());
        serde_json::json!({
            "type": "service_account", "project_id": self.project, "private_key_id": self.key_id,
            "private_key": pem, "client_email": self.email(), "client_id": "100000000000000000001",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": self.token_uri,
        })
        .to_string()
    }

    /// A new virtual device.
    pub fn add_device(&self, id: &str, platform: Platform) -> Option<Device> {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let fid = format!("c{}", &part(&rand::random::<[u8; 16]>())[..21]);
        let token = format!("{fid}:APA91b{}", part(&rand::random::<[u8; 100]>()));
        let device = Device { id: id.to_owned(), platform, token, fid };
        let mut devices = self.devices.lock();
        devices.retain(|old| old.device.id != id);
        devices.push(Installed::new(device.clone())?);
        Some(device)
    }

    /// The names and platforms of the devices.
    #[must_use]
    pub fn devices(&self) -> Vec<(String, Platform)> {
        self.devices.lock().iter().map(|one| (one.device.id.clone(), one.device.platform)).collect()
    }

    /// What a device shows, newest first.
    #[must_use]
    pub fn inbox(&self, id: &str) -> Option<Vec<Shown>> {
        self.devices.lock().iter().find(|one| one.device.id == id).map(|one| one.inbox.clone())
    }

    /// The app is removed from the device: its token is dead from now on.
    pub fn unregister(&self, id: &str) -> bool {
        let mut devices = self.devices.lock();
        devices.iter_mut().find(|one| one.device.id == id).map(|one| one.registered = false).is_some()
    }

    /// Every bearer given out so far is refused from now on.
    pub fn revoke_bearers(&self) {
        self.bearers.lock().clear();
    }

    /// Makes the next requests go wrong. Gives the rule's number.
    pub fn fail(&self, fault: Fault) -> u64 {
        self.faults.add(fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.faults.clear();
    }

    /// What has happened since event number `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.log.after(seq)
    }

    /// The first event that matches, whether it has happened or happens within `patience`.
    pub async fn wait_for(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        self.log.wait(wanted, patience).await
    }

    pub(crate) fn answer(&self, head: &http::request::Parts, body: &[u8]) -> Met {
        let at = if head.uri.path() == "/token" { Where::Token } else { Where::Send };
        let due = self.faults.due(at);
        if let Some((rule, _)) = &due {
            self.log.add(What::Fault { rule: *rule });
        }
        match due.map(|(_, effect)| effect) {
            None => Met::Answer(self.route(head, body)),
            Some(Effect::Error { status, code, retry_after }) => {
                self.note(at, status, code.clone());
                Met::Answer(Answer::injected(status, code.as_deref()).retry_after(retry_after))
            }
            Some(Effect::Raw { status, body }) => {
                self.note(at, status, None);
                Met::Answer(Answer::raw(status, body))
            }
            Some(Effect::Redirect { status, location }) => {
                self.note(at, status, None);
                Met::Answer(Answer { location: Some(location), ..Answer::raw(status, String::new()) })
            }
            Some(Effect::Hang) => Met::Hang,
            Some(Effect::LoseAnswer) => {
                self.route(head, body);
                Met::Hang
            }
            Some(Effect::Reset) => Met::Reset,
        }
    }

    fn note(&self, at: Where, status: u16, code: Option<String>) {
        self.log.add(match at {
            Where::Token => What::Token { status },
            Where::Send => What::Send { status, code, device: None },
        });
    }

    fn route(&self, head: &http::request::Parts, body: &[u8]) -> Answer {
        let path = head.uri.path();
        match (head.method.as_str(), path) {
            ("POST", "/token") => {
                let answer = self.token(body);
                self.log.add(What::Token { status: answer.status });
                answer
            }
            ("POST", _) if path.starts_with("/v1/projects/") && path.ends_with("/messages:send") => {
                let project = &path["/v1/projects/".len()..path.len() - "/messages:send".len()];
                self.send(project, head, body)
            }
            _ => Answer::raw(404, "<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>".to_owned()),
        }
    }
}
