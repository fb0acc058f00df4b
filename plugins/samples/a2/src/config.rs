//! What the channel is configured with. It holds a private key: it has no `Debug`, and no error repeats a value.

use a2::{Client, ClientConfig, Endpoint};
use serde::Deserialize;

use crate::channel::PATIENCE;

/// The channel's table in the gateway's configuration. It proves itself by `certificate`, or by `key`, `key_id` and `team_id`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A push certificate with its private key, as PEM text.
    certificate: Option<String>,
    /// The private key of provider tokens, the whole text of the .p8 file.
    key: Option<String>,
    /// The key's id.
    key_id: Option<String>,
    /// The team's id.
    team_id: Option<String>,
    /// The app's bundle id.
    pub(crate) topic: String,
    /// Which of Apple's two services.
    #[serde(default)]
    environment: Environment,
    /// What is heard when something is shown.
    pub(crate) sound: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Environment {
    #[default]
    Production,
    Sandbox,
}

/// JSON Schema of [`Config`], for `pushgate plugin inspect`.
pub(crate) const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["topic"],
  "oneOf": [{"required": ["certificate"]}, {"required": ["key", "key_id", "team_id"]}],
  "properties": {
    "certificate": {"type": "string", "description": "a push certificate and its PKCS #8 key, in PEM; use file:"},
    "key": {"type": "string", "description": "the private key of provider tokens: the text of Apple's .p8 file; use file:"},
    "key_id": {"type": "string", "description": "the key's id, ten letters and digits"},
    "team_id": {"type": "string", "description": "the team's id, ten letters and digits"},
    "topic": {"type": "string", "description": "the app's bundle id"},
    "environment": {"enum": ["production", "sandbox"], "default": "production"},
    "sound": {"type": "string", "description": "what is heard when something is shown; without it, nothing"}
  }
}"#;

impl Config {
    /// The client for it, which connects when it is first used.
    ///
    /// # Errors
    /// Which key is wrong and what would be right, without its value.
    pub(crate) fn client(&self) -> Result<Client, String> {
        let is_topic = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        if self.topic.is_empty() || !self.topic.bytes().all(is_topic) {
            return Err("topic: write the app's bundle id".to_owned());
        }
        match (&self.certificate, &self.key, &self.key_id, &self.team_id) {
            (Some(pem), None, None, None) => {
                Client::certificate_parts(pem.as_bytes(), pem.as_bytes(), self.endpoint()).map_err(|_| {
                    "certificate: write a certificate and its PKCS #8 key, both in PEM".to_owned()
                })
            }
            (None, Some(key), Some(key_id), Some(team_id)) => self.with_tokens(key, key_id, team_id),
            _ => Err("write either certificate, or key with key_id and team_id".to_owned()),
        }
    }

    fn with_tokens(&self, key: &str, key_id: &str, team_id: &str) -> Result<Client, String> {
        for (name, id) in [("key_id", key_id), ("team_id", team_id)] {
            if id.len() != 10 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(format!("{name}: write the ten letters and digits of Apple's account"));
            }
        }
        Client::token(key.as_bytes(), key_id, team_id, self.endpoint())
            .map_err(|_| "key: it is no PKCS #8 key in PEM, as Apple's .p8 file has it".to_owned())
    }

    fn endpoint(&self) -> ClientConfig {
        let endpoint = match self.environment {
            Environment::Production => Endpoint::Production,
            Environment::Sandbox => Endpoint::Sandbox,
        };
        ClientConfig { request_timeout_secs: Some(PATIENCE.as_secs()), ..ClientConfig::new(endpoint) }
    }

    /// Whom Apple takes us for. No secret.
    pub(crate) fn identity(&self) -> String {
        match (&self.key_id, &self.team_id) {
            (Some(key), Some(team)) => format!("key {key} of team {team} for {}", self.topic),
            _ => format!("a certificate for {}", self.topic),
        }
    }
}
