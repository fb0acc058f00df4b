//! JSON messages on the WebSocket: numbered requests, their answers, and events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Request of a client.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// Number that the answer repeats.
    #[serde(default)]
    pub(crate) n: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// Operation that a client requests.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum What {
    /// First request on a connection. `device` is an id chosen by the browser.
    Login {
        token: String,
        device: String,
        #[serde(default)]
        push_token: Option<String>,
    },
    /// Changed push token. An empty one unbinds.
    Report { push_token: String },
    /// End of the session, which unbinds its push token.
    Logout,
    /// Heartbeat.
    Beat,
    /// Message to a user or a group.
    Send {
        to: String,
        kind: Conversation,
        message: Value,
        #[serde(default)]
        push: Option<PushConfig>,
    },
    /// Acknowledgement of the event with this number.
    Ack { seq: i64 },
    /// Joins a group, which is created if necessary.
    Join { group: String },
    /// Leaves a group.
    Leave { group: String },
    /// Call to users.
    CallInvite {
        invitees: Vec<String>,
        #[serde(default)]
        timeout: Option<u32>,
        #[serde(default)]
        extended_data: String,
        #[serde(default)]
        push: Option<PushConfig>,
    },
    /// Answer to a call, or its cancellation.
    CallAccept {
        call: String,
        #[serde(default)]
        extended_data: String,
    },
    CallReject {
        call: String,
        #[serde(default)]
        extended_data: String,
    },
    CallCancel {
        call: String,
        #[serde(default)]
        extended_data: String,
        /// Notification that replaces the ringing one.
        #[serde(default)]
        push: Option<PushConfig>,
    },
}

/// Kind of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Conversation {
    Peer,
    Group,
}

/// Notification that the sender requests for absent users.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PushConfig {
    pub(crate) title: String,
    pub(crate) content: String,
    pub(crate) payload: Option<String>,
    /// The old name of `payload`.
    pub(crate) extended_data: Option<String>,
    #[serde(rename = "resourcesID")]
    pub(crate) resources_id: Option<String>,
    #[serde(rename = "threadID")]
    pub(crate) thread_id: Option<String>,
}

impl PushConfig {
    /// Returns `true` if nothing is to be pushed. A push needs both title and content.
    pub(crate) fn is_blank(&self) -> bool {
        self.title.is_empty() || self.content.is_empty()
    }
}

/// Error of a request, with the numbers that ZIM clients use.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refusal {
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn parameter(message: impl Into<String>) -> Self {
        Self { code: 6_000_001, message: message.into() }
    }

    pub(crate) fn not_logged_in() -> Self {
        Self { code: 6_000_121, message: "log in first".to_owned() }
    }

    pub(crate) fn push_token(why: &dyn std::fmt::Display) -> Self {
        Self { code: 6_000_401, message: format!("that is no push token: {why}") }
    }

    pub(crate) fn storage(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "storage failed");
        Self { code: 6_000_000, message: "the server cannot store this now".to_owned() }
    }
}

/// Returns the answer to request `n`.
pub(crate) fn answer(n: u64, result: Result<Value, Refusal>) -> String {
    match result {
        Ok(value) => json!({"n": n, "ok": value}).to_string(),
        Err(refusal) => json!({"n": n, "error": refusal}).to_string(),
    }
}

/// Returns an event. The client must acknowledge an event with a number.
pub(crate) fn event(name: &str, data: &Value, seq: Option<i64>) -> String {
    json!({"event": name, "data": data, "seq": seq}).to_string()
}

/// Returns the token in a push id. The SDK's service worker writes nine bytes of header, which contain the lengths,
/// and then country, version and token.
pub(crate) fn token(push_id: &str) -> Option<String> {
    let bytes = STANDARD.decode(push_id).ok()?;
    let (head, texts) = bytes.split_first_chunk::<9>()?;
    let [0xaf, 0, 1, _, _, country, version, high, low] = *head else { return None };
    let token = texts.get(usize::from(country) + usize::from(version)..)?;
    let token = token.get(..usize::from(u16::from_be_bytes([high, low])))?;
    String::from_utf8(token.to_vec()).ok()
}
