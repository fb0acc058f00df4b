//! Tests of the encryption against the RFCs and an independent decryption, which uses HKDF and shares no code with `crypto.rs`.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

/// Plaintext of RFC 8291, Appendix A. The constants below are from there, too.
const PLAINTEXT: &[u8] = b"When I grow up, I want to be a watermelon";
const UA_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
pub(crate) const UA_PUBLIC: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
pub(crate) const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const AS_PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

pub(crate) fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// Randomness that always returns the values of RFC 8291, Appendix A.
pub(crate) struct AppendixA;

impl Randomness for AppendixA {
    fn generate(&self) -> Option<EphemeralSecrets> {
        let sender = PrivateKey::from_private_key(&ECDH_P256, &bytes(AS_PRIVATE)).unwrap();
        Some(EphemeralSecrets { sender, salt: bytes(SALT).try_into().unwrap() })
    }
}

pub(crate) fn keys() -> SubscriptionKeys {
    SubscriptionKeys::new(&bytes(UA_PUBLIC), &bytes(AUTH)).unwrap()
}

/// Browser with its key pair, which decrypts messages.
pub(crate) struct Browser {
    private: PrivateKey,
    public: Vec<u8>,
    auth: Vec<u8>,
}

struct OutputLength(usize);

impl KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf_expand(prk: &Prk, info: &[&[u8]], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    prk.expand(info, OutputLength(length)).unwrap().fill(&mut out).unwrap();
    out
}

impl Browser {
    /// Returns the receiver of RFC 8291, Appendix A.
    pub(crate) fn from_appendix_a() -> Self {
        let private = PrivateKey::from_private_key(&ECDH_P256, &bytes(UA_PRIVATE)).unwrap();
        Self { private, public: bytes(UA_PUBLIC), auth: bytes(AUTH) }
    }

    fn new(auth: [u8; 16]) -> Self {
        let private = PrivateKey::generate(&ECDH_P256).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().to_vec();
        Self { private, public, auth: auth.to_vec() }
    }

    fn keys(&self) -> SubscriptionKeys {
        SubscriptionKeys::new(&self.public, &self.auth).unwrap()
    }

    /// Decrypts a body and removes the padding. Returns `None` if a browser would drop the message.
    pub(crate) fn decrypt(&self, body: &[u8]) -> Option<Vec<u8>> {
        let (salt, rest) = body.split_first_chunk::<16>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let (id, rest) = rest.split_first()?;
        let (sender, record) = rest.split_at_checked(usize::from(*id))?;
        if record.len() > u32::from_be_bytes(*size) as usize {
            return None;
        }
        let peer = UnparsedPublicKey::new(&ECDH_P256, sender);
        let secret = agree(&self.private, peer, (), |secret| Ok(secret.to_vec())).ok()?;
        let combined = Salt::new(HKDF_SHA256, &self.auth).extract(&secret);
        let ikm = hkdf_expand(&combined, &[b"WebPush: info", &[0], &self.public, sender], 32);
        decrypt_record(salt, &ikm, record)
    }
}

/// Decrypts a single record (RFC 8188).
fn decrypt_record(salt: &[u8], ikm: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(ikm);
    let key = hkdf_expand(&prk, &[b"Content-Encoding: aes128gcm", &[0]], 16);
    let nonce = hkdf_expand(&prk, &[b"Content-Encoding: nonce", &[0]], 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut record = record.to_vec();
    let plaintext = key.open_in_place(nonce, Aad::empty(), &mut record).ok()?;
    let end = plaintext.iter().rposition(|byte| *byte != 0)?;
    (plaintext[end] == 2).then(|| plaintext[..end].to_vec())
}

#[test]
fn encryption_gives_the_body_of_rfc_8291_appendix_a() {
    let body = encrypt(PLAINTEXT, PLAINTEXT.len(), keys(), &AppendixA).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(&body), BODY);
    assert_eq!(Browser::from_appendix_a().decrypt(&body).unwrap(), PLAINTEXT);
}

/// Checks each intermediate value that the appendix prints.
#[test]
fn the_intermediate_values_are_those_of_rfc_8291_appendix_a() {
    let sender = PrivateKey::from_private_key(&ECDH_P256, &bytes(AS_PRIVATE)).unwrap();
    let secret = agree(&sender, keys().point, (), |secret| Ok(secret.to_vec())).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(&secret), "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
    let prk_key = hmac_sha256(&bytes(AUTH), &[&secret]);
    assert_eq!(URL_SAFE_NO_PAD.encode(prk_key), "Snr3JMxaHVDXHWJn5wdC52WjpCtd2EIEGBykDcZW32k");
    let ikm = bytes("S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg");
    let (key, nonce) = content_keys(&bytes(SALT), &ikm);
    assert_eq!(URL_SAFE_NO_PAD.encode(&key.as_ref()[..16]), "oIhVW04MRdy2XN9CiKLxTg");
    assert_eq!(URL_SAFE_NO_PAD.encode(&nonce.as_ref()[..12]), "4h_95klXJ5E_qnoN");
}

/// Uses the example of RFC 8188 §3.1, which has no key agreement.
#[test]
fn the_content_keys_are_those_of_rfc_8188() {
    let (salt, ikm) = (bytes("I1BsxtFttlv3u_Oo94xnmw"), bytes("yqdlZ-tYemfogSmv7Ws5PQ"));
    let (key, nonce) = content_keys(&salt, &ikm);
    assert_eq!(URL_SAFE_NO_PAD.encode(&key.as_ref()[..16]), "_wniytB-ofscZDh4tbSjHw");
    assert_eq!(URL_SAFE_NO_PAD.encode(&nonce.as_ref()[..12]), "Bcs8gkIRKLI8GeI8");
    let body = bytes("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
    assert_eq!(decrypt_record(&salt, &ikm, &body[21..]).unwrap(), b"I am the walrus");
}

#[test]
fn the_longest_text_fills_4096_bytes_and_one_more_is_refused() {
    assert_eq!(MAX_PLAINTEXT, 3993);
    let body = encrypt(&[b'x'; MAX_PLAINTEXT], 0, keys(), &SystemRandomness).unwrap();
    assert_eq!(body.len(), 4096);
    assert_eq!(Browser::from_appendix_a().decrypt(&body).unwrap().len(), MAX_PLAINTEXT);
    assert!(encrypt(&[b'x'; MAX_PLAINTEXT + 1], 0, keys(), &SystemRandomness).is_none());
    assert!(encrypt(b"x", MAX_PLAINTEXT + 1, keys(), &SystemRandomness).is_none());
}

#[test]
fn padded_messages_have_the_same_length() {
    let short = encrypt(b"no", 128, keys(), &SystemRandomness).unwrap();
    let long = encrypt(b"a longer answer", 128, keys(), &SystemRandomness).unwrap();
    assert_eq!(short.len(), long.len());
    assert_eq!(Browser::from_appendix_a().decrypt(&short).unwrap(), b"no");
    assert_eq!(Browser::from_appendix_a().decrypt(&long).unwrap(), b"a longer answer");
}

#[test]
fn no_two_messages_share_key_or_salt() {
    let body = encrypt(PLAINTEXT, 0, keys(), &SystemRandomness).unwrap();
    let other = encrypt(PLAINTEXT, 0, keys(), &SystemRandomness).unwrap();
    assert_ne!(body[..16], other[..16]);
    assert_ne!(body[21..HEADER_LEN], other[21..HEADER_LEN]);
}

#[test]
fn keys_that_are_no_point_or_of_another_length_are_refused() {
    let (point, auth) = (bytes(UA_PUBLIC), bytes(AUTH));
    assert!(SubscriptionKeys::new(&point, &auth).is_some());
    let mut off_the_curve = point.clone();
    off_the_curve[64] ^= 1;
    let mut hybrid = point.clone();
    hybrid[0] = 6;
    let compressed: Vec<u8> = [&[2], &point[1..33]].concat();
    for bad in [&off_the_curve[..], &hybrid, &compressed, &point[..64], &[], &[0], &[4; 65]] {
        assert!(SubscriptionKeys::new(bad, &auth).is_none());
    }
    assert!(
        SubscriptionKeys::new(&point, &auth[..15]).is_none()
            && SubscriptionKeys::new(&point, &[0; 17]).is_none()
    );
}

struct FailingRandomness;

impl Randomness for FailingRandomness {
    fn generate(&self) -> Option<EphemeralSecrets> {
        None
    }
}

#[test]
fn without_randomness_nothing_is_encrypted() {
    assert!(encrypt(PLAINTEXT, 0, keys(), &FailingRandomness).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_decrypted_to_itself(
        text in proptest::collection::vec(any::<u8>(), 0..MAX_PLAINTEXT), padding in 0usize..600, auth in any::<[u8; 16]>(),
    ) {
        let browser = Browser::new(auth);
        let length = (text.len() + padding).min(MAX_PLAINTEXT);
        let body = encrypt(&text, length, browser.keys(), &SystemRandomness).unwrap();
        prop_assert_eq!(body.len(), HEADER_LEN + length + 1 + TAG_LEN);
        prop_assert_eq!(browser.decrypt(&body).unwrap(), text);
    }

    #[test]
    fn a_changed_or_truncated_body_is_not_decrypted(at in 0usize..144, cut in 0usize..144) {
        let mut body = bytes(BODY);
        prop_assert!(Browser::from_appendix_a().decrypt(&body[..cut]).is_none());
        body[at] ^= 1;
        // These four bytes are the record size. A larger one than necessary is valid.
        if !(16..20).contains(&at) {
            prop_assert!(Browser::from_appendix_a().decrypt(&body).is_none());
        }
    }
}
