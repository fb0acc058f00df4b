//! Native options of a notification: one object per channel, by the name of the channel.

use std::collections::BTreeMap;

use pushgate::ChannelName;
use pushgate::app::App;
use pushgate_config::nearest;
use serde_json::Value;

use super::refused;
use super::strict::list;
use crate::problem::Problem;

/// Checks that each channel exists in the app, and that its options are an object.
pub(super) fn check(overrides: &BTreeMap<ChannelName, Value>, app: &App) -> Result<(), Problem> {
    for (name, options) in overrides {
        let field = format!("overrides.{name}");
        if !app.channels().contains_key(name) {
            let known: Vec<_> = app.channels().keys().map(ChannelName::as_str).collect();
            let hint = match nearest(name.as_str(), known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", list(&known)),
            };
            return Err(refused(&field, format!("is not a channel of this app; {hint}")));
        }
        if !options.is_object() {
            return Err(refused(&field, "must be an object of the channel's native options"));
        }
    }
    Ok(())
}
