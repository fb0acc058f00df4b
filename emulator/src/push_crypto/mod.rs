//! Message encryption for Web Push (RFC 8291 over RFC 8188, `aes128gcm`).
//! The emulated service encrypts for virtual browsers, and virtual browsers decrypt what application servers send.

mod coding;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hmac;

use coding::EncodedBody;

/// Error of decrypting a push message. Real browsers do not report it. The emulator puts it into the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DecryptionError {
    /// The header block is truncated (RFC 8188 §2.1).
    Header,
    /// The record size leaves no room for text.
    RecordSize,
    /// The message has more than one record, or a record size below the length of its record.
    SeveralRecords,
    /// The key id is not a public key on P-256 (RFC 8291 §4).
    SenderKey,
    /// The authentication of the record fails: it was encrypted for another subscription, or changed.
    Sealed,
    /// The delimiter of the last record is missing.
    Padding,
}

/// Keys of a subscription in the browser (user agent).
pub(crate) struct UserAgentKeys {
    private: PrivateKey,
    public_keys: UserAgentPublicKeys,
}

/// Public part of the subscription keys, which application servers encrypt with.
pub(crate) struct UserAgentPublicKeys {
    /// Public key: an uncompressed point.
    pub(crate) public: Vec<u8>,
    /// Authentication secret.
    pub(crate) auth: [u8; 16],
}

/// Message in the older coding `aesgcm`, with the values of its headers.
pub(crate) struct AesgcmMessage {
    pub(crate) salt: [u8; 16],
    pub(crate) public: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl UserAgentKeys {
    /// Generates keys. `None` if the machine provides no randomness.
    pub(crate) fn generate() -> Option<Self> {
        Self::from_private_key(PrivateKey::generate(&ECDH_P256).ok()?, rand::random())
    }

    fn from_private_key(private: PrivateKey, auth: [u8; 16]) -> Option<Self> {
        let public = private.compute_public_key().ok()?.as_ref().to_vec();
        Some(Self { private, public_keys: UserAgentPublicKeys { public, auth } })
    }

    pub(crate) fn public_keys(&self) -> &UserAgentPublicKeys {
        &self.public_keys
    }

    /// Decrypts a message.
    pub(crate) fn decrypt(&self, body: &[u8]) -> Result<Vec<u8>, DecryptionError> {
        let encoded = EncodedBody::parse(body)?;
        if encoded.key_id.len() != 65 || encoded.key_id[0] != 4 {
            return Err(DecryptionError::SenderKey);
        }
        let secret = ecdh(&self.private, encoded.key_id).ok_or(DecryptionError::SenderKey)?;
        encoded.decrypt(&self.public_keys.key_material(&secret, encoded.key_id))
    }
}

impl UserAgentPublicKeys {
    /// Encrypts a message with a new sender key. `None` if the machine provides no randomness.
    pub(crate) fn encrypt(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_with(plaintext, &PrivateKey::generate(&ECDH_P256).ok()?, rand::random())
    }

    fn encrypt_with(&self, plaintext: &[u8], sender: &PrivateKey, salt: [u8; 16]) -> Option<Vec<u8>> {
        let sender_public = sender.compute_public_key().ok()?;
        let secret = ecdh(sender, &self.public)?;
        let key_material = self.key_material(&secret, sender_public.as_ref());
        coding::encrypt(plaintext, &key_material, &salt, sender_public.as_ref())
    }

    /// Encrypts a message in the coding of the draft before RFC 8291, with salt and sender key in headers.
    pub(crate) fn encrypt_aesgcm(&self, plaintext: &[u8]) -> Option<AesgcmMessage> {
        let sender = PrivateKey::generate(&ECDH_P256).ok()?;
        self.encrypt_aesgcm_with(plaintext, &sender, rand::random())
    }

    fn encrypt_aesgcm_with(
        &self,
        plaintext: &[u8],
        sender: &PrivateKey,
        salt: [u8; 16],
    ) -> Option<AesgcmMessage> {
        let public = sender.compute_public_key().ok()?.as_ref().to_vec();
        let key = hmac_sha256(&self.auth, &[&ecdh(sender, &self.public)?]);
        let key_material = hmac_sha256(&key, &[b"Content-Encoding: auth\0", &[1]]);
        let context = [b"P-256\0\0\x41", self.public.as_slice(), b"\0\x41", &public].concat();
        let body = coding::encrypt_aesgcm(plaintext, &key_material, &salt, &context)?;
        Some(AesgcmMessage { salt, public, body })
    }

    /// Returns the input keying material of the content coding (RFC 8291 §3.4).
    fn key_material(&self, secret: &[u8], sender_public: &[u8]) -> Vec<u8> {
        let key = hmac_sha256(&self.auth, &[secret]);
        hmac_sha256(&key, &[b"WebPush: info\0", &self.public, sender_public, &[1]])
    }
}

/// Returns the shared secret. `None` if the public key is not a point on P-256.
fn ecdh(private: &PrivateKey, public: &[u8]) -> Option<Vec<u8>> {
    agree(private, UnparsedPublicKey::new(&ECDH_P256, public), (), |secret| Ok(secret.to_vec())).ok()
}

/// Returns the HMAC-SHA-256 of the concatenated parts.
fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn private(text: &str) -> PrivateKey {
        PrivateKey::from_private_key(&ECDH_P256, &bytes(text)).unwrap()
    }

    const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

    fn keys() -> UserAgentKeys {
        let auth = bytes("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap();
        UserAgentKeys::from_private_key(private("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), auth).unwrap()
    }

    #[test]
    fn encryption_gives_the_body_of_rfc_8291_appendix_a() {
        let sender = private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let body = keys()
            .public_keys
            .encrypt_with(b"When I grow up, I want to be a watermelon", &sender, salt)
            .unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(body), BODY);
    }

    #[test]
    fn aesgcm_encryption_matches_the_npm_package_http_ece() {
        // Created by the npm package http_ece with the keys and the salt of RFC 8291 Appendix A.
        let expected = "4qwOLFm_mNy0vf1A8f3Bm6B5UD15y3aV_xZy14pixUhcPTIoZKHzq5i3dZ6PzqSMxBI_-VDUZ4jW04M";
        let sender = private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let plaintext = b"When I grow up, I want to be a watermelon";
        let message = keys().public_keys.encrypt_aesgcm_with(plaintext, &sender, salt).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(message.body), expected);
    }

    #[test]
    fn the_body_of_rfc_8291_appendix_a_is_decrypted() {
        assert_eq!(keys().decrypt(&bytes(BODY)).unwrap(), b"When I grow up, I want to be a watermelon");
    }

    #[test]
    fn a_changed_or_truncated_body_is_not_decrypted() {
        let body = bytes(BODY);
        for at in [0, 20, 21, 90, body.len() - 1] {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert!(keys().decrypt(&changed).is_err(), "byte {at}");
        }
        assert_eq!(keys().decrypt(&body[..80]), Err(DecryptionError::Header));
        assert_eq!(keys().decrypt(&[]), Err(DecryptionError::Header));
    }

    #[test]
    fn a_sender_key_that_is_not_a_point_is_refused() {
        let mut body = bytes(BODY);
        body[21] = 2;
        assert_eq!(keys().decrypt(&body), Err(DecryptionError::SenderKey));
        body[21] = 4;
        body[22..86].fill(9);
        assert_eq!(keys().decrypt(&body), Err(DecryptionError::SenderKey));
    }

    #[test]
    fn a_message_for_another_subscription_is_not_decrypted() {
        let body = UserAgentKeys::generate().unwrap().public_keys().encrypt(b"secret").unwrap();
        assert_eq!(keys().decrypt(&body), Err(DecryptionError::Sealed));
    }
}
