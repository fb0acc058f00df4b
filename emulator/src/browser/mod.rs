//! Google's side of real browsers: check-in, registration, the push connection, and the REST services of the Firebase SDK. A
//! Chromium that is pointed here subscribes and gets its pushes as it would from Google; its tokens are devices of
//! `messages:send`, its endpoints are served by the Web Push side.

pub(crate) mod autopush;
mod checkin;
mod firebase;
mod installations;
mod letters;
mod mcs;
mod post;
mod protobuf;
mod register;
mod registrations;
mod switches;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::desk::{Desk, Manual};
use crate::event::{Event, What};
use crate::fault::{Fault, Where};
use crate::google::Vendor;
use crate::mailbox::{Change, Shown};
use crate::rig::{Rig, Site};
use crate::webpush::{self, Real, Service, WebPush};
use crate::wire::{Asked, Reply};
use installations::Installations;
use post::{Order, Parcel, Post, Registered};
use registrations::Registrations;
pub(crate) use switches::switches;

/// The names a browser asks for, beside those of Web Push.
pub(crate) const HOSTS: [&str; 4] = [
    "mtalk.google.com",
    "android.clients.google.com",
    "firebaseinstallations.googleapis.com",
    "fcmregistrations.googleapis.com",
];

/// The real browsers that have found the way here.
pub struct Browsers {
    post: Arc<Post>,
    installations: Installations,
    registrations: Registrations,
    project: String,
    vendor: Arc<Vendor>,
    webpush: Arc<WebPush>,
    rig: Arc<Rig>,
}

impl Browsers {
    pub(crate) fn new(project: &str, vendor: Arc<Vendor>, webpush: Arc<WebPush>, rig: Rig) -> Self {
        let rig = Arc::new(rig);
        let post = Arc::new(Post::new(Arc::clone(&rig)));
        let (installations, registrations) = (Installations::default(), Registrations::default());
        Self { post, installations, registrations, project: project.to_owned(), vendor, webpush, rig }
    }

    /// Their names, and whether each is connected.
    #[must_use]
    pub fn devices(&self) -> Vec<(String, bool)> {
        self.post.devices()
    }

    /// Says good-bye to every connected browser. How many there were. One that logged in less than 10 s ago waits 20 to 50 s
    /// before it comes back; an older one comes back at once.
    pub fn close_connections(&self) -> usize {
        self.post.order_all(Order::Close)
    }

    /// Cuts every browser's connection without a word. How many there were.
    pub fn cut_connections(&self) -> usize {
        self.post.order_all(Order::Cut)
    }

    /// Makes requests go wrong: check-in and installations are [`Where::Token`], registrations [`Where::Manage`]. Gives the
    /// rule's number.
    pub fn fail(&self, fault: Fault) -> u64 {
        self.rig.fail(fault)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.rig.faults.clear();
    }

    /// What has happened since event number `seq`.
    #[must_use]
    pub fn events(&self, seq: u64) -> Vec<Event> {
        self.rig.events(seq)
    }

    /// The first event that matches, whether it has happened or happens within `patience`. [`What::Arrived`] says that a
    /// browser has acknowledged a push.
    pub async fn wait_for(&self, wanted: impl Fn(&What) -> bool, patience: Duration) -> Option<Event> {
        self.rig.wait_for(wanted, patience).await
    }

    /// The push connections, until dropped.
    pub(crate) fn mcs(
        &self,
        listener: TcpListener,
        tls: Arc<ServerConfig>,
    ) -> impl Future<Output = ()> + use<> {
        mcs::serve(listener, tls, Arc::clone(&self.post))
    }

    /// Lets the service of the browser's vendor take pushes for a registration; gives the endpoint.
    fn attach(&self, service: Service, registered: &Registered, vapid_key: Vec<u8>) -> String {
        let (post, to) = (Arc::clone(&self.post), registered.token.clone());
        let relay = move |asked: &webpush::Asked| {
            let body = (!asked.body.is_empty()).then(|| asked.body.clone());
            let coding = body.is_some().then(|| ("content-encoding", "aes128gcm".to_owned()));
            let headers = coding.into_iter().collect();
            post.deliver(&to, Parcel { topic: asked.topic.clone(), headers, body, ttl: asked.ttl });
        };
        let (id, token, relay) = (registered.name.clone(), &registered.token, Arc::new(relay));
        self.webpush.attach(service, token, Real { id, vapid_key, relay })
    }

    fn firebase(&self, asked: &Asked, project: &str, path: &[&str]) -> Reply {
        let headers = &asked.head.headers;
        let method = asked.head.method.as_str();
        if method == "OPTIONS" {
            return Reply { status: 204, ..Reply::default() };
        }
        if project != self.project {
            return firebase::error(403, "PERMISSION_DENIED", "The caller does not have permission.");
        }
        match (method, path) {
            ("POST", ["installations"]) => {
                self.installations.create(project, &asked.body, self.post.now_ms())
            }
            ("POST", ["installations", fid, "authTokens:generate"]) => {
                self.installations.renew(fid, headers, self.post.now_ms())
            }
            ("DELETE", ["installations", fid]) => {
                self.unregistered(fid);
                self.installations.delete(fid)
            }
            ("POST", ["registrations"]) | ("PATCH", ["registrations", _]) => {
                self.registration(headers, &asked.body)
            }
            ("DELETE", ["registrations", id]) => self.unregistered(id),
            _ => firebase::error(404, "NOT_FOUND", "Requested entity was not found."),
        }
    }
}

/// A request's path, taken apart where it is for one of these services.
enum Place<'a> {
    CheckIn,
    Register,
    Firebase(&'a str, Vec<&'a str>),
}

fn place(asked: &Asked) -> Option<Place<'_>> {
    let path: Vec<_> = asked.head.uri.path().split('/').skip(1).collect();
    match path.as_slice() {
        ["checkin"] => Some(Place::CheckIn),
        ["c2dm", "register3"] => Some(Place::Register),
        ["v1", "projects", project, "installations" | "registrations", ..] => {
            Some(Place::Firebase(project, path[3..].to_vec()))
        }
        _ => None,
    }
}

impl Site for Browsers {
    fn rig(&self) -> &Rig {
        &self.rig
    }

    fn claims(&self, asked: &Asked) -> bool {
        place(asked).is_some()
    }

    fn place(&self, asked: &Asked) -> Where {
        match place(asked) {
            Some(Place::Register) => Where::Manage,
            Some(Place::Firebase(_, path)) if path[0] == "registrations" => Where::Manage,
            _ => Where::Token,
        }
    }

    fn names(&self, _asked: &Asked) -> Vec<String> {
        Vec::new()
    }

    fn answer(&self, asked: &Asked) -> Reply {
        match place(asked) {
            Some(Place::CheckIn) => checkin::answer(&self.post, &asked.body),
            Some(Place::Register) => self.register3(&asked.head.headers, &asked.body),
            Some(Place::Firebase(project, path)) => firebase::cors(self.firebase(asked, project, &path)),
            None => firebase::error(404, "NOT_FOUND", "Requested entity was not found."),
        }
    }

    fn error(&self, asked: &Asked, status: u16, code: Option<&str>) -> Reply {
        match place(asked) {
            // Its errors are answers like any other.
            Some(Place::Register) => {
                Reply { status, ..register::said("Error", code.unwrap_or("PHONE_REGISTRATION_ERROR")) }
            }
            Some(Place::Firebase(..)) => {
                firebase::cors(firebase::error(status, code.unwrap_or("INTERNAL"), "An error was asked for."))
            }
            _ => Reply { status, ..Reply::default() },
        }
    }

    fn expired(&self, asked: &Asked) -> Reply {
        self.error(asked, 401, Some("UNAUTHENTICATED"))
    }
}

impl Desk for Browsers {
    fn add(&self, _wish: Value) -> Result<Value, String> {
        Err("real browsers come by themselves".to_owned())
    }

    fn list(&self) -> Vec<Value> {
        let state = |online| json!({"registered": true, "online": online, "real": true});
        let one = |(id, online)| json!({"id": id, "kind": "browser", "state": state(online)});
        self.devices().into_iter().map(one).collect()
    }

    fn shown(&self, id: &str) -> Option<Vec<Shown>> {
        // What it shows, it shows itself.
        self.devices().iter().any(|(one, _)| one == id).then(Vec::new)
    }

    fn change(&self, _id: &str, _change: Change) -> bool {
        false
    }

    fn manual(&self) -> Manual {
        Manual {
            device: None,
            device_fields: json!("real browsers register by themselves; they cannot be made or changed here"),
            more: json!({}),
        }
    }

    fn verbs(&self) -> Value {
        json!({"close": {}, "cut": {}})
    }

    fn verb(&self, name: &str, _body: Value) -> Option<Result<(), String>> {
        match name {
            "close" => self.close_connections(),
            "cut" => self.cut_connections(),
            _ => return None,
        };
        Some(Ok(()))
    }
}

/// Random bytes as base64url.
fn random<const N: usize>() -> String {
    use base64::Engine as _;
    let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
