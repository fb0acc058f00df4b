//! Topics of FCM, and the API by which servers subscribe devices: the Instance ID service at `iid.googleapis.com`.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::device::Installed;
use super::send::is_token;
use super::token_endpoint::percent_decoded;
use super::{Fcm, responses};
use crate::event::EventKind;
use crate::wire::{HttpRequest, HttpResponse};

/// Maximum number of tokens in one batch.
const MAX_BATCH_SIZE: usize = 1000;
/// Maximum number of topics of one device.
const MAX_TOPICS_PER_DEVICE: usize = 2000;

/// Change of a subscription.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SubscriptionChange {
    Subscribe,
    Unsubscribe,
}

/// Returns `true` if the text is a valid topic name, without `/topics/`.
pub(super) fn is_topic_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.~%".contains(c);
    !name.is_empty() && name.chars().all(is_allowed)
}

impl Fcm {
    /// Handles a request to `iid.googleapis.com`. Records an event if it is refused.
    pub(super) fn manage_topics(&self, request: &HttpRequest) -> HttpResponse {
        let response = self.try_manage_topics(request).unwrap_or_else(|refusal| refusal);
        if response.status != 200 {
            let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
            let code = body["error"].as_str().map(str::to_owned);
            self.context.record(EventKind::Send { status: response.status, code, device: None });
        }
        response
    }

    fn try_manage_topics(&self, request: &HttpRequest) -> Result<HttpResponse, HttpResponse> {
        // Without this header the bearer is read as a legacy server key, which FCM no longer accepts.
        if request.header("access_token_auth") != Some("true") || !self.is_authorized(request) {
            return Err(error(401, "Unauthorized"));
        }
        let path = request.head.uri.path();
        match (request.head.method.as_str(), path) {
            ("POST", "/iid/v1:batchAdd") => return self.batch(&request.body, SubscriptionChange::Subscribe),
            ("POST", "/iid/v1:batchRemove") => {
                return self.batch(&request.body, SubscriptionChange::Unsubscribe);
            }
            _ => {}
        }
        if let Some(token) = path.strip_prefix("/iid/info/") {
            let device = self.subscriber(&percent_decoded(token)).map_err(unknown_token)?;
            return Ok(responses::ok(&device_info(&device, &self.project)));
        }
        let relation = path.strip_prefix("/iid/v1/").and_then(|rest| rest.split_once("/rel/topics/"));
        let (token, topic) = relation.ok_or_else(responses::not_found)?;
        let change = match request.head.method.as_str() {
            "POST" => SubscriptionChange::Subscribe,
            "DELETE" => SubscriptionChange::Unsubscribe,
            _ => return Err(error(405, "MethodNotAllowed")),
        };
        let topic = percent_decoded(topic);
        if !is_topic_name(&topic) {
            return Err(error(400, "InvalidTopicName"));
        }
        let device = self.subscriber(&percent_decoded(token)).map_err(unknown_token)?;
        match self.set_subscription(&device, &topic, change) {
            Ok(()) => Ok(responses::ok(&json!({}))),
            Err(code) => Err(error(400, code)),
        }
    }

    /// Changes the subscriptions of many devices. The results are in the order of the request.
    fn batch(&self, body: &[u8], change: SubscriptionChange) -> Result<HttpResponse, HttpResponse> {
        let request: Value = serde_json::from_slice(body).map_err(|_| error(400, "INVALID_ARGUMENT"))?;
        let topic = request["to"].as_str().and_then(|to| to.strip_prefix("/topics/"));
        let topic =
            topic.filter(|topic| is_topic_name(topic)).ok_or_else(|| error(400, "InvalidTopicName"))?;
        let tokens = request["registration_tokens"].as_array();
        let tokens = tokens.filter(|tokens| (1..=MAX_BATCH_SIZE).contains(&tokens.len()));
        let tokens = tokens.ok_or_else(|| error(400, "INVALID_ARGUMENT"))?;
        let change_one = |token: &Value| {
            let device = self.subscriber(token.as_str().unwrap_or_default());
            device.and_then(|device| self.set_subscription(&device, topic, change))
        };
        let results = tokens.iter().map(|token| match change_one(token) {
            Ok(()) => json!({}),
            Err(code) => json!({"error": code}),
        });
        Ok(responses::ok(&json!({"results": results.collect::<Vec<_>>()})))
    }

    /// Returns the device of a token, or the error code of its result.
    fn subscriber(&self, token: &str) -> Result<Arc<Installed>, &'static str> {
        let device = self.devices.find_by_address(token).filter(|device| device.inbox.is_registered());
        device.ok_or(if is_token(token) { "NOT_FOUND" } else { "INVALID_ARGUMENT" })
    }

    /// Changes one subscription and records the change. Returns an error code if the device has too many topics.
    fn set_subscription(
        &self,
        device: &Installed,
        topic: &str,
        change: SubscriptionChange,
    ) -> Result<(), &'static str> {
        let mut topics = device.topics.lock();
        let subscribed = change == SubscriptionChange::Subscribe;
        let changed = if !subscribed {
            topics.remove(topic).is_some()
        } else if topics.contains_key(topic) {
            false
        } else if topics.len() >= MAX_TOPICS_PER_DEVICE {
            return Err("TOO_MANY_TOPICS");
        } else {
            topics.insert(topic.to_owned(), self.context.clock.now());
            true
        };
        drop(topics);
        if changed {
            let (device, topic) = (device.device.id.clone(), topic.to_owned());
            self.context.record(EventKind::Topic { device, topic, subscribed });
        }
        Ok(())
    }
}

fn error(status: u16, error: &str) -> HttpResponse {
    HttpResponse::with_body(status, "application/json; charset=UTF-8", json!({"error": error}).to_string())
}

/// Returns the error of the routes that have the token in their path.
fn unknown_token(code: &'static str) -> HttpResponse {
    match code {
        "NOT_FOUND" => error(404, "No information found about this instance id."),
        _ => error(400, "InvalidToken"),
    }
}

/// Returns platform and topics of a device, as `/iid/info/` responds.
fn device_info(device: &Installed, project: &str) -> Value {
    let date = |since: SystemTime| OffsetDateTime::from(since).date().to_string();
    let topics = device.topics.lock();
    let topics: Map<_, _> =
        topics.iter().map(|(topic, since)| (topic.clone(), json!({"addDate": date(*since)}))).collect();
    json!({
        "application": format!("com.example.{project}"), "authorizedEntity": "123456789012",
        "platform": device.device.platform.instance_id_name(), "rel": {"topics": topics},
    })
}
