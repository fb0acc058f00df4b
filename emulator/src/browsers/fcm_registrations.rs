//! FCM registrations: turn a page's push subscription into a device of `messages:send`, addressed by token or
//! installation id.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::firebase::{self, error};
use super::registry::{DeviceRegistry, PushContent};
use super::{Browsers, random_id};
use crate::push_crypto::UserAgentPublicKeys;
use crate::services::fcm::{FcmDevice, Platform, Relay};
use crate::wire::HttpResponse;

/// Default and maximum time to live of FCM in seconds: four weeks.
const MAX_TTL: u64 = 2_419_200;

/// VAPID key of the SDK, for apps without a key of their own.
const DEFAULT_VAPID_KEY: &str =
    "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4";

/// Registrations of all installations.
#[derive(Default)]
pub(super) struct FcmRegistrations(Mutex<Vec<Registration>>);

struct Registration {
    fid: String,
    token: String,
    /// Last part of the subscription's endpoint.
    endpoint_token: String,
    /// Id of the FCM device.
    device: String,
}

/// Push subscription of a page, as the SDK sends it.
struct WebSubscription {
    endpoint: String,
    public_keys: UserAgentPublicKeys,
    vapid_key: String,
}

impl WebSubscription {
    /// Parses the body of a registration. Also returns the body as JSON.
    fn parse(body: &[u8]) -> Result<(Self, Value), HttpResponse> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|_| firebase::invalid_argument("Invalid JSON payload received."))?;
        let web = &body["web"];
        let bytes = |name: &str| {
            let text = web[name].as_str().unwrap_or_default().trim_end_matches('=');
            URL_SAFE_NO_PAD.decode(text).ok()
        };
        let public = bytes("p256dh").filter(|key| key.len() == 65 && key[0] == 4);
        let auth = bytes("auth").and_then(|auth| auth.try_into().ok());
        let endpoint = web["endpoint"].as_str().filter(|endpoint| endpoint.starts_with("https://"));
        let (Some(public), Some(auth), Some(endpoint)) = (public, auth, endpoint) else {
            return Err(firebase::invalid_argument("Request contains an invalid argument: web."));
        };
        let vapid_key = web["applicationPubKey"].as_str().unwrap_or(DEFAULT_VAPID_KEY).to_owned();
        Ok((
            Self {
                endpoint: endpoint.to_owned(),
                public_keys: UserAgentPublicKeys { public, auth },
                vapid_key,
            },
            body,
        ))
    }
}

impl Browsers {
    /// Handles `POST …/registrations`, and `PATCH …/registrations/{id}` with the same body.
    pub(super) fn create_registration(&self, headers: &HeaderMap, body: &[u8]) -> HttpResponse {
        let Some(fid) = self.installations.find_fid(headers) else {
            return error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
        };
        let (web, body) = match WebSubscription::parse(body) {
            Ok(parsed) => parsed,
            Err(response) => return response,
        };
        let endpoint_token = web.endpoint.rsplit('/').next().unwrap_or_default().to_owned();
        let Some((key, name)) = self.registry.find_by_token(&endpoint_token) else {
            return firebase::invalid_argument("Request contains an invalid argument: web.endpoint.");
        };
        if key.sender.trim_end_matches('=') != web.vapid_key.trim_end_matches('=') {
            return firebase::invalid_argument(
                "Request contains an invalid argument: web.applicationPubKey.",
            );
        }
        let token = self.register_fcm_device(&fid, &endpoint_token, name, web.public_keys);
        // Newer SDKs address a registration by installation id and get no token.
        let uses_installation_id = body["fcm_sdk_version"].is_string();
        let id = if uses_installation_id { &fid } else { &token };
        let mut response =
            json!({"name": format!("projects/{}/registrations/{id}", self.project), "web": body["web"]});
        if !uses_installation_id {
            response["token"] = token.clone().into();
        }
        firebase::ok(&response)
    }

    /// Returns the registration token of an installation for this subscription. A new subscription replaces the
    /// previous one.
    fn register_fcm_device(
        &self,
        fid: &str,
        endpoint_token: &str,
        name: String,
        public_keys: UserAgentPublicKeys,
    ) -> String {
        let mut registrations = self.fcm_registrations.0.lock();
        if let Some(position) = registrations.iter().position(|registration| registration.fid == fid) {
            if registrations[position].endpoint_token == endpoint_token {
                return registrations[position].token.clone();
            }
            self.fcm.unregister(&registrations.remove(position).device);
        }
        let token = format!("{}:APA91b{}", &random_id::<17>()[..22], random_id::<100>());
        let device = format!("{name}-fcm");
        let new = FcmDevice {
            id: device.clone(),
            platform: Platform::Web,
            token: token.clone(),
            fid: fid.to_owned(),
        };
        self.fcm
            .add_real_device(new, relay(Arc::clone(&self.registry), endpoint_token.to_owned(), public_keys));
        registrations.push(Registration {
            fid: fid.to_owned(),
            token: token.clone(),
            endpoint_token: endpoint_token.to_owned(),
            device,
        });
        token
    }

    /// Handles `DELETE …/registrations/{token or installation}`.
    pub(super) fn delete_registration(&self, id: &str) -> HttpResponse {
        let mut registrations = self.fcm_registrations.0.lock();
        let matches = |registration: &Registration| registration.token == id || registration.fid == id;
        match registrations.iter().position(matches) {
            Some(position) => {
                self.fcm.unregister(&registrations.remove(position).device);
                firebase::ok(&json!({}))
            }
            None => error(404, "NOT_FOUND", "Requested entity was not found."),
        }
    }
}

/// Returns a relay that encrypts a message as FCM's web clients expect it, and queues it for the browser.
fn relay(registry: Arc<DeviceRegistry>, endpoint_token: String, public_keys: UserAgentPublicKeys) -> Relay {
    Box::new(move |push: &Value, message: &Value| {
        let Some(encrypted) = public_keys.encrypt_aesgcm(push.to_string().as_bytes()) else { return false };
        let web_headers = &message["webpush"]["headers"];
        let ttl = web_headers["TTL"].as_str().and_then(|ttl| ttl.parse().ok()).unwrap_or(MAX_TTL);
        // With padding and no other parameters, because the strictest client requires that.
        let salt = format!("salt={}", URL_SAFE.encode(encrypted.salt));
        let key = format!("dh={}", URL_SAFE.encode(&encrypted.public));
        let headers = vec![("encryption", salt), ("crypto-key", key)];
        let topic = web_headers["Topic"].as_str().map(str::to_owned);
        let (body, ttl) = (Some(encrypted.body), ttl.min(MAX_TTL));
        registry.deliver(&endpoint_token, PushContent { topic, headers, body, ttl })
    })
}
