//! FCM registrations: a page's push subscription becomes a device of `messages:send`, by token or by installation id.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Browsers;
use super::firebase::{self, error};
use super::post::{Parcel, Post};
use super::random;
use crate::google::{Device, Platform, Relay};
use crate::push_crypto::Recipient;
use crate::wire::Reply;

/// FCM's default, in seconds: four weeks.
const LONGEST_TTL: u64 = 2_419_200;

/// The SDK's own VAPID key, for apps that bring none.
const SDK_KEY: &str =
    "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4";

/// Who is registered, by installation.
#[derive(Default)]
pub(super) struct Registrations(Mutex<Vec<Registration>>);

struct Registration {
    fid: String,
    token: String,
    /// The last part of the subscription's endpoint.
    endpoint: String,
    /// The name of the device.
    device: String,
}

/// A page's subscription, as the SDK sends it.
struct Web {
    endpoint: String,
    recipient: Recipient,
    key: String,
}

impl Web {
    fn read(body: &[u8]) -> Result<(Self, Value), Reply> {
        let asked: Value =
            serde_json::from_slice(body).map_err(|_| firebase::bad("Invalid JSON payload received."))?;
        let web = &asked["web"];
        let bytes = |name: &str| {
            let text = web[name].as_str().unwrap_or_default().trim_end_matches('=');
            URL_SAFE_NO_PAD.decode(text).ok()
        };
        let public = bytes("p256dh").filter(|key| key.len() == 65 && key[0] == 4);
        let auth = bytes("auth").and_then(|auth| auth.try_into().ok());
        let endpoint = web["endpoint"].as_str().filter(|endpoint| endpoint.starts_with("https://"));
        let (Some(public), Some(auth), Some(endpoint)) = (public, auth, endpoint) else {
            return Err(firebase::bad("Request contains an invalid argument: web."));
        };
        let key = web["applicationPubKey"].as_str().unwrap_or(SDK_KEY).to_owned();
        Ok((Self { endpoint: endpoint.to_owned(), recipient: Recipient { public, auth }, key }, asked))
    }
}

impl Browsers {
    /// `POST …/registrations`, and `PATCH …/registrations/{id}` with the same body.
    pub(super) fn registration(&self, headers: &HeaderMap, body: &[u8]) -> Reply {
        let Some(fid) = self.installations.fid(headers) else {
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
        };
        let (web, asked) = match Web::read(body) {
            Ok(read) => read,
            Err(answer) => return answer,
        };
        let endpoint = web.endpoint.rsplit('/').next().unwrap_or_default().to_owned();
        let Some((address, name)) = self.post.address(&endpoint) else {
            return firebase::bad("Request contains an invalid argument: web.endpoint.");
        };
        if address.sender.trim_end_matches('=') != web.key.trim_end_matches('=') {
            return firebase::bad("Request contains an invalid argument: web.applicationPubKey.");
        }
        let token = self.enrolled(&fid, &endpoint, name, web.recipient);
        let by_installation = asked["fcm_sdk_version"].is_string();
        let id = if by_installation { &fid } else { &token };
        let mut answer =
            json!({"name": format!("projects/{}/registrations/{id}", self.project), "web": asked["web"]});
        if !by_installation {
            answer["token"] = token.clone().into();
        }
        firebase::ok(&answer)
    }

    /// The token of an installation for this subscription: the one it has, or a new one in place of an older one.
    fn enrolled(&self, fid: &str, endpoint: &str, name: String, recipient: Recipient) -> String {
        let mut all = self.registrations.0.lock();
        if let Some(place) = all.iter().position(|one| one.fid == fid) {
            if all[place].endpoint == endpoint {
                return all[place].token.clone();
            }
            self.vendor.unregister(&all.remove(place).device);
        }
        let token = format!("{}:APA91b{}", &random::<17>()[..22], random::<100>());
        let device = format!("{name}-fcm");
        let new =
            Device { id: device.clone(), platform: Platform::Web, token: token.clone(), fid: fid.to_owned() };
        self.vendor.adopt(new, relay(Arc::clone(&self.post), endpoint.to_owned(), recipient));
        all.push(Registration {
            fid: fid.to_owned(),
            token: token.clone(),
            endpoint: endpoint.to_owned(),
            device,
        });
        token
    }

    /// `DELETE …/registrations/{token or installation}`.
    pub(super) fn unregistered(&self, id: &str) -> Reply {
        let mut all = self.registrations.0.lock();
        match all.iter().position(|one| one.token == id || one.fid == id) {
            Some(place) => {
                self.vendor.unregister(&all.remove(place).device);
                firebase::ok(&json!({}))
            }
            None => error(404, "NOT_FOUND", "Requested entity was not found."),
        }
    }
}

/// Takes what `messages:send` has for the page to its browser, encrypted as FCM's clients expect it. Whether it could be done.
fn relay(post: Arc<Post>, endpoint: String, recipient: Recipient) -> Relay {
    Box::new(move |push: &Value, message: &Value| {
        let Some(sealed) = recipient.encrypt_aesgcm(push.to_string().as_bytes()) else { return false };
        let asked = &message["webpush"]["headers"];
        let ttl = asked["TTL"].as_str().and_then(|ttl| ttl.parse().ok()).unwrap_or(LONGEST_TTL);
        // Padded, and with nothing else in the header: the least patient of the clients wants it so.
        let salt = format!("salt={}", URL_SAFE.encode(sealed.salt));
        let key = format!("dh={}", URL_SAFE.encode(&sealed.public));
        let headers = vec![("encryption", salt), ("crypto-key", key)];
        let topic = asked["Topic"].as_str().map(str::to_owned);
        post.deliver(&endpoint, Parcel { topic, headers, body: Some(sealed.body), ttl: ttl.min(LONGEST_TTL) })
    })
}
