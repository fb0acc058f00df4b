//! Bodies of requests about a user: presence, acknowledgement, badge counter and push rules.

use std::time::Duration;

use pushgate::presence::Session;
use pushgate::rules::QuietHours;
use pushgate::{AppId, DeviceId, Platform, Rules, UserId};
use serde::Deserialize;

use super::notification::DurationBody;
use super::refused;
use crate::problem::Problem;

/// Longest time that a session may live without a heartbeat.
const MAX_EXPIRY: Duration = Duration::from_secs(3600);
/// Error text for a time zone that does not exist.
pub(super) const NO_TIME_ZONE: &str = "no such time zone; write an IANA name like Asia/Shanghai";
/// Largest length of a conversation name, in bytes.
const MAX_CONVERSATION_NAME: usize = 128;

/// State of a presence session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionState {
    /// The user has a live connection.
    Online,
    /// The user has no connection. The device still belongs to them and gets their notifications.
    Offline,
    /// The user has logged out. The device belongs to no user.
    Logout,
}

/// Body of `PUT …/users/{user}/presence`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PresenceBody {
    platform: Platform,
    device: Option<DeviceId>,
    state: SessionState,
    lease: Option<DurationBody>,
}

/// Body of `POST …/presence`: several sessions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyPresencesBody {
    pub(crate) sessions: Vec<UsersPresenceBody>,
}

/// One session of [`ManyPresencesBody`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersPresenceBody {
    user: UserId,
    platform: Platform,
    device: Option<DeviceId>,
    state: SessionState,
    lease: Option<DurationBody>,
}

/// Change of one presence session.
pub(crate) struct PresenceChange {
    pub(crate) session: Session,
    pub(crate) session_state: SessionState,
    /// Time after which the session expires unless a heartbeat follows.
    pub(crate) expires_after: Duration,
}

impl UsersPresenceBody {
    /// Returns the change. `default_expiry` applies where the body has no `lease`.
    pub(crate) fn into_change(
        self,
        app: &AppId,
        default_expiry: Duration,
    ) -> Result<PresenceChange, Problem> {
        let Self { user, platform, device, state, lease } = self;
        PresenceBody { platform, device, state, lease }.into_change(app, user, default_expiry)
    }
}

impl PresenceBody {
    /// Returns the change for this user. `default_expiry` applies where the body has no `lease`.
    ///
    /// # Errors
    /// A logout without a device, and a `lease` that is zero or over an hour.
    pub(crate) fn into_change(
        self,
        app: &AppId,
        user: UserId,
        default_expiry: Duration,
    ) -> Result<PresenceChange, Problem> {
        if self.state == SessionState::Logout && self.device.is_none() {
            return Err(refused("device", "is missing; a logout names its device"));
        }
        let expires_after =
            self.lease.map_or(Ok(default_expiry), |lease| lease.duration("lease", MAX_EXPIRY))?;
        if expires_after.is_zero() {
            return Err(refused(
                "lease",
                "must be longer than zero; to end a session, send the state `offline`",
            ));
        }
        let session = Session { app: app.clone(), user, platform: self.platform, device: self.device };
        Ok(PresenceChange { session, session_state: self.state, expires_after })
    }
}

/// Body of `POST …/notifications/{id}:ack`: the user has received the notification on their connection.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckBody {
    pub(crate) user: UserId,
}

/// Body of `PUT …/users/{user}/badge`: sets or increments the counter. With `push`, the user's devices are sent the number.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BadgeBody {
    pub(crate) set: Option<u32>,
    pub(crate) increment: Option<u32>,
    #[serde(default)]
    pub(crate) push: bool,
}

/// Returns the rules if they are within their limits and their time zones exist.
pub(crate) fn rules(rules: Rules) -> Result<Rules, Problem> {
    if rules.mutes.len() > Rules::MAX_MUTES {
        return Err(refused("mutes", format!("at most {}", Rules::MAX_MUTES)));
    }
    for (i, mute) in rules.mutes.iter().enumerate() {
        for (name, platforms) in [("while_online", &mute.while_online), ("muted", &mute.muted)] {
            if platforms.is_empty() {
                return Err(refused(&format!("mutes[{i}].{name}"), "must name at least one platform"));
            }
        }
    }
    if rules.muted_conversations.len() > Rules::MAX_CONVERSATIONS {
        return Err(refused("muted_conversations", format!("at most {}", Rules::MAX_CONVERSATIONS)));
    }
    let fits = |name: &String| (1..=MAX_CONVERSATION_NAME).contains(&name.len());
    if !rules.muted_conversations.iter().all(fits) {
        return Err(refused("muted_conversations", format!("1 to {MAX_CONVERSATION_NAME} bytes each")));
    }
    let zone = rules.quiet_hours.as_ref().and_then(|hours| hours.time_zone.as_ref());
    if zone.is_some_and(|zone| !QuietHours::is_time_zone(zone)) {
        return Err(refused("quiet_hours.time_zone", NO_TIME_ZONE));
    }
    Ok(rules)
}
