//! Operations of the control API on APNs.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::device::Installed;
use super::{ApnsServer, Environment};
use crate::control::{ApiManual, ControlledService};
use crate::inbox::{DeviceChange, ShownNotification};

/// Request body that creates a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDevice {
    id: String,
    #[serde(default)]
    environment: Environment,
}

impl ControlledService for ApnsServer {
    fn create_device(&self, body: Value) -> Result<Value, String> {
        let NewDevice { id, environment } =
            serde_json::from_value(body).map_err(|error| error.to_string())?;
        Ok(json!(self.apns.add_device(&id, environment)))
    }

    fn list_devices(&self) -> Vec<Value> {
        let described = |device: &Arc<Installed>| json!({"id": device.id, "kind": device.environment, "state": device.inbox.state()});
        self.apns.devices.all().iter().map(described).collect()
    }

    fn shown_notifications(&self, id: &str) -> Option<Vec<ShownNotification>> {
        self.apns.inbox(id)
    }

    fn change_device(&self, id: &str, change: DeviceChange) -> bool {
        self.apns.change(id, change)
    }

    fn api_manual(&self) -> ApiManual {
        ApiManual {
            device: Some(json!({"id": "bob-phone", "environment": "production"})),
            device_fields: json!({
                "id": "the id of the device; a new device replaces the one with the same id",
                "environment": "production | sandbox (default: production)",
                "answer": "id, environment, token (alerts, background), voip_token (calls), activity_token (Live Activities)",
            }),
            own_routes: json!({
                "POST /control/apns/do/rules": {
                    "meaning": "changes the named rules; the other rules stay as they are",
                    "rules": self.apns.rules().describe(),
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
            "follow": {"device": "bob", "channel": "the apns-channel-id of the response that created it"},
        })
    }

    fn run_verb(&self, name: &str, body: Value) -> Option<Result<(), String>> {
        let text = |key: &str| body[key].as_str().ok_or_else(|| format!("{key} must be a string"));
        Some(match name {
            "rules" => match body {
                Value::Object(changes) => {
                    self.apns.rules().with_changes(&changes).map(|rules| self.apns.set_rules(rules))
                }
                _ => Err("the body must be an object of rules, as GET /control lists them".to_owned()),
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
                let is_known = self.apns.follow(device, text("channel")?);
                if is_known { Ok(()) } else { Err("no device has this name".to_owned()) }
            }),
            _ => return None,
        })
    }
}
