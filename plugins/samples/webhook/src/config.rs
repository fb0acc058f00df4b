//! Configuration of the channel and its validation.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Configuration of the channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the endpoint, http or https.
    pub url: String,
    /// Signing secret: `whsec_` and base64 of 24 to 64 bytes.
    pub secret: String,
}

/// JSON Schema of [`Config`], for `pushgate plugin inspect`.
pub(crate) const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["url", "secret"],
  "properties": {
    "url": {"type": "string", "description": "URL of the endpoint, https"},
    "secret": {"type": "string", "description": "signing secret: whsec_ and base64 of 24 to 64 bytes; use env: or file:"}
  }
}"#;

impl Config {
    /// Validates the configuration and returns the bytes of the secret.
    ///
    /// # Errors
    /// A sentence that names the wrong key and a valid form, but no value.
    pub(crate) fn key(&self) -> Result<Vec<u8>, String> {
        if !self.url.starts_with("https://") && !self.url.starts_with("http://") {
            return Err("url: write a complete URL, such as https://host/path".to_owned());
        }
        let encoded = self.secret.strip_prefix("whsec_").unwrap_or(&self.secret);
        match STANDARD.decode(encoded) {
            Ok(key) if (24..=64).contains(&key.len()) => Ok(key),
            _ => Err("secret: write whsec_ and base64 of 24 to 64 random bytes".to_owned()),
        }
    }
}
