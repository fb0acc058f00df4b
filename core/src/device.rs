//! Devices and their addresses: who can be reached, and where.

use serde::{Deserialize, Serialize};

use crate::words::{AppId, ChannelName, DeviceId, Secret, Timestamp, UserId};

/// What a device runs on. Names are strings everywhere; vendors' SDKs number them in ways that disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// A browser: a page with a service worker.
    Web,
    /// Android and its descendants with Android's app model.
    Android,
    /// iPhone.
    Ios,
    /// iPad.
    Ipados,
    /// macOS, outside a browser.
    Macos,
    /// Windows, outside a browser.
    Windows,
    /// Linux, outside a browser.
    Linux,
    /// HarmonyOS NEXT and later, whose apps are not Android's.
    Harmony,
    /// A program inside another app.
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

    /// The name used in configuration, API and stores.
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

/// What kind of token an address holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// A registration or device token, opaque to us.
    Token,
    /// An installation id, which some vendors take in place of a token.
    Fid,
    /// A Web Push subscription: the JSON of `PushSubscription.toJSON()`.
    Subscription,
    /// A second token of a device, for calls alone: what comes to it rings by the platform's call screen.
    Voip,
}

impl TokenKind {
    /// The name used in the API and in stores.
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

/// Where a device is reached: a channel, and what the vendor behind it calls the device.
/// The token never prints.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The channel of the app that understands the token.
    pub channel: ChannelName,
    /// What kind of token it is.
    pub kind: TokenKind,
    /// The token: at most [`Address::MAX_TOKEN`] bytes.
    pub token: Secret,
}

impl Address {
    /// The longest token taken, in bytes. A Web Push subscription is some 400, a registration token some 200.
    pub const MAX_TOKEN: usize = 4096;
}

/// One installation that can be pushed to, bound to at most one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The app it belongs to.
    pub app: AppId,
    /// Its name in the app, chosen by the caller or by the gateway.
    pub id: DeviceId,
    /// The user logged in on it; none after a logout.
    pub user: Option<UserId>,
    /// What routes look at.
    pub traits: Traits,
    /// Where it is reached, in the order of preference the device gave.
    pub addresses: Vec<Address>,
    /// When these addresses were last registered: older news of their death is not believed.
    pub registered_at: Timestamp,
}

/// What a selector can ask of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// What it runs on.
    pub platform: Platform,
    /// Who made it, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// The build number of the app on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_build: Option<u64>,
    /// ISO 3166-1 alpha-2, upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// BCP 47, as the platform gives it (`zh-CN`): chooses the template's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// IANA name (`Asia/Shanghai`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What the app on it can do, in the app's own words (`calls`, `remove`): at most [`Traits::MAX_CAPABILITIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

impl Traits {
    /// The most capabilities a device names.
    pub const MAX_CAPABILITIES: usize = 16;

    /// A device of which only the platform is known.
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
