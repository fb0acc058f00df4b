//! Message encryption for Web Push (RFC 8291 over RFC 8188, `aes128gcm`), both directions: the push service encrypts for the
//! virtual browser, and the browser really decrypts.

mod coding;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hmac;

use coding::{Coded, sealed};

/// Why a browser cannot read a message. Real browsers say nothing; the emulator tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// The header block is cut (RFC 8188 §2.1).
    Header,
    /// The record size leaves no room for a byte of text.
    RecordSize,
    /// Push messages are one record; this one has more, or names a record size smaller than its record.
    SeveralRecords,
    /// The key id is no public key on P-256 (RFC 8291 §4).
    SenderKey,
    /// The record does not open: another subscription's keys, or bytes were changed.
    Sealed,
    /// The delimiter of the last record is missing.
    Padding,
}

/// A browser's subscription keys.
pub(crate) struct Keys {
    private: PrivateKey,
    recipient: Recipient,
}

/// What a browser gives away so that others can write to it.
pub(crate) struct Recipient {
    /// The public key, uncompressed.
    pub(crate) public: Vec<u8>,
    /// The shared secret.
    pub(crate) auth: [u8; 16],
}

/// A message in the older encoding, with what belongs into its headers.
pub(crate) struct Sealed {
    pub(crate) salt: [u8; 16],
    pub(crate) public: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Keys {
    pub(crate) fn generate() -> Option<Self> {
        Self::of(PrivateKey::generate(&ECDH_P256).ok()?, rand::random())
    }

    fn of(private: PrivateKey, auth: [u8; 16]) -> Option<Self> {
        let public = private.compute_public_key().ok()?.as_ref().to_vec();
        Some(Self { private, recipient: Recipient { public, auth } })
    }

    pub(crate) fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// What the browser reads.
    pub(crate) fn decrypt(&self, body: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let coded = Coded::parse(body)?;
        if coded.key_id.len() != 65 || coded.key_id[0] != 4 {
            return Err(Unreadable::SenderKey);
        }
        let secret = ecdh(&self.private, coded.key_id).ok_or(Unreadable::SenderKey)?;
        coded.open(&self.recipient.material(&secret, coded.key_id))
    }
}

impl Recipient {
    /// What the push service sends for a plaintext.
    pub(crate) fn encrypt(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_with(plaintext, &PrivateKey::generate(&ECDH_P256).ok()?, rand::random())
    }

    fn encrypt_with(&self, plaintext: &[u8], sender: &PrivateKey, salt: [u8; 16]) -> Option<Vec<u8>> {
        let sender_public = sender.compute_public_key().ok()?;
        let secret = ecdh(sender, &self.public)?;
        let material = self.material(&secret, sender_public.as_ref());
        sealed(plaintext, &material, &salt, sender_public.as_ref())
    }

    /// What older clients read: the draft before RFC 8291, whose salt and key travel in headers.
    pub(crate) fn encrypt_aesgcm(&self, plaintext: &[u8]) -> Option<Sealed> {
        let sender = PrivateKey::generate(&ECDH_P256).ok()?;
        self.encrypt_aesgcm_with(plaintext, &sender, rand::random())
    }

    fn encrypt_aesgcm_with(&self, plaintext: &[u8], sender: &PrivateKey, salt: [u8; 16]) -> Option<Sealed> {
        let public = sender.compute_public_key().ok()?.as_ref().to_vec();
        let key = mac(&self.auth, &[&ecdh(sender, &self.public)?]);
        let material = mac(&key, &[b"Content-Encoding: auth\0", &[1]]);
        let context = [b"P-256\0\0\x41", self.public.as_slice(), b"\0\x41", &public].concat();
        let body = coding::sealed_aesgcm(plaintext, &material, &salt, &context)?;
        Some(Sealed { salt, public, body })
    }

    /// The input keying material for the content coding (RFC 8291 §3.4).
    fn material(&self, secret: &[u8], sender_public: &[u8]) -> Vec<u8> {
        let key = mac(&self.auth, &[secret]);
        mac(&key, &[b"WebPush: info\0", &self.public, sender_public, &[1]])
    }
}

fn ecdh(private: &PrivateKey, public: &[u8]) -> Option<Vec<u8>> {
    agree(private, UnparsedPublicKey::new(&ECDH_P256, public), (), |secret| Ok(secret.to_vec())).ok()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
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

    fn keys() -> Keys {
        let auth = bytes("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap();
        Keys::of(private("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), auth).unwrap()
    }

    #[test]
    fn encryption_gives_the_body_of_rfc_8291_appendix_a() {
        let sender = private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let body = keys()
            .recipient
            .encrypt_with(b"When I grow up, I want to be a watermelon", &sender, salt)
            .unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(body), BODY);
    }

    #[test]
    fn the_older_encoding_is_the_one_of_http_ece() {
        // Made by the npm package http_ece with the keys and the salt of RFC 8291 Appendix A.
        let expected = "4qwOLFm_mNy0vf1A8f3Bm6B5UD15y3aV_xZy14pixUhcPTIoZKHzq5i3dZ6PzqSMxBI_-VDUZ4jW04M";
        let sender = private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let plaintext = b"When I grow up, I want to be a watermelon";
        let sealed = keys().recipient.encrypt_aesgcm_with(plaintext, &sender, salt).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(sealed.body), expected);
    }

    #[test]
    fn decryption_reads_the_body_of_rfc_8291_appendix_a() {
        assert_eq!(keys().decrypt(&bytes(BODY)).unwrap(), b"When I grow up, I want to be a watermelon");
    }

    #[test]
    fn a_body_that_was_touched_or_cut_is_not_read() {
        let body = bytes(BODY);
        for at in [0, 20, 21, 90, body.len() - 1] {
            let mut touched = body.clone();
            touched[at] ^= 1;
            assert!(keys().decrypt(&touched).is_err(), "byte {at}");
        }
        assert_eq!(keys().decrypt(&body[..80]), Err(Unreadable::Header));
        assert_eq!(keys().decrypt(&[]), Err(Unreadable::Header));
    }

    #[test]
    fn a_sender_key_that_is_no_point_is_refused() {
        let mut body = bytes(BODY);
        body[21] = 2;
        assert_eq!(keys().decrypt(&body), Err(Unreadable::SenderKey));
        body[21] = 4;
        body[22..86].fill(9);
        assert_eq!(keys().decrypt(&body), Err(Unreadable::SenderKey));
    }

    #[test]
    fn what_was_written_for_another_subscription_is_not_read() {
        let body = Keys::generate().unwrap().recipient().encrypt(b"secret").unwrap();
        assert_eq!(keys().decrypt(&body), Err(Unreadable::Sealed));
    }
}
