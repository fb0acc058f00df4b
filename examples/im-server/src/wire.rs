//! What goes over the WebSocket, as JSON: questions with a number, their answers, and events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A question of a client.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    /// Given back with the answer.
    #[serde(default)]
    pub(crate) n: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What a client asks.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum What {
    /// The first thing on a connection. `device` is this browser's own name for itself.
    Login {
        token: String,
        device: String,
        #[serde(default)]
        push_token: Option<String>,
    },
    /// The push token changed; an empty one unbinds.
    Report { push_token: String },
    /// Ends the session and unbinds its push token.
    Logout,
    /// Still here.
    Beat,
    /// A message for a user or a group.
    Send {
        to: String,
        kind: Conversation,
        message: Value,
        #[serde(default)]
        push: Option<PushConfig>,
    },
    /// An event with this number has arrived.
    Ack { seq: i64 },
    /// Becomes a member of a group, which is there from then on.
    Join { group: String },
    /// Is no member any more.
    Leave { group: String },
    /// Calls users.
    CallInvite {
        invitees: Vec<String>,
        #[serde(default)]
        timeout: Option<u32>,
        #[serde(default)]
        extended_data: String,
        #[serde(default)]
        push: Option<PushConfig>,
    },
    /// Answers a call, or gives it up.
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
        /// What is shown in the ring's place.
        #[serde(default)]
        push: Option<PushConfig>,
    },
}

/// Of what kind a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Conversation {
    Peer,
    Group,
}

/// What the sender wants shown to those who are away.
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
    /// Whether nothing is to be pushed: a title without content is none, and the other way round.
    pub(crate) fn is_blank(&self) -> bool {
        self.title.is_empty() || self.content.is_empty()
    }
}

/// Why something was not done. The numbers are those that clients of this kind know.
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

/// The answer to question `n`.
pub(crate) fn answer(n: u64, result: Result<Value, Refusal>) -> String {
    match result {
        Ok(value) => json!({"n": n, "ok": value}).to_string(),
        Err(refusal) => json!({"n": n, "error": refusal}).to_string(),
    }
}

/// An event; with a number, the client has to acknowledge it.
pub(crate) fn event(name: &str, data: &Value, seq: Option<i64>) -> String {
    json!({"event": name, "data": data, "seq": seq}).to_string()
}

/// The token in a push id, as the SDK's service worker writes it: after nine bytes of head come country, version and token,
/// whose lengths the head says.
pub(crate) fn token(push_id: &str) -> Option<String> {
    let bytes = STANDARD.decode(push_id).ok()?;
    let (head, texts) = bytes.split_first_chunk::<9>()?;
    let [0xaf, 0, 1, _, _, country, version, high, low] = *head else { return None };
    let token = texts.get(usize::from(country) + usize::from(version)..)?;
    let token = token.get(..usize::from(u16::from_be_bytes([high, low])))?;
    String::from_utf8(token.to_vec()).ok()
}
