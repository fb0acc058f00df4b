//! Topics of FCM, and the interface by which servers subscribe devices to them: the Instance ID service at `iid.googleapis.com`.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::device::Installed;
use super::send::is_token;
use super::token::decoded;
use super::{Vendor, answer};
use crate::event::What;
use crate::wire::{Asked, Reply};

/// The greatest number of tokens in one batch.
const MAX_BATCH: usize = 1000;
/// The greatest number of topics of one device.
const MAX_TOPICS: usize = 2000;

/// A change of subscriptions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Subscribe,
    Unsubscribe,
}

/// Returns `true` for a name that a topic may have, without `/topics/`.
pub(super) fn is_topic_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.~%".contains(c);
    !name.is_empty() && name.chars().all(is_allowed)
}

impl Vendor {
    /// Answers at `iid.googleapis.com`.
    pub(super) fn instance_id(&self, asked: &Asked) -> Reply {
        let reply = self.managed(asked).unwrap_or_else(|reply| reply);
        if reply.status != 200 {
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let code = body["error"].as_str().map(str::to_owned);
            self.rig.tell(What::Send { status: reply.status, code, device: None });
        }
        reply
    }

    fn managed(&self, asked: &Asked) -> Result<Reply, Reply> {
        // Without this header a bearer is taken for a server key, and those are not accepted any more.
        if asked.header("access_token_auth") != Some("true") || !self.is_authorized(asked) {
            return Err(refused(401, "Unauthorized"));
        }
        let path = asked.head.uri.path();
        match (asked.head.method.as_str(), path) {
            ("POST", "/iid/v1:batchAdd") => return self.batch(&asked.body, Change::Subscribe),
            ("POST", "/iid/v1:batchRemove") => return self.batch(&asked.body, Change::Unsubscribe),
            _ => {}
        }
        if let Some(token) = path.strip_prefix("/iid/info/") {
            let device = self.subscriber(&decoded(token)).map_err(no_information)?;
            return Ok(answer::ok(&info(&device, &self.project)));
        }
        let relation = path.strip_prefix("/iid/v1/").and_then(|rest| rest.split_once("/rel/topics/"));
        let (token, topic) = relation.ok_or_else(answer::not_found)?;
        let change = match asked.head.method.as_str() {
            "POST" => Change::Subscribe,
            "DELETE" => Change::Unsubscribe,
            _ => return Err(refused(405, "MethodNotAllowed")),
        };
        let topic = decoded(topic);
        if !is_topic_name(&topic) {
            return Err(refused(400, "InvalidTopicName"));
        }
        let device = self.subscriber(&decoded(token)).map_err(no_information)?;
        match self.set_subscription(&device, &topic, change) {
            Ok(()) => Ok(answer::ok(&json!({}))),
            Err(code) => Err(refused(400, code)),
        }
    }

    /// Changes the subscriptions of many devices. Each has a result of its own, in the order of the request.
    fn batch(&self, body: &[u8], change: Change) -> Result<Reply, Reply> {
        let request: Value = serde_json::from_slice(body).map_err(|_| refused(400, "INVALID_ARGUMENT"))?;
        let topic = request["to"].as_str().and_then(|to| to.strip_prefix("/topics/"));
        let topic =
            topic.filter(|topic| is_topic_name(topic)).ok_or_else(|| refused(400, "InvalidTopicName"))?;
        let tokens = request["registration_tokens"].as_array();
        let tokens = tokens.filter(|tokens| (1..=MAX_BATCH).contains(&tokens.len()));
        let tokens = tokens.ok_or_else(|| refused(400, "INVALID_ARGUMENT"))?;
        let one = |token: &Value| {
            let device = self.subscriber(token.as_str().unwrap_or_default());
            device.and_then(|device| self.set_subscription(&device, topic, change))
        };
        let results = tokens.iter().map(|token| match one(token) {
            Ok(()) => json!({}),
            Err(code) => json!({"error": code}),
        });
        Ok(answer::ok(&json!({"results": results.collect::<Vec<_>>()})))
    }

    /// Returns the device of a token, or the code by which its result is refused.
    fn subscriber(&self, token: &str) -> Result<Arc<Installed>, &'static str> {
        let device = self.devices.addressed(token).filter(|device| device.mailbox.registered());
        device.ok_or(if is_token(token) { "NOT_FOUND" } else { "INVALID_ARGUMENT" })
    }

    fn set_subscription(&self, device: &Installed, topic: &str, change: Change) -> Result<(), &'static str> {
        let mut topics = device.topics.lock();
        let subscribed = change == Change::Subscribe;
        let changed = if !subscribed {
            topics.remove(topic).is_some()
        } else if topics.contains_key(topic) {
            false
        } else if topics.len() >= MAX_TOPICS {
            return Err("TOO_MANY_TOPICS");
        } else {
            topics.insert(topic.to_owned(), self.rig.clock.now());
            true
        };
        drop(topics);
        if changed {
            let (device, topic) = (device.device.id.clone(), topic.to_owned());
            self.rig.tell(What::Topic { device, topic, subscribed });
        }
        Ok(())
    }
}

fn refused(status: u16, error: &str) -> Reply {
    Reply::of(status, "application/json; charset=UTF-8", json!({"error": error}).to_string())
}

/// For the routes with the token in their path.
fn no_information(code: &'static str) -> Reply {
    match code {
        "NOT_FOUND" => refused(404, "No information found about this instance id."),
        _ => refused(400, "InvalidToken"),
    }
}

fn info(device: &Installed, project: &str) -> Value {
    let date = |since: SystemTime| OffsetDateTime::from(since).date().to_string();
    let topics = device.topics.lock();
    let topics: Map<_, _> =
        topics.iter().map(|(topic, since)| (topic.clone(), json!({"addDate": date(*since)}))).collect();
    json!({
        "application": format!("com.example.{project}"), "authorizedEntity": "123456789012",
        "platform": device.device.platform.instance_id_name(), "rel": {"topics": topics},
    })
}
