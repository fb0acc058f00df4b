//! Devices and their addresses.

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, ChannelName, DeviceId, UserId};
use crate::secret::Secret;
use crate::timestamp::Timestamp;

/// Platform of a device. The API, stores and configuration use its name, because vendors' SDKs number platforms in
/// different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Browser: a page with a service worker.
    Web,
    /// Android, and systems derived from it that use its app model.
    Android,
    /// iOS on an iPhone.
    Ios,
    /// iPadOS on an iPad.
    Ipados,
    /// macOS, outside a browser.
    Macos,
    /// Windows, outside a browser.
    Windows,
    /// Linux, outside a browser.
    Linux,
    /// HarmonyOS NEXT and later, which do not run Android apps.
    Harmony,
    /// Mini program inside another app.
    Miniprogram,
}

impl Platform {
    /// Every platform, in the order of this enum.
    pub const ALL: [Self; 9] = [
        Self::Web,
        Self::Android,
        Self::Ios,
        Self::Ipados,
        Self::Macos,
        Self::Windows,
        Self::Linux,
        Self::Harmony,
        Self::Miniprogram,
    ];

    /// Returns the name used in the configuration, the API and stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Android => "android",
            Self::Ios => "ios",
            Self::Ipados => "ipados",
            Self::Macos => "macos",
            Self::Windows => "windows",
            Self::Linux => "linux",
            Self::Harmony => "harmony",
            Self::Miniprogram => "miniprogram",
        }
    }
}

/// Kind of the token in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Registration or device token, opaque to the gateway.
    Token,
    /// Installation id, which some push services take in place of a token.
    Fid,
    /// Web Push subscription: the JSON of `PushSubscription.toJSON()`.
    Subscription,
    /// Second token of a device, for calls only. Pushes to it ring on the platform's call screen.
    Voip,
}

impl TokenKind {
    /// Returns the name used in the API and in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Fid => "fid",
            Self::Subscription => "subscription",
            Self::Voip => "voip",
        }
    }
}

/// Address of a device: a channel and a token of its push service. `Debug` does not show the token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Channel of the app that accepts the token.
    pub channel: ChannelName,
    /// Kind of the token.
    pub kind: TokenKind,
    /// Token, at most [`Address::MAX_TOKEN`] bytes.
    pub token: Secret,
}

impl Address {
    /// Maximum size of a token in bytes. A Web Push subscription has about 400, a registration token about 200.
    pub const MAX_TOKEN: usize = 4096;
}

/// One installation of an app, bound to at most one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// App of the device.
    pub app: AppId,
    /// Id within the app, chosen by the caller or by the gateway.
    pub id: DeviceId,
    /// User who is logged in on it. `None` after a logout.
    pub user: Option<UserId>,
    /// Properties for routes and templates.
    pub traits: Traits,
    /// Addresses, in the device's order of preference.
    pub addresses: Vec<Address>,
    /// Time of the last registration of these addresses. Proof of their death from before that time is ignored.
    pub registered_at: Timestamp,
}

/// Properties of a device that selectors and templates use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// Platform of the device.
    pub platform: Platform,
    /// Manufacturer, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// Build number of the installed app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_build: Option<u64>,
    /// Country as ISO 3166-1 alpha-2, upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Locale as BCP 47 tag (`zh-CN`). Selects the variant of a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Time zone by its IANA name (`Asia/Shanghai`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Capabilities of the installed app, named by the app (`calls`, `remove`). At most [`Traits::MAX_CAPABILITIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

impl Traits {
    /// Maximum number of capabilities of a device.
    pub const MAX_CAPABILITIES: usize = 16;

    /// Creates the traits of a device of which only the platform is known.
    #[must_use]
    pub const fn of(platform: Platform) -> Self {
        Self {
            platform,
            manufacturer: None,
            app_build: None,
            country: None,
            locale: None,
            time_zone: None,
            capabilities: Vec::new(),
        }
    }
}
