//! What is sent, copied from the gateway's memory: it is lent for the call only, and sending takes longer.
//! Tokens and texts of users never print.

use std::fmt;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;
use serde_json::Value;

use crate::channel::TokenKind;

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Wakes the device: somebody wrote or calls.
    High,
    /// At the device's convenience.
    Normal,
    /// When it costs nothing.
    Low,
}

/// What the device is to do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Show it, unless it is silent.
    Show,
    /// Ring.
    Ring {
        /// The call's id, as server and app know it.
        call: String,
        /// By the platform's own call screen, where that can be.
        voip: bool,
    },
    /// Take off the screen what is shown under [`Message::tag`]. Such a message is silent.
    Remove,
}

/// One notification, rendered for one language and cut to what the channel can carry.
#[derive(Clone, PartialEq)]
pub struct Message {
    /// The same for every attempt and every address: hand it to the vendor where there is a field for it.
    pub id: String,
    /// The app it belongs to.
    pub app: String,
    /// Shown first; may be empty.
    pub title: String,
    /// Shown below; may be empty.
    pub content: String,
    /// Handed to the app as it is, never cut.
    pub payload: Option<String>,
    /// HTTPS address of a picture.
    pub image: Option<String>,
    /// Where a click leads.
    pub link: Option<String>,
    /// A later message with the same key replaces this one.
    pub collapse_key: Option<String>,
    /// Groups messages of one conversation.
    pub thread: Option<String>,
    /// What kind of notification it is, for the device's settings.
    pub category: Option<String>,
    /// Native options for this channel, merged last into what is sent.
    pub overrides: Option<Value>,
    /// When the caller asked: milliseconds since 1970.
    pub created_at_ms: i64,
    /// From when on it must not be sent any more: milliseconds since 1970.
    pub expires_at_ms: i64,
    /// The time to live as it was asked for, in seconds. Zero: now or never.
    pub ttl_s: u64,
    /// The number on the icon.
    pub badge: Option<u32>,
    /// How urgent it is.
    pub priority: Priority,
    /// Shows nothing: data for the app.
    pub silent: bool,
    /// Under which name the device shows it: showing the same name again replaces.
    pub tag: String,
    /// What the device is to do with it.
    pub act: Act,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("app", &self.app).finish_non_exhaustive()
    }
}

/// One address.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// A secret: never log it.
    pub token: String,
    /// What kind of token it is.
    pub kind: TokenKind,
    /// The gateway's name for the device.
    pub device: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// Its number within the notification, the same at every attempt.
    pub index: u32,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("index", &self.index).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// One notification on its way to a batch of addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Names this attempt of this batch.
    pub id: String,
    /// What is sent.
    pub message: Message,
    /// To whom: at least one, at most the capability's `max_batch`.
    pub targets: Vec<Target>,
    /// By when to answer: milliseconds since 1970. Half a second later the gateway does.
    pub deadline_ms: i64,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// # Safety
/// The text is good for the call.
unsafe fn text(text: Str) -> Option<String> {
    // SAFETY: the gateway lends it for the call.
    unsafe { text.text(usize::MAX) }
}

impl Message {
    /// # Safety
    /// As lent by the gateway.
    pub(crate) unsafe fn copied(raw: &abi::Message) -> Self {
        // SAFETY: each is lent for the call.
        let copy = |lent| unsafe { text(lent) };
        Self {
            id: copy(raw.id).unwrap_or_default(),
            app: copy(raw.app).unwrap_or_default(),
            title: copy(raw.title).unwrap_or_default(),
            content: copy(raw.content).unwrap_or_default(),
            payload: copy(raw.payload),
            image: copy(raw.image),
            link: copy(raw.link),
            collapse_key: copy(raw.collapse_key),
            thread: copy(raw.thread),
            category: copy(raw.category),
            overrides: copy(raw.overrides).and_then(|json| serde_json::from_str(&json).ok()),
            created_at_ms: raw.created_at_ms,
            expires_at_ms: raw.expires_at_ms,
            ttl_s: raw.ttl_s,
            badge: u32::try_from(raw.badge).ok(),
            priority: match raw.priority {
                abi::PRIORITY_NORMAL => Priority::Normal,
                abi::PRIORITY_LOW => Priority::Low,
                _ => Priority::High,
            },
            silent: raw.silent != 0,
            tag: copy(raw.tag).unwrap_or_default(),
            act: match raw.act {
                abi::ACT_RING => Act::Ring { call: copy(raw.call).unwrap_or_default(), voip: raw.voip != 0 },
                abi::ACT_REMOVE => Act::Remove,
                _ => Act::Show,
            },
        }
    }
}

impl Target {
    /// # Safety
    /// As lent by the gateway.
    unsafe fn copied(raw: &abi::Target) -> Self {
        // SAFETY: each is lent for the call.
        let copy = |lent| unsafe { text(lent) };
        Self {
            token: copy(raw.token).unwrap_or_default(),
            kind: match raw.kind {
                abi::FID => TokenKind::Fid,
                abi::SUBSCRIPTION => TokenKind::Subscription,
                _ => TokenKind::Token,
            },
            device: copy(raw.device),
            user: copy(raw.user),
            index: raw.index,
        }
    }
}

impl Delivery {
    /// # Safety
    /// As lent by the gateway.
    pub(crate) unsafe fn copied(raw: &abi::Delivery) -> Self {
        // SAFETY: so many pointers, each to a target, and a message; all lent for the call.
        unsafe {
            let targets = std::slice::from_raw_parts(raw.targets, raw.target_count);
            Self {
                id: text(raw.id).unwrap_or_default(),
                message: Message::copied(&*raw.message),
                targets: targets.iter().map(|target| Target::copied(&**target)).collect(),
                deadline_ms: raw.deadline_ms,
                attempt: raw.attempt,
            }
        }
    }
}
