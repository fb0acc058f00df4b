//! Configuration of the channel. It contains a private key, so it has no `Debug` and no error repeats a value.

use a2::{Client, ClientConfig, Endpoint};
use serde::Deserialize;

use crate::channel::REQUEST_TIMEOUT;

/// Configuration of the channel. The credentials are `certificate`, or `key` with `key_id` and `team_id`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Push certificate and its private key, in PEM.
    certificate: Option<String>,
    /// Private key of provider tokens: the text of the .p8 file.
    key: Option<String>,
    /// Id of the key.
    key_id: Option<String>,
    /// Id of the team.
    team_id: Option<String>,
    /// Bundle id of the app.
    pub(crate) topic: String,
    /// Environment of APNs.
    #[serde(default)]
    environment: Environment,
    /// Sound of shown notifications. `None` means no sound.
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
    "sound": {"type": "string", "description": "sound of shown notifications; none by default"}
  }
}"#;

impl Config {
    /// Returns the client, which connects on first use.
    ///
    /// # Errors
    /// A sentence that names the wrong key and a valid form, but no value.
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
            .map_err(|_| "key: write a PKCS #8 key in PEM, the text of Apple's .p8 file".to_owned())
    }

    fn endpoint(&self) -> ClientConfig {
        let endpoint = match self.environment {
            Environment::Production => Endpoint::Production,
            Environment::Sandbox => Endpoint::Sandbox,
        };
        ClientConfig { request_timeout_secs: Some(REQUEST_TIMEOUT.as_secs()), ..ClientConfig::new(endpoint) }
    }

    /// Returns the identity at APNs. Not secret.
    pub(crate) fn identity(&self) -> String {
        match (&self.key_id, &self.team_id) {
            (Some(key), Some(team)) => format!("key {key} of team {team} for {}", self.topic),
            _ => format!("a certificate for {}", self.topic),
        }
    }
}
