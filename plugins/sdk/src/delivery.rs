//! Deliveries and messages, copied from the gateway's memory, which is borrowed only for the call. `Debug` prints no tokens
//! and no texts of users.

use std::fmt;

use pushgate_plugin_abi as abi;
use pushgate_plugin_abi::Str;
use serde_json::Value;

use crate::channel::TokenKind;

/// Priority of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Wakes the device, as for a chat message or a call.
    High,
    /// Delivered when the device is awake.
    Normal,
    /// Delivered when it costs no extra power.
    Low,
}

/// Action of the device on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Shows the message, unless it is silent.
    Show,
    /// Rings for a call.
    Ring {
        /// Id of the call for server and app.
        call: String,
        /// `true` to use the platform's call screen if possible.
        voip: bool,
    },
    /// Removes the message that is shown under [`Message::tag`]. Always silent.
    Remove,
}

/// Notification, rendered for one language and cut to the limits of the channel.
#[derive(Clone, PartialEq)]
pub struct Message {
    /// Id of the notification, the same for all attempts and addresses. Send it if the push service has a field for it.
    pub id: String,
    /// App of the gateway.
    pub app: String,
    /// Title; may be empty.
    pub title: String,
    /// Text below the title; may be empty.
    pub content: String,
    /// Data for the app, unchanged and never cut.
    pub payload: Option<String>,
    /// HTTPS URL of an image.
    pub image: Option<String>,
    /// URL that a click opens.
    pub link: Option<String>,
    /// Key of replacement: a later message with the same key replaces this one.
    pub collapse_key: Option<String>,
    /// Group of messages, such as a conversation.
    pub thread: Option<String>,
    /// Category of the notification in the device's settings.
    pub category: Option<String>,
    /// Native options of this channel, to be merged last into the request.
    pub overrides: Option<Value>,
    /// Time of the caller's request, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// Time after which the message must not be sent, in milliseconds since 1970.
    pub expires_at_ms: i64,
    /// Requested time to live, in seconds. Zero means to deliver now or not at all.
    pub ttl_s: u64,
    /// Number on the icon. `None` leaves it unchanged.
    pub badge: Option<u32>,
    /// Priority.
    pub priority: Priority,
    /// `true` for data for the app, which is not shown.
    pub silent: bool,
    /// Name of the shown notification. A new one with the same name replaces it.
    pub tag: String,
    /// Action of the device.
    pub act: Act,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("app", &self.app).finish_non_exhaustive()
    }
}

/// Recipient: one device and its address.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Token, which is secret. Never log it.
    pub token: String,
    /// Kind of the token.
    pub kind: TokenKind,
    /// Id of the device. `None` if it is unknown.
    pub device: Option<String>,
    /// Id of the user. `None` if it is unknown.
    pub user: Option<String>,
    /// Index within the notification, the same for all attempts.
    pub index: u32,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("index", &self.index).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Notification and a batch of its recipients.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Id of the delivery.
    pub id: String,
    /// Message to send.
    pub message: Message,
    /// Recipients: at least one, and at most [`crate::Capability::max_batch`].
    pub targets: Vec<Target>,
    /// Deadline in milliseconds since 1970. The gateway reports a timeout half a second after it.
    pub deadline_ms: i64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
}

/// Returns a copy of the text. `None` means that there is no text.
///
/// # Safety
/// The text is valid for the call.
unsafe fn text(text: Str) -> Option<String> {
    // SAFETY: the caller guarantees it.
    unsafe { text.text(usize::MAX) }
}

impl Message {
    /// Copies the C struct.
    ///
    /// # Safety
    /// The struct is valid for the call, as the contract demands.
    pub(crate) unsafe fn from_raw(raw: &abi::Message) -> Self {
        // SAFETY: the caller guarantees that the texts are valid for the call.
        let copy = |field| unsafe { text(field) };
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
    /// Copies the C struct.
    ///
    /// # Safety
    /// The struct is valid for the call, as the contract demands.
    unsafe fn from_raw(raw: &abi::Target) -> Self {
        // SAFETY: the caller guarantees that the texts are valid for the call.
        let copy = |field| unsafe { text(field) };
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
    /// Copies the C struct.
    ///
    /// # Safety
    /// The struct is valid for the call, as the contract demands.
    pub(crate) unsafe fn from_raw(raw: &abi::Delivery) -> Self {
        // SAFETY: the caller guarantees `target_count` pointers to targets, and a message.
        unsafe {
            let targets = std::slice::from_raw_parts(raw.targets, raw.target_count);
            Self {
                id: text(raw.id).unwrap_or_default(),
                message: Message::from_raw(&*raw.message),
                targets: targets.iter().map(|target| Target::from_raw(&**target)).collect(),
                deadline_ms: raw.deadline_ms,
                attempt: raw.attempt,
            }
        }
    }
}
