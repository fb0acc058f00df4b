//! Apple's push service as the control API sees it.

use serde_json::{Value, json};

use super::Gate;
use super::gate::wished;
use crate::desk::{Desk, Manual};
use crate::mailbox::{Change, Shown};

impl Desk for Gate {
    fn add(&self, wish: Value) -> Result<Value, String> {
        let (id, environment) = wished(wish)?;
        Ok(json!(self.apns.add_device(&id, environment)))
    }

    fn list(&self) -> Vec<Value> {
        let phones = self.apns.phones.all();
        let one = |phone: &std::sync::Arc<super::phone::Installed>| json!({"id": phone.id, "kind": phone.environment, "state": phone.mailbox.state()});
        phones.iter().map(one).collect()
    }

    fn shown(&self, id: &str) -> Option<Vec<Shown>> {
        self.apns.inbox(id)
    }

    fn change(&self, id: &str, change: Change) -> bool {
        self.apns.change(id, change)
    }

    fn manual(&self) -> Manual {
        Manual {
            device: Some(json!({"id": "bob-phone", "environment": "production"})),
            device_fields: json!({
                "id": "the name of the iPhone; a new one takes the place of an old one",
                "environment": "production | sandbox (default: production)",
                "answer": "id, environment, token (alerts, background), voip_token (calls), activity_token (Live Activities)",
            }),
            more: json!({
                "POST /control/apns/do/rules": {
                    "meaning": "changes the named rules; those that are not named stay",
                    "rules": self.apns.rules().described(),
                },
            }),
        }
    }

    fn verbs(&self) -> Value {
        json!({
            "rules": self.apns.rules(),
            "forget_provider_tokens": {},
            "revoke_certificates": {},
            "revoke_key": {"id": self.apns.key.id},
            "follow": {"device": "bob", "channel": "the apns-channel-id of its making"},
        })
    }

    fn verb(&self, name: &str, body: Value) -> Option<Result<(), String>> {
        let text = |key: &str| body[key].as_str().ok_or_else(|| format!("{key}: a text is wanted"));
        Some(match name {
            "rules" => match body {
                Value::Object(changes) => {
                    self.apns.rules().merged(&changes).map(|rules| self.apns.set_rules(rules))
                }
                _ => Err("an object of rules is wanted".to_owned()),
            },
            "forget_provider_tokens" => {
                self.apns.forget_provider_tokens();
                Ok(())
            }
            "revoke_certificates" => {
                self.apns.revoke_certificates();
                Ok(())
            }
            "revoke_key" => text("id").and_then(|id| {
                if self.apns.revoke_key(id) { Ok(()) } else { Err("no key has this id".to_owned()) }
            }),
            "follow" => text("device").and_then(|device| {
                let known = self.apns.follow(device, text("channel")?);
                if known { Ok(()) } else { Err("no device has this name".to_owned()) }
            }),
            _ => return None,
        })
    }
}
