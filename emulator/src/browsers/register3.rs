//! `register3`: gives a device a token for a sender, or ends its registration.
//! For Web Push the sender is the VAPID key, and the token becomes the last part of the endpoint.

use http::HeaderMap;

use super::push_queue::RegistrationKey;
use super::registry::Identity;
use super::{Browsers, random_id};
use crate::services::fcm::parse_form;
use crate::services::web_push::{WebPushService, parse_public_key};
use crate::wire::HttpResponse;

/// Fields of the body.
struct Form(Vec<(String, String)>);

impl Form {
    /// Returns the value of a field. Empty if it is missing.
    fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

/// Returns the identity in `AidLogin <id>:<secret>`. `None` if it is malformed or not that of `device` in the body.
fn parse_identity(headers: &HeaderMap, device: &str) -> Option<Identity> {
    let login = headers.get("authorization")?.to_str().ok()?.strip_prefix("AidLogin ")?;
    let (id, secret) = login.split_once(':')?;
    let identity = Identity { id: id.parse().ok()?, secret: secret.parse().ok()? };
    (device == id).then_some(identity)
}

/// Returns a body of one key and its value. It must not end in a newline, because clients take the whole body.
pub(super) fn key_value(key: &str, value: &str) -> HttpResponse {
    HttpResponse::with_body(200, "text/plain", format!("{key}={value}"))
}

impl Browsers {
    /// Handles a request to `register3`.
    pub(super) fn register3(&self, headers: &HeaderMap, body: &[u8]) -> HttpResponse {
        let form = Form(parse_form(body));
        let Some(identity) = parse_identity(headers, form.field("device")) else {
            return key_value("Error", "AUTHENTICATION_FAILED");
        };
        let (app, subtype) = (form.field("app"), form.field("X-subtype"));
        if form.field("delete") == "true" {
            let Ok(tokens) = self.registry.unregister(identity, app, subtype) else {
                return key_value("Error", "AUTHENTICATION_FAILED");
            };
            tokens.iter().for_each(|token| self.web_push.end_subscription(token));
            return key_value("token", subtype);
        }
        let sender = form.field("sender");
        if app.is_empty() || sender.is_empty() {
            return key_value(
                "Error",
                if sender.is_empty() { "INVALID_SENDER" } else { "INVALID_PARAMETERS" },
            );
        }
        let key =
            RegistrationKey { sender: sender.to_owned(), app: app.to_owned(), subtype: subtype.to_owned() };
        let token = format!("{}:APA91b{}", &random_id::<9>()[..11], random_id::<96>());
        let Ok(registration) = self.registry.register(identity, &key, token) else {
            return key_value("Error", "AUTHENTICATION_FAILED");
        };
        // Browsers also register for senders that are project numbers. Nobody pushes to those registrations.
        if let (false, Some(vapid_key)) =
            (registration.existed, parse_public_key(sender.trim_end_matches('=')))
        {
            self.subscribe(WebPushService::Google, &registration, vapid_key);
        }
        key_value("token", &registration.token)
    }
}
