//! `messages:send`: bearer, project, message, device; then it arrives.

use serde_json::{Value, json};

use super::check::{Target, check};
use super::{Vendor, answer};
use crate::event::What;
use crate::wire::{Asked, Reply};

/// A token has two parts with a colon between them and some length; anything else is no token at all.
const SHORTEST_TOKEN: usize = 100;

/// Returns `true` for a text that can be a registration token.
pub(super) fn is_token(text: &str) -> bool {
    text.len() >= SHORTEST_TOKEN && text.contains(':')
}

impl Vendor {
    pub(super) fn send(&self, project: &str, asked: &Asked) -> Reply {
        let (reply, device) = match self.judged(project, asked) {
            Ok((reply, device)) => (reply, device),
            Err(reply) => (reply, None),
        };
        let error: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let code =
            error["error"]["details"][0]["errorCode"].as_str().or_else(|| error["error"]["status"].as_str());
        self.rig.tell(What::Send { status: reply.status, code: code.map(str::to_owned), device });
        reply
    }

    /// Returns `true` if the request has a bearer that is good.
    pub(super) fn is_authorized(&self, asked: &Asked) -> bool {
        let bearer = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        bearer.is_some_and(|bearer| self.bearers.good(bearer, self.rig.clock.now()))
    }

    fn judged(&self, project: &str, asked: &Asked) -> Result<(Reply, Option<String>), Reply> {
        if !self.is_authorized(asked) {
            return Err(answer::unauthenticated());
        }
        if project != self.project {
            let text =
                "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).";
            return Err(answer::google(403, "PERMISSION_DENIED", text, &[]));
        }
        let request: Value = serde_json::from_slice(&asked.body)
            .map_err(|_| answer::google(400, "INVALID_ARGUMENT", "Invalid JSON payload received.", &[]))?;
        let message = &request["message"];
        let target = check(message)?;
        let dry = request["validate_only"] == true || request["validateOnly"] == true;
        let device = self.deliver(&target, message, dry)?;
        let name = if dry { "fake_message_id".to_owned() } else { format!("{:x}", rand::random::<u64>()) };
        Ok((answer::ok(&json!({"name": format!("projects/{project}/messages/0:{name}")})), device))
    }

    fn deliver(&self, target: &Target<'_>, message: &Value, dry: bool) -> Result<Option<String>, Reply> {
        let found = match target {
            Target::Topic(_) | Target::Condition(_) if dry => return Ok(None),
            Target::Topic(topic) => {
                self.publish(message, |has| has(topic));
                return Ok(None);
            }
            Target::Condition(condition) => {
                self.publish(message, |has| condition.holds(&has));
                return Ok(None);
            }
            Target::Token(token) if !is_token(token) => {
                return Err(answer::invalid("The registration token is not a valid FCM registration token"));
            }
            Target::Token(key) | Target::Fid(key) => self.devices.addressed(key),
        };
        let device = found.filter(|one| one.mailbox.registered()).ok_or_else(answer::unregistered)?;
        if !dry {
            let told = device
                .arrive(message, self.rig.clock.now_ms())
                .ok_or_else(|| answer::fcm(500, "INTERNAL", "Internal error encountered.", "INTERNAL"))?;
            told.into_iter().for_each(|what| self.rig.tell(what));
        }
        Ok(Some(device.device.id.clone()))
    }

    /// Brings a message to every device for whose topics `is_for` holds. One that cannot read it does not keep it from others.
    fn publish(&self, message: &Value, is_for: impl Fn(&dyn Fn(&str) -> bool) -> bool) {
        for device in self.devices.all() {
            let is_subscribed = |topic: &str| device.topics.lock().contains_key(topic);
            if !device.mailbox.registered() || !is_for(&is_subscribed) {
                continue;
            }
            let told = device.arrive(message, self.rig.clock.now_ms()).unwrap_or_default();
            told.into_iter().for_each(|what| self.rig.tell(what));
        }
    }
}
