//! Apple's push service as the control API sees it.

use serde_json::{Value, json};

use super::gate::wished;
use super::{Gate, Rules};
use crate::desk::Desk;
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

    fn verbs(&self) -> Value {
        json!({
            "rules": {"mint_every_s": 1200, "missing_push_type": "refused", "wrong_suffix": "bad_topic"},
            "revoke_certificates": {},
            "revoke_key": {"id": self.apns.key.id},
            "follow": {"device": "bob", "channel": "the apns-channel-id of its making"},
        })
    }

    fn verb(&self, name: &str, body: Value) -> Option<Result<(), String>> {
        let text = |key: &str| body[key].as_str().ok_or_else(|| format!("{key}: a text is wanted"));
        Some(match name {
            "rules" => serde_json::from_value::<Rules>(body)
                .map(|rules| self.apns.set_rules(rules))
                .map_err(|error| error.to_string()),
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
