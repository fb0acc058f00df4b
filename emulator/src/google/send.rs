//! `messages:send`: bearer, project, message, device; then it arrives.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::check::{Target, check};
use super::{Answer, Vendor};
use crate::event::What;

/// A token has two parts with a colon between them and some length; anything else is no token at all.
const SHORTEST_TOKEN: usize = 100;

impl Vendor {
    pub(super) fn send(&self, project: &str, head: &http::request::Parts, body: &[u8]) -> Answer {
        let (answer, device) = match self.judged(project, head, body) {
            Ok((answer, device)) => (answer, device),
            Err(answer) => (answer, None),
        };
        let error: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let code =
            error["error"]["details"][0]["errorCode"].as_str().or_else(|| error["error"]["status"].as_str());
        self.log.add(What::Send { status: answer.status, code: code.map(str::to_owned), device });
        answer
    }

    fn judged(
        &self,
        project: &str,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Result<(Answer, Option<String>), Answer> {
        self.bearer(head)?;
        if project != self.project {
            let text =
                "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).";
            return Err(Answer::google(403, "PERMISSION_DENIED", text, &[]));
        }
        let request: Value = serde_json::from_slice(body)
            .map_err(|_| Answer::google(400, "INVALID_ARGUMENT", "Invalid JSON payload received.", &[]))?;
        let message = &request["message"];
        let target = check(message)?;
        let dry = request["validate_only"] == true;
        let device = self.deliver(&target, message, dry)?;
        let name = if dry { "fake_message_id".to_owned() } else { format!("{:x}", rand::random::<u64>()) };
        Ok((Answer::ok(&json!({"name": format!("projects/{project}/messages/0:{name}")})), device))
    }

    fn bearer(&self, head: &http::request::Parts) -> Result<(), Answer> {
        let given = head.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let good = self.bearers.lock().get(given).is_some_and(|until| *until > SystemTime::now());
        if good { Ok(()) } else { Err(Answer::unauthenticated()) }
    }

    fn deliver(&self, target: &Target<'_>, message: &Value, dry: bool) -> Result<Option<String>, Answer> {
        let mut devices = self.devices.lock();
        let found = match target {
            Target::Topic => return Ok(None),
            Target::Token(token) if token.len() < SHORTEST_TOKEN || !token.contains(':') => {
                let text = "The registration token is not a valid FCM registration token";
                return Err(Answer::fcm(400, "INVALID_ARGUMENT", text, "INVALID_ARGUMENT"));
            }
            Target::Token(token) => devices.iter_mut().find(|one| one.device.token == *token),
            Target::Fid(fid) => devices.iter_mut().find(|one| one.device.fid == *fid),
        };
        let device = found.filter(|one| one.registered).ok_or_else(Answer::unregistered)?;
        let id = device.device.id.clone();
        if dry {
            return Ok(Some(id));
        }
        let replaced = device
            .arrive(message)
            .ok_or_else(|| Answer::fcm(500, "INTERNAL", "Internal error encountered.", "INTERNAL"))?;
        self.log.add(What::Arrived { device: id.clone(), replaced });
        Ok(Some(id))
    }
}
