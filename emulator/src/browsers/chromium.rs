//! Command-line switches that point a Chromium to the emulator, for machines whose hosts file must not change.

use std::net::SocketAddr;

/// Returns the switches for an emulator at these addresses. `key_pin` is the SHA-256 of its certificate's
/// SubjectPublicKeyInfo.
pub(crate) fn chromium_switches(services: SocketAddr, mcs: SocketAddr, key_pin: &str) -> Vec<String> {
    let rule = |host: &str| format!("MAP {host} {services}");
    // Only these hosts of googleapis.com are mapped, because Chromium fetches its own updates from others.
    let rules = [rule("firebaseinstallations.googleapis.com"), rule("fcmregistrations.googleapis.com")];
    vec![
        format!("--gcm-checkin-url=https://{services}/checkin"),
        format!("--gcm-registration-url=https://{services}/c2dm/register3"),
        // Chromium requires the scheme, although MCS is not HTTP.
        format!("--gcm-mcs-endpoint=https://{mcs}"),
        format!("--host-resolver-rules={}", rules.join(",")),
        format!("--ignore-certificate-errors-spki-list={key_pin}"),
    ]
}
