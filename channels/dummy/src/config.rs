//! What the channel is configured with. `deny_unknown_fields`, so that a slip is told with its line and the nearest key.

use pushgate::Kind;
use serde::Deserialize;

/// The channel's table in the configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What each address gets, in turn and round again; without any, everything is accepted.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// What one address gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Taken.
    Accepted,
    /// A fault of this kind: `{ fault = "throttled" }`.
    Fault(Kind),
}
