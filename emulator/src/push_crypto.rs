//! Message encryption for Web Push (RFC 8291 over RFC 8188, `aes128gcm`), both directions: the push service encrypts for the
//! virtual browser, and the browser really decrypts.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hmac;

const RECORD_SIZE: u32 = 4096;
const HEADER: usize = 16 + 4 + 1 + 65;

/// A browser's subscription keys.
pub(crate) struct Keys {
    private: PrivateKey,
    public: Vec<u8>,
    auth: [u8; 16],
}

impl Keys {
    pub(crate) fn generate() -> Option<Self> {
        Self::of(PrivateKey::generate(&ECDH_P256).ok()?, rand::random())
    }

    fn of(private: PrivateKey, auth: [u8; 16]) -> Option<Self> {
        let public = private.compute_public_key().ok()?.as_ref().to_vec();
        Some(Self { private, public, auth })
    }

    /// What the push service sends for a plaintext.
    pub(crate) fn encrypt(&self, plaintext: &[u8]) -> Option<Vec<u8>> {
        let sender = PrivateKey::generate(&ECDH_P256).ok()?;
        self.encrypt_with(plaintext, &sender, rand::random())
    }

    fn encrypt_with(&self, plaintext: &[u8], sender: &PrivateKey, salt: [u8; 16]) -> Option<Vec<u8>> {
        let sender_public = sender.compute_public_key().ok()?;
        let secret = ecdh(sender, &self.public)?;
        let (key, nonce) = self.derive(&secret, sender_public.as_ref(), &salt)?;
        let mut record = plaintext.to_vec();
        record.push(2);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;
        let mut body = salt.to_vec();
        body.extend_from_slice(&RECORD_SIZE.to_be_bytes());
        body.push(65);
        body.extend_from_slice(sender_public.as_ref());
        body.extend_from_slice(&record);
        Some(body)
    }

    /// What the browser reads; none when anything is wrong.
    pub(crate) fn decrypt(&self, body: &[u8]) -> Option<Vec<u8>> {
        let (header, record) = body.split_at_checked(HEADER)?;
        let salt: [u8; 16] = header[..16].try_into().ok()?;
        let record_size = u32::from_be_bytes(header[16..20].try_into().ok()?);
        if header[20] != 65 || record.len() > record_size as usize {
            return None;
        }
        let sender_public = &header[21..];
        let secret = ecdh(&self.private, sender_public)?;
        let (key, nonce) = self.derive(&secret, sender_public, &salt)?;
        let mut record = record.to_vec();
        let plain = key.open_in_place(nonce, Aad::empty(), &mut record).ok()?;
        let end = plain.iter().rposition(|byte| *byte != 0)?;
        (plain[end] == 2).then(|| plain[..end].to_vec())
    }

    fn derive(&self, secret: &[u8], sender_public: &[u8], salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
        let prk_key = mac(&self.auth, &[secret]);
        let ikm = mac(&prk_key, &[b"WebPush: info\0", &self.public, sender_public, &[1]]);
        let prk = mac(salt, &[&ikm]);
        let cek = mac(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]]);
        let nonce = mac(&prk, &[b"Content-Encoding: nonce\0", &[1]]);
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &cek[..16]).ok()?);
        Some((key, Nonce::try_assume_unique_for_key(&nonce[..12]).ok()?))
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
        let body = keys().encrypt_with(b"When I grow up, I want to be a watermelon", &sender, salt).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(body), BODY);
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
            assert!(keys().decrypt(&touched).is_none(), "byte {at}");
        }
        assert!(keys().decrypt(&body[..80]).is_none());
        assert!(keys().decrypt(&[]).is_none());
    }
}
