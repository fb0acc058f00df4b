//! Push types of APNs, and what each requires of topic, priority and credentials.

use serde::{Deserialize, Serialize};

/// Value of `apns-push-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushType {
    /// Visible notification.
    Alert,
    /// Data for the app in the background.
    Background,
    /// Request for the location of the device.
    Location,
    /// Incoming call.
    Voip,
    /// Update of a watch complication.
    Complication,
    /// Change in a file provider.
    Fileprovider,
    /// Device management.
    Mdm,
    /// Update of a Live Activity.
    Liveactivity,
    /// Push to talk.
    Pushtotalk,
    /// Reload of widgets.
    Widgets,
    /// Reload of controls.
    Controls,
}

impl PushType {
    /// Parses the value of the header. `None` if it is unknown.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(text.into()).ok()
    }

    /// Returns the suffix that a topic of this push type has after the bundle id.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Alert | Self::Background | Self::Mdm => "",
            Self::Location => ".location-query",
            Self::Voip => ".voip",
            Self::Complication => ".complication",
            Self::Fileprovider => ".pushkit.fileprovider",
            Self::Liveactivity => ".push-type.liveactivity",
            Self::Pushtotalk => ".voip-ptt",
            Self::Widgets => ".push-type.widgets",
            Self::Controls => ".push-type.controls",
        }
    }

    /// Returns `true` if the push type may have this priority. Background pushes must have 5.
    pub(super) const fn allows_priority(self, priority: u8) -> bool {
        match self {
            Self::Background => priority == 5,
            _ => matches!(priority, 10 | 5 | 1),
        }
    }

    /// Returns `true` if a sender with a certificate may use the push type. The others require a provider token.
    pub(super) const fn allows_certificate(self) -> bool {
        matches!(
            self,
            Self::Alert
                | Self::Background
                | Self::Mdm
                | Self::Voip
                | Self::Complication
                | Self::Fileprovider
                | Self::Pushtotalk
        )
    }
}
