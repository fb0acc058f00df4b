//! What kinds of pushes APNs knows, and what each asks of topic and priority. Data, and nothing that sends.

use serde::{Deserialize, Serialize};

/// The `apns-push-type` of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushType {
    /// Something to show.
    Alert,
    /// Data for the app in the background.
    Background,
    /// A question where the device is.
    Location,
    /// A call.
    Voip,
    /// A watch face's complication.
    Complication,
    /// A file provider's change.
    Fileprovider,
    /// Device management.
    Mdm,
    /// A Live Activity.
    Liveactivity,
    /// Push to talk.
    Pushtotalk,
    /// Widgets to be drawn anew.
    Widgets,
    /// Controls to be drawn anew.
    Controls,
}

impl PushType {
    /// As the header spells it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_value(text.into()).ok()
    }

    /// What its topic has after the app's bundle id.
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

    /// Whether it may be sent with this priority: what runs in the background may not hurry.
    pub(super) const fn allows(self, priority: u8) -> bool {
        match self {
            Self::Background => priority == 5,
            _ => matches!(priority, 10 | 5 | 1),
        }
    }

    /// Whether a certificate may send it; the rest needs a provider token.
    pub(super) const fn by_certificate(self) -> bool {
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
