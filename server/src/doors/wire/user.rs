//! What is said of a user: who is online, what he wants pushed, how many notifications he has not read.

use std::time::Duration;

use pushgate::presence::Session;
use pushgate::rules::QuietHours;
use pushgate::{AppId, DeviceId, Platform, Rules, UserId};
use serde::Deserialize;

use super::notification::Span;
use super::refused;
use crate::problem::Problem;

/// The longest lease: what lives longer unseen is no presence.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);
/// Error text for a time zone that does not exist.
pub(super) const NO_TIME_ZONE: &str = "no such time zone; write an IANA name like Asia/Shanghai";
/// The longest name of a conversation, in bytes.
const LONGEST_CONVERSATION: usize = 128;

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// There is a live connection.
    Online,
    /// There is none; the device is still the user's and gets his notifications.
    Offline,
    /// The user has logged out: the device is nobody's.
    Logout,
}

/// `PUT …/users/{user}/presence`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PresenceBody {
    platform: Platform,
    device: Option<DeviceId>,
    state: State,
    lease: Option<Span>,
}

/// `POST …/presence`: many at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManyPresencesBody {
    pub(crate) sessions: Vec<UsersPresenceBody>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsersPresenceBody {
    user: UserId,
    platform: Platform,
    device: Option<DeviceId>,
    state: State,
    lease: Option<Span>,
}

/// One word about one session.
pub(crate) struct Word {
    pub(crate) session: Session,
    pub(crate) state: State,
    pub(crate) lease: Duration,
}

impl UsersPresenceBody {
    pub(crate) fn word(self, app: &AppId, usual: Duration) -> Result<Word, Problem> {
        let Self { user, platform, device, state, lease } = self;
        PresenceBody { platform, device, state, lease }.word(app, user, usual)
    }
}

impl PresenceBody {
    /// # Errors
    /// A logout without a device, and a lease that is none.
    pub(crate) fn word(self, app: &AppId, user: UserId, usual: Duration) -> Result<Word, Problem> {
        if self.state == State::Logout && self.device.is_none() {
            return Err(refused("device", "is missing: a logout says on which device"));
        }
        let lease = self.lease.map_or(Ok(usual), |lease| lease.duration("lease", LONGEST_LEASE))?;
        if lease.is_zero() {
            return Err(refused("lease", "must be longer than nothing; to end a session, say offline"));
        }
        let session = Session { app: app.clone(), user, platform: self.platform, device: self.device };
        Ok(Word { session, state: self.state, lease })
    }
}

/// `POST …/notifications/{id}:ack`: a user has got it on his connection.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AckBody {
    pub(crate) user: UserId,
}

/// `PUT …/users/{user}/badge`: the counter becomes or rises; with `push`, the user's devices that are away show it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BadgeBody {
    pub(crate) set: Option<u32>,
    pub(crate) increment: Option<u32>,
    #[serde(default)]
    pub(crate) push: bool,
}

/// Rules within their limits, naming time zones there are.
pub(crate) fn rules(rules: Rules) -> Result<Rules, Problem> {
    if rules.mutes.len() > Rules::MAX_MUTES {
        return Err(refused("mutes", format!("at most {}", Rules::MAX_MUTES)));
    }
    for (i, mute) in rules.mutes.iter().enumerate() {
        for (name, platforms) in [("while_online", &mute.while_online), ("muted", &mute.muted)] {
            if platforms.is_empty() {
                return Err(refused(&format!("mutes[{i}].{name}"), "names at least one platform"));
            }
        }
    }
    if rules.muted_conversations.len() > Rules::MAX_CONVERSATIONS {
        return Err(refused("muted_conversations", format!("at most {}", Rules::MAX_CONVERSATIONS)));
    }
    let fits = |name: &String| (1..=LONGEST_CONVERSATION).contains(&name.len());
    if !rules.muted_conversations.iter().all(fits) {
        return Err(refused("muted_conversations", format!("1 to {LONGEST_CONVERSATION} bytes each")));
    }
    let zone = rules.quiet_hours.as_ref().and_then(|hours| hours.time_zone.as_ref());
    if zone.is_some_and(|zone| !QuietHours::is_time_zone(zone)) {
        return Err(refused("quiet_hours.time_zone", NO_TIME_ZONE));
    }
    Ok(rules)
}
