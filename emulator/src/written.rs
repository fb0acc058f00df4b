//! What an emulator leaves in a directory: the authority, credentials of every vendor, and a configuration for the gateway that uses them.

use std::path::Path;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
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

/// What became of the configuration for the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configuration {
    /// It was written, with a key for callers.
    Written,
    /// There was one already, which has been kept. It fits this emulator.
    Kept,
    /// There was one already, which has been kept. It names other ports or ids than this emulator has.
    Outdated,
}

/// Writes the credentials anew, and the configuration if there is none: it may have been changed by hand.
pub(crate) fn write(emulator: &Emulator, directory: &Path) -> std::io::Result<Configuration> {
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
    let values =
        [emulator.url(), address.clone(), apns.url().to_owned(), key_file.clone(), apns.team_id().to_owned()];
    match std::fs::read_to_string(directory.join("pushgate.toml")) {
        Ok(kept) if values.iter().all(|value| kept.contains(value)) => return Ok(Configuration::Kept),
        Ok(_) => return Ok(Configuration::Outdated),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let caller_key = format!("pgk_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hash = digest(&SHA256, caller_key.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    put("pushgate.key", &caller_key)?;
    let configuration = include_str!("gateway.toml")
        .replace("KEY_HASH", &hash)
        .replace("VENDOR_URL", &emulator.url())
        .replace("CONNECT_TO", &names.join(", "))
        .replace("APNS_URL", apns.url())
        .replace("APNS_TOPIC", apns.topic())
        .replace("APNS_KEY_FILE", &key_file)
        .replace("APNS_KEY_ID", &key.id)
        .replace("APNS_TEAM_ID", apns.team_id());
    put("pushgate.toml", &configuration)?;
    Ok(Configuration::Written)
}
