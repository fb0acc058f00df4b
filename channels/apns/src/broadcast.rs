//! Broadcast channels of Live Activities (iOS 18): one request reaches all who follow. Pure; decides from the address alone.
//! Source: <https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use pushgate::{Fault, Kind};

use crate::encode::PushType;

/// What an address of a broadcast channel begins with.
const PREFIX: &str = "broadcast:";
/// The longest id taken, in bytes of base64. Apple fixes no length; today's have 24.
const LONGEST_ID: usize = 256;

/// The id of the broadcast channel that an address names; `None` for a device's token.
pub(crate) fn id(token: &str) -> Option<&str> {
    token.strip_prefix(PREFIX)
}

/// Whether Apple could have given out this id.
pub(crate) fn admits(id: &str) -> Result<(), Fault> {
    if (1..=LONGEST_ID).contains(&id.len()) && STANDARD.decode(id).is_ok() {
        return Ok(());
    }
    let detail = "a broadcast channel is addressed as `broadcast:` and its apns-channel-id, which is base64";
    Err(Fault::new(Kind::BadMessage, detail))
}

/// The headers of a push to a device, made those of a broadcast. An app is named by the path, and nothing collapses.
pub(crate) fn headers(kind: PushType, device: &HeaderMap, id: &str) -> Result<HeaderMap, Fault> {
    if kind != PushType::Liveactivity {
        let detail = "a broadcast channel takes Live Activities alone; set headers.apns-push-type to liveactivity in the overrides for apns";
        return Err(Fault::new(Kind::Unsupported, detail));
    }
    let mut headers = device.clone();
    headers.remove("apns-topic");
    headers.remove("apns-collapse-id");
    if let Some(request) = headers.remove("apns-id") {
        headers.insert("apns-request-id", request);
    }
    let mut id = HeaderValue::try_from(id).expect("base64 is printable ASCII");
    id.set_sensitive(true);
    headers.insert("apns-channel-id", id);
    Ok(headers)
}
