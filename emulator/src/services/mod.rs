//! The emulated push services: FCM, APNs, and the Web Push services of the browsers.

pub(crate) mod apns;
pub(crate) mod fcm;
pub(crate) mod web_push;
