//! What Chromium has to be told so that it finds the emulator: command-line switches, for browsers whose hosts file is not ours.

use std::net::SocketAddr;

/// The switches for an emulator at these addresses whose certificate has this key (SHA-256 of its SubjectPublicKeyInfo).
pub(crate) fn switches(vendor: SocketAddr, mcs: SocketAddr, key_pin: &str) -> Vec<String> {
    let rule = |host: &str| format!("MAP {host} {vendor}");
    // Not all of googleapis.com: Chromium asks for its own updates there.
    let rules = [rule("firebaseinstallations.googleapis.com"), rule("fcmregistrations.googleapis.com")];
    vec![
        format!("--gcm-checkin-url=https://{vendor}/checkin"),
        format!("--gcm-registration-url=https://{vendor}/c2dm/register3"),
        // Chromium wants the scheme, though what it speaks there is not HTTP.
        format!("--gcm-mcs-endpoint=https://{mcs}"),
        format!("--host-resolver-rules={}", rules.join(",")),
        format!("--ignore-certificate-errors-spki-list={key_pin}"),
    ]
}
