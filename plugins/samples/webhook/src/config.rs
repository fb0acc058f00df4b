//! What the channel is configured with, and what can be said about it before anything is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The channel's table in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to POST to.
    pub url: String,
    /// The signing secret, `whsec_` and base64 of 24 to 64 bytes.
    pub secret: String,
}

/// JSON Schema of [`Config`], for `pushgate plugin inspect`.
pub(crate) const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["url", "secret"],
  "properties": {
    "url": {"type": "string", "description": "where to POST to, https"},
    "secret": {"type": "string", "description": "the signing secret: whsec_ and base64 of 24 to 64 bytes; use env: or file:"}
  }
}"#;

impl Config {
    /// The bytes of the secret.
    ///
    /// # Errors
    /// Which key is wrong and what would be right, without its value.
    pub(crate) fn key(&self) -> Result<Vec<u8>, String> {
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return Err("url: write the whole address, https://host/path".to_owned());
        }
        let encoded = self.secret.strip_prefix("whsec_").unwrap_or(&self.secret);
        match STANDARD.decode(encoded) {
            Ok(key) if (24..=64).contains(&key.len()) => Ok(key),
            _ => Err("secret: write whsec_ and base64 of 24 to 64 random bytes".to_owned()),
        }
    }
}
