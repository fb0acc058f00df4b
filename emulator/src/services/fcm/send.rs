//! `messages:send`: checks bearer, project, message and device, then delivers the message.

use serde_json::{Value, json};

use super::validation::{Target, validate};
use super::{Fcm, responses};
use crate::event::EventKind;
use crate::wire::{HttpRequest, HttpResponse};

/// Minimum length of a registration token.
const MIN_TOKEN_LENGTH: usize = 100;

/// Returns `true` if the text has the form of a registration token: two parts with a colon between them, and a minimum
/// length.
pub(super) fn is_token(text: &str) -> bool {
    text.len() >= MIN_TOKEN_LENGTH && text.contains(':')
}

/// Treatment of a valid message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Deliver,
    /// `validate_only` of the request.
    ValidateOnly,
}

impl Fcm {
    /// Handles a request to `messages:send` and records its event.
    pub(super) fn send(&self, project: &str, request: &HttpRequest) -> HttpResponse {
        let (response, device) = match self.try_send(project, request) {
            Ok((response, device)) => (response, device),
            Err(response) => (response, None),
        };
        let error: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let code =
            error["error"]["details"][0]["errorCode"].as_str().or_else(|| error["error"]["status"].as_str());
        self.context.record(EventKind::Send {
            status: response.status,
            code: code.map(str::to_owned),
            device,
        });
        response
    }

    /// Returns `true` if the request has a valid bearer.
    pub(super) fn is_authorized(&self, request: &HttpRequest) -> bool {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        bearer.is_some_and(|bearer| self.bearers.is_valid(bearer, self.context.clock.now()))
    }

    /// Returns the response and the addressed device. `None` for topics and conditions.
    fn try_send(
        &self,
        project: &str,
        request: &HttpRequest,
    ) -> Result<(HttpResponse, Option<String>), HttpResponse> {
        if !self.is_authorized(request) {
            return Err(responses::unauthenticated());
        }
        if project != self.project {
            let text =
                "Permission 'cloudmessaging.messages.create' denied on resource (or it may not exist).";
            return Err(responses::google_error(403, "PERMISSION_DENIED", text, &[]));
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|_| {
            responses::google_error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.", &[])
        })?;
        let message = &body["message"];
        let target = validate(message)?;
        let validate_only = body["validate_only"] == true || body["validateOnly"] == true;
        let mode = if validate_only { Mode::ValidateOnly } else { Mode::Deliver };
        let device = self.deliver(&target, message, mode)?;
        let name =
            if validate_only { "fake_message_id".to_owned() } else { format!("{:x}", rand::random::<u64>()) };
        Ok((responses::ok(&json!({"name": format!("projects/{project}/messages/0:{name}")})), device))
    }

    fn deliver(
        &self,
        target: &Target<'_>,
        message: &Value,
        mode: Mode,
    ) -> Result<Option<String>, HttpResponse> {
        let device = match target {
            Target::Topic(_) | Target::Condition(_) if mode == Mode::ValidateOnly => return Ok(None),
            Target::Topic(topic) => {
                self.publish(message, |is_subscribed| is_subscribed(topic));
                return Ok(None);
            }
            Target::Condition(condition) => {
                self.publish(message, |is_subscribed| condition.matches(&is_subscribed));
                return Ok(None);
            }
            Target::Token(token) if !is_token(token) => {
                return Err(responses::invalid_argument(
                    "The registration token is not a valid FCM registration token",
                ));
            }
            Target::Token(key) | Target::Fid(key) => self.devices.find_by_address(key),
        };
        let device =
            device.filter(|installed| installed.inbox.is_registered()).ok_or_else(responses::unregistered)?;
        if mode == Mode::Deliver {
            let events = device.deliver(message, self.context.clock.now_ms()).ok_or_else(|| {
                responses::fcm_error(500, "INTERNAL", "Internal error encountered.", "INTERNAL")
            })?;
            events.into_iter().for_each(|event| self.context.record(event));
        }
        Ok(Some(device.device.id.clone()))
    }

    /// Delivers a message to every device whose topics satisfy `is_for`. A device that cannot get it does not affect
    /// the others.
    fn publish(&self, message: &Value, is_for: impl Fn(&dyn Fn(&str) -> bool) -> bool) {
        for device in self.devices.all() {
            let is_subscribed = |topic: &str| device.topics.lock().contains_key(topic);
            if !device.inbox.is_registered() || !is_for(&is_subscribed) {
                continue;
            }
            let events = device.deliver(message, self.context.clock.now_ms()).unwrap_or_default();
            events.into_iter().for_each(|event| self.context.record(event));
        }
    }
}
