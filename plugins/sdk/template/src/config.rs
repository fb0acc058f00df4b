//! What the channel is configured with. It holds secrets: it has no `Debug`, and no error repeats a value.

use serde::Deserialize;

/// The channel's table in the gateway's configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to send to.
    pub url: String,
    /// What the vendor knows us by.
    pub api_key: String,
}

/// JSON Schema of [`Config`], for `pushgate plugin inspect`.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["url", "api_key"],
  "properties": {
    "url": {"type": "string", "description": "where to send to, https"},
    "api_key": {"type": "string", "description": "the key; use env: or file:"}
  }
}"#;

impl Config {
    /// Refuses what cannot be right.
    ///
    /// # Errors
    /// Which key is wrong and what would be right, without its value.
    pub fn checked(self) -> Result<Self, String> {
        if !self.url.starts_with("https://") {
            return Err("url: write the whole address, https://host/path".to_owned());
        }
        if self.api_key.is_empty() {
            return Err("api_key: it is empty".to_owned());
        }
        Ok(self)
    }
}
