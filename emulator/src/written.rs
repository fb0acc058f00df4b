//! What an emulator leaves in a directory: the authority, credentials of every vendor, and a configuration for the gateway that uses them.

use std::path::Path;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Emulator;

/// A key pair that names an app's server to the Web Push services (VAPID, RFC 8292).
pub(crate) struct Vapid {
    /// 32 bytes in base64url.
    private: String,
    /// An uncompressed point in base64url: pages subscribe with it.
    pub(crate) public: String,
}

impl Vapid {
    /// None when the machine has no randomness.
    pub(crate) fn generate() -> Option<Self> {
        let pair = PrivateKey::generate(&ECDH_P256).ok()?;
        let private: EcPrivateKeyBin<'_> = pair.as_be_bytes().ok()?;
        let public = pair.compute_public_key().ok()?;
        Some(Self {
            private: URL_SAFE_NO_PAD.encode(private.as_ref()),
            public: URL_SAFE_NO_PAD.encode(public),
        })
    }
}

pub(crate) fn write(emulator: &Emulator, directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let put = |name: &str, text: &str| std::fs::write(directory.join(name), text);
    let (apns, vapid) = (emulator.apns(), &emulator.vapid);
    let key = apns.key();
    let key_file = format!("AuthKey_{}.p8", key.id);
    put("ca.pem", emulator.ca_pem())?;
    put("chromium.args", &(emulator.chromium_switches().join("\n") + "\n"))?;
    put("service-account.json", &emulator.service_account_json())?;
    put(&key_file, &key.p8)?;
    put("apns-certificate.pem", apns.certificate_pem())?;
    put("vapid.key", &vapid.private)?;
    put("vapid.pub", &vapid.public)?;
    // The push services under their own names, as browsers' subscriptions have them.
    let address = emulator.url().replace("https://", "");
    let names =
        crate::webpush::HOSTS.map(|name| format!("\"{}\" = \"{address}\"", name.replace('*', "wns2-par02p")));
    let configuration = include_str!("gateway.toml")
        .replace("VENDOR_URL", &emulator.url())
        .replace("CONNECT_TO", &names.join(", "))
        .replace("APNS_URL", apns.url())
        .replace("APNS_TOPIC", apns.topic())
        .replace("APNS_KEY_FILE", &key_file)
        .replace("APNS_KEY_ID", &key.id)
        .replace("APNS_TEAM_ID", apns.team_id());
    put("pushgate.toml", &configuration)
}
