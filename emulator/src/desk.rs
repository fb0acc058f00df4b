//! A vendor as the control API sees it. Whatever is the same for all vendors, the API does by itself.

use serde_json::Value;

use crate::mailbox::{Change, Shown};
use crate::rig::Site;

/// What the manual of the control API says of a vendor.
pub(crate) struct Manual {
    /// A body that makes a device. `None` if devices cannot be made.
    pub(crate) device: Option<Value>,
    /// The fields of such a body, and of the answer.
    pub(crate) device_fields: Value,
    /// Routes and values that only this vendor has, by method and path.
    pub(crate) more: Value,
}

/// What each vendor has of its own.
pub(crate) trait Desk: Site {
    /// Makes a virtual device as it is wished for; gives what its owner needs to know, or what is wrong with the wish.
    fn add(&self, wish: Value) -> Result<Value, String>;
    /// Every device: `id`, `kind`, `state`, and nothing secret.
    fn list(&self) -> Vec<Value>;
    /// What a device shows, newest first.
    fn shown(&self, id: &str) -> Option<Vec<Shown>>;
    /// Changes a device's state. Whether there is such a device.
    fn change(&self, id: &str, change: Change) -> bool;
    /// Its part of the manual.
    fn manual(&self) -> Manual;
    /// The verbs it has of its own, each with a body that works.
    fn verbs(&self) -> Value;
    /// Does one of them; none when it has no such verb.
    fn verb(&self, name: &str, body: Value) -> Option<Result<(), String>>;
}
