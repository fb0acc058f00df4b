//! Broadcast channels of Live Activities (iOS 18): one request reaches all subscribed devices. Pure.
//! Source: <https://developer.apple.com/documentation/usernotifications/sending-broadcast-push-notification-requests-to-apns>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use pushgate::{Fault, Kind};

use crate::encode::PushType;

/// Prefix of an address that names a broadcast channel.
const ADDRESS_PREFIX: &str = "broadcast:";
/// Maximum length of an id in base64. Apple specifies no length; current ids have 24 bytes.
const MAX_ID_BYTES: usize = 256;

/// Returns the id of the broadcast channel that the address names. `None` means that it is a device token.
pub(crate) fn id(token: &str) -> Option<&str> {
    token.strip_prefix(ADDRESS_PREFIX)
}

/// Checks the form of an id.
///
/// # Errors
/// Returns a fault that describes the valid form.
pub(crate) fn admits(id: &str) -> Result<(), Fault> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) && STANDARD.decode(id).is_ok() {
        return Ok(());
    }
    let detail =
        "the address of a broadcast channel is `broadcast:` and its apns-channel-id, which is base64";
    Err(Fault::new(Kind::BadMessage, detail))
}

/// Converts the headers of a push to a device into those of a broadcast. The path names the app, and APNs does not collapse
/// broadcasts.
pub(crate) fn headers(kind: PushType, device: &HeaderMap, id: &str) -> Result<HeaderMap, Fault> {
    if kind != PushType::Liveactivity {
        let detail = "a broadcast channel accepts Live Activities only; set headers.apns-push-type to liveactivity in the overrides for apns";
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
