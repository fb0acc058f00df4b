//! `register3`: a device gets a token for a sender, and gives it back. For Web Push the sender is the VAPID key, and the token
//! becomes the last part of the endpoint.

use http::HeaderMap;

use super::letters::Address;
use super::post::Identity;
use super::{Browsers, random};
use crate::google::form;
use crate::webpush::{Service, public_key};
use crate::wire::Reply;

/// What the body asks for.
struct Form(Vec<(String, String)>);

impl Form {
    fn field(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

/// The identity in `AidLogin <id>:<secret>`, if it is the device's of the body.
fn identity(headers: &HeaderMap, device: &str) -> Option<Identity> {
    let login = headers.get("authorization")?.to_str().ok()?.strip_prefix("AidLogin ")?;
    let (id, secret) = login.split_once(':')?;
    let who = Identity { id: id.parse().ok()?, secret: secret.parse().ok()? };
    (device == id).then_some(who)
}

/// The client reads the whole body: no newline may stand behind the token.
pub(super) fn said(key: &str, value: &str) -> Reply {
    Reply::of(200, "text/plain", format!("{key}={value}"))
}

impl Browsers {
    pub(super) fn register3(&self, headers: &HeaderMap, body: &[u8]) -> Reply {
        let form = Form(form(body));
        let Some(who) = identity(headers, form.field("device")) else {
            return said("Error", "AUTHENTICATION_FAILED");
        };
        let (app, subtype) = (form.field("app"), form.field("X-subtype"));
        if form.field("delete") == "true" {
            let Ok(dead) = self.post.withdraw(who, app, subtype) else {
                return said("Error", "AUTHENTICATION_FAILED");
            };
            dead.iter().for_each(|token| self.webpush.detach(token));
            return said("token", subtype);
        }
        let sender = form.field("sender");
        if app.is_empty() || sender.is_empty() {
            return said("Error", if sender.is_empty() { "INVALID_SENDER" } else { "INVALID_PARAMETERS" });
        }
        let to = Address { sender: sender.to_owned(), app: app.to_owned(), subtype: subtype.to_owned() };
        let token = format!("{}:APA91b{}", &random::<9>()[..11], random::<96>());
        let Ok(registered) = self.post.register(who, &to, token) else {
            return said("Error", "AUTHENTICATION_FAILED");
        };
        // Browsers also register themselves, for senders that are project numbers: nobody pushes to those.
        if let (false, Some(key)) = (registered.known, public_key(sender.trim_end_matches('='))) {
            self.attach(Service::Google, &registered, key);
        }
        said("token", &registered.token)
    }
}
