//! Configuration of the channel. It contains secrets, so it has no `Debug` and no error repeats a value.

use serde::Deserialize;

/// Configuration of the channel.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of Acme's API, https.
    pub url: String,
    /// API key.
    pub api_key: String,
}

/// JSON Schema of [`Config`], for `pushgate plugin inspect`.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "required": ["url", "api_key"],
  "properties": {
    "url": {"type": "string", "description": "URL of the API, https"},
    "api_key": {"type": "string", "description": "API key; use env: or file:"}
  }
}"#;

impl Config {
    /// Returns the configuration if its values are valid.
    ///
    /// # Errors
    /// A sentence that names the wrong key and a valid form, but no value.
    pub fn validate(self) -> Result<Self, String> {
        if !self.url.starts_with("https://") {
            return Err("url: write a complete https URL, such as https://host/path".to_owned());
        }
        if self.api_key.is_empty() {
            return Err("api_key: write the API key, which is empty".to_owned());
        }
        Ok(self)
    }
}
