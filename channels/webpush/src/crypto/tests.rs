//! What is encrypted, read as a browser reads it. The reading is written by itself, on HKDF and from the RFCs, and shares
//! nothing with what it checks.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;

/// RFC 8291, Appendix A.
const PLAIN: &[u8] = b"When I grow up, I want to be a watermelon";
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

/// Draws what Appendix A draws, each time.
pub(crate) struct Appendix;

impl Randomness for Appendix {
    fn draw(&self) -> Option<Fresh> {
        let sender = PrivateKey::from_private_key(&ECDH_P256, &bytes(AS_PRIVATE)).unwrap();
        Some(Fresh { sender, salt: bytes(SALT).try_into().unwrap() })
    }
}

pub(crate) fn keys() -> Keys {
    Keys::new(&bytes(UA_PUBLIC), &bytes(AUTH)).unwrap()
}

/// A browser, with both halves of its keys.
pub(crate) struct Browser {
    private: PrivateKey,
    public: Vec<u8>,
    auth: Vec<u8>,
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expanded(prk: &Prk, info: &[&[u8]], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    prk.expand(info, Bytes(length)).unwrap().fill(&mut out).unwrap();
    out
}

impl Browser {
    /// The receiver of Appendix A.
    pub(crate) fn of_the_appendix() -> Self {
        let private = PrivateKey::from_private_key(&ECDH_P256, &bytes(UA_PRIVATE)).unwrap();
        Self { private, public: bytes(UA_PUBLIC), auth: bytes(AUTH) }
    }

    fn new(auth: [u8; 16]) -> Self {
        let private = PrivateKey::generate(&ECDH_P256).unwrap();
        let public = private.compute_public_key().unwrap().as_ref().to_vec();
        Self { private, public, auth: auth.to_vec() }
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.public, &self.auth).unwrap()
    }

    /// The text in a body, without what fills it up; none where a browser would drop the message.
    pub(crate) fn read(&self, body: &[u8]) -> Option<Vec<u8>> {
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
        let ikm = expanded(&combined, &[b"WebPush: info", &[0], &self.public, sender], 32);
        opened(salt, &ikm, record)
    }
}

/// RFC 8188 alone: the text of a single record.
fn opened(salt: &[u8], ikm: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    let prk = Salt::new(HKDF_SHA256, salt).extract(ikm);
    let key = expanded(&prk, &[b"Content-Encoding: aes128gcm", &[0]], 16);
    let nonce = expanded(&prk, &[b"Content-Encoding: nonce", &[0]], 12);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut record = record.to_vec();
    let text = key.open_in_place(nonce, Aad::empty(), &mut record).ok()?;
    let end = text.iter().rposition(|byte| *byte != 0)?;
    (text[end] == 2).then(|| text[..end].to_vec())
}

#[test]
fn encryption_gives_the_body_of_rfc_8291_appendix_a() {
    let body = encrypted(PLAIN, PLAIN.len(), keys(), &Appendix).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(&body), BODY);
    assert_eq!(Browser::of_the_appendix().read(&body).unwrap(), PLAIN);
}

/// Each value the appendix prints on the way.
#[test]
fn the_steps_between_are_those_of_rfc_8291_appendix_a() {
    let sender = PrivateKey::from_private_key(&ECDH_P256, &bytes(AS_PRIVATE)).unwrap();
    let secret = agree(&sender, keys().point, (), |secret| Ok(secret.to_vec())).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(&secret), "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
    let prk_key = mac(&bytes(AUTH), &[&secret]);
    assert_eq!(URL_SAFE_NO_PAD.encode(prk_key), "Snr3JMxaHVDXHWJn5wdC52WjpCtd2EIEGBykDcZW32k");
    let ikm = bytes("S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg");
    let (key, nonce) = content_keys(&bytes(SALT), &ikm);
    assert_eq!(URL_SAFE_NO_PAD.encode(&key.as_ref()[..16]), "oIhVW04MRdy2XN9CiKLxTg");
    assert_eq!(URL_SAFE_NO_PAD.encode(&nonce.as_ref()[..12]), "4h_95klXJ5E_qnoN");
}

/// RFC 8188 §3.1: the content coding without a key agreement.
#[test]
fn the_content_keys_are_those_of_rfc_8188() {
    let (salt, ikm) = (bytes("I1BsxtFttlv3u_Oo94xnmw"), bytes("yqdlZ-tYemfogSmv7Ws5PQ"));
    let (key, nonce) = content_keys(&salt, &ikm);
    assert_eq!(URL_SAFE_NO_PAD.encode(&key.as_ref()[..16]), "_wniytB-ofscZDh4tbSjHw");
    assert_eq!(URL_SAFE_NO_PAD.encode(&nonce.as_ref()[..12]), "Bcs8gkIRKLI8GeI8");
    let body = bytes("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
    assert_eq!(opened(&salt, &ikm, &body[21..]).unwrap(), b"I am the walrus");
}

#[test]
fn the_longest_text_fills_4096_bytes_and_one_more_is_refused() {
    assert_eq!(MAX_PLAIN, 3993);
    let body = encrypted(&[b'x'; MAX_PLAIN], 0, keys(), &SystemRandomness).unwrap();
    assert_eq!(body.len(), 4096);
    assert_eq!(Browser::of_the_appendix().read(&body).unwrap().len(), MAX_PLAIN);
    assert!(encrypted(&[b'x'; MAX_PLAIN + 1], 0, keys(), &SystemRandomness).is_none());
    assert!(encrypted(b"x", MAX_PLAIN + 1, keys(), &SystemRandomness).is_none());
}

#[test]
fn texts_of_other_lengths_look_alike_when_they_are_filled_up() {
    let short = encrypted(b"no", 128, keys(), &SystemRandomness).unwrap();
    let long = encrypted(b"a longer answer", 128, keys(), &SystemRandomness).unwrap();
    assert_eq!(short.len(), long.len());
    assert_eq!(Browser::of_the_appendix().read(&short).unwrap(), b"no");
    assert_eq!(Browser::of_the_appendix().read(&long).unwrap(), b"a longer answer");
}

#[test]
fn no_two_messages_share_key_or_salt() {
    let one = encrypted(PLAIN, 0, keys(), &SystemRandomness).unwrap();
    let two = encrypted(PLAIN, 0, keys(), &SystemRandomness).unwrap();
    assert_ne!(one[..16], two[..16]);
    assert_ne!(one[21..HEADER], two[21..HEADER]);
}

#[test]
fn keys_that_are_no_point_or_of_another_length_are_refused() {
    let (point, auth) = (bytes(UA_PUBLIC), bytes(AUTH));
    assert!(Keys::new(&point, &auth).is_some());
    let mut off_the_curve = point.clone();
    off_the_curve[64] ^= 1;
    let mut hybrid = point.clone();
    hybrid[0] = 6;
    let compressed: Vec<u8> = [&[2], &point[1..33]].concat();
    for bad in [&off_the_curve[..], &hybrid, &compressed, &point[..64], &[], &[0], &[4; 65]] {
        assert!(Keys::new(bad, &auth).is_none());
    }
    assert!(Keys::new(&point, &auth[..15]).is_none() && Keys::new(&point, &[0; 17]).is_none());
}

struct Exhausted;

impl Randomness for Exhausted {
    fn draw(&self) -> Option<Fresh> {
        None
    }
}

#[test]
fn no_randomness_is_no_message() {
    assert!(encrypted(PLAIN, 0, keys(), &Exhausted).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_comes_out_as_it_went_in(
        text in proptest::collection::vec(any::<u8>(), 0..MAX_PLAIN), more in 0usize..600, auth in any::<[u8; 16]>(),
    ) {
        let browser = Browser::new(auth);
        let length = (text.len() + more).min(MAX_PLAIN);
        let body = encrypted(&text, length, browser.keys(), &SystemRandomness).unwrap();
        prop_assert_eq!(body.len(), HEADER + length + 1 + TAG);
        prop_assert_eq!(browser.read(&body).unwrap(), text);
    }

    #[test]
    fn a_body_that_was_touched_or_cut_is_not_read(at in 0usize..144, cut in 0usize..144) {
        let mut body = bytes(BODY);
        prop_assert!(Browser::of_the_appendix().read(&body[..cut]).is_none());
        body[at] ^= 1;
        // Four bytes are the record size, of which any that is large enough is right.
        if !(16..20).contains(&at) {
            prop_assert!(Browser::of_the_appendix().read(&body).is_none());
        }
    }
}
