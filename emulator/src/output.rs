//! Files of an emulator: its authority, the credentials for every push service, and a gateway configuration that uses
//! them.

use std::path::Path;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Emulator;

/// Key pair that identifies an application server to the Web Push services (VAPID, RFC 8292).
pub(crate) struct VapidKeyPair {
    /// Private key: 32 bytes in base64url.
    private: String,
    /// Public key: an uncompressed point in base64url. Pages subscribe with it.
    pub(crate) public: String,
}

impl VapidKeyPair {
    /// Generates a key pair. `None` if the machine provides no randomness.
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

/// Result of writing the gateway configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigurationFile {
    /// The file was written, with an API key for callers.
    Written,
    /// A file existed and was kept. It matches this emulator.
    Kept,
    /// A file existed and was kept. Its ports or ids differ from those of this emulator.
    Outdated,
}

/// Writes new credentials, and the configuration unless it exists. An existing file may have been edited by hand.
pub(crate) fn write(emulator: &Emulator, directory: &Path) -> std::io::Result<ConfigurationFile> {
    std::fs::create_dir_all(directory)?;
    let write_file = |name: &str, text: &str| std::fs::write(directory.join(name), text);
    let (apns, vapid) = (emulator.apns(), &emulator.vapid);
    let key = apns.key();
    let key_file = format!("AuthKey_{}.p8", key.id);
    write_file("ca.pem", emulator.ca_pem())?;
    write_file("chromium.args", &(emulator.chromium_switches().join("\n") + "\n"))?;
    write_file("service-account.json", &emulator.service_account_json())?;
    write_file(&key_file, &key.p8)?;
    write_file("apns-certificate.pem", apns.certificate_pem())?;
    write_file("vapid.key", &vapid.private)?;
    write_file("vapid.pub", &vapid.public)?;
    // Subscriptions of browsers name the real hosts of the push services.
    let address = emulator.url().replace("https://", "");
    let connect_to = crate::services::web_push::HOSTS
        .map(|host| format!("\"{}\" = \"{address}\"", host.replace('*', "wns2-par02p")));
    let values =
        [emulator.url(), address.clone(), apns.url().to_owned(), key_file.clone(), apns.team_id().to_owned()];
    match std::fs::read_to_string(directory.join("pushgate.toml")) {
        Ok(existing) if values.iter().all(|value| existing.contains(value)) => {
            return Ok(ConfigurationFile::Kept);
        }
        Ok(_) => return Ok(ConfigurationFile::Outdated),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let caller_key = format!("pgk_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hash = digest(&SHA256, caller_key.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    write_file("pushgate.key", &caller_key)?;
    let configuration = include_str!("gateway.toml")
        .replace("KEY_HASH", &hash)
        .replace("VENDOR_URL", &emulator.url())
        .replace("CONNECT_TO", &connect_to.join(", "))
        .replace("APNS_URL", apns.url())
        .replace("APNS_TOPIC", apns.topic())
        .replace("APNS_KEY_FILE", &key_file)
        .replace("APNS_KEY_ID", &key.id)
        .replace("APNS_TEAM_ID", apns.team_id());
    write_file("pushgate.toml", &configuration)?;
    Ok(ConfigurationFile::Written)
}
