//! Message encryption for Web Push (RFC 8291 over RFC 8188, `aes128gcm`): one record, a key pair and a salt for each message.
//! Keeps no secret longer than one call, and draws nothing itself: randomness is handed in.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hmac;

/// What every push service takes (RFC 8030 §7.2), and the record size we write.
const MAX_BODY: usize = 4096;
/// Salt, record size, length of the key id, and the sender's public key as key id (RFC 8188 §2.1, RFC 8291 §4).
const HEADER: usize = 16 + 4 + 1 + POINT;
/// The end of an AES-128-GCM record.
const TAG: usize = 16;
/// An uncompressed point of P-256.
pub(crate) const POINT: usize = 65;
/// The longest plaintext: a body less its header, the byte that ends the text, and the tag.
pub(crate) const MAX_PLAIN: usize = MAX_BODY - HEADER - 1 - TAG;

/// Where a message's own key and salt come from.
pub(crate) trait Randomness: Send + Sync + 'static {
    /// What is drawn for one message; none when the system has no randomness to give.
    fn draw(&self) -> Option<Fresh>;
}

/// What no two messages share.
pub(crate) struct Fresh {
    pub(crate) sender: PrivateKey,
    /// The salt of RFC 8188.
    pub(crate) salt: [u8; 16],
}

/// The generator of the crypto library.
pub(crate) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn draw(&self) -> Option<Fresh> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        // Twice as fast as 32 random bytes read as a key.
        Some(Fresh { sender: PrivateKey::generate(&ECDH_P256).ok()?, salt })
    }
}

/// A browser's half: what a subscription carries under `keys`.
pub(crate) struct Keys {
    point: ParsedPublicKey,
    auth: [u8; 16],
}

impl Keys {
    /// None unless `p256dh` is an uncompressed point on the curve and `auth` has its 16 bytes.
    pub(crate) fn new(p256dh: &[u8], auth: &[u8]) -> Option<Self> {
        if p256dh.len() != POINT || p256dh[0] != 4 {
            return None;
        }
        let point = UnparsedPublicKey::new(&ECDH_P256, p256dh);
        Some(Self { point: ParsedPublicKey::try_from(point).ok()?, auth: auth.try_into().ok()? })
    }
}

/// The body of a push message: `plain`, filled up to `length` bytes of zeros after it.
///
/// None when `length` is more than [`MAX_PLAIN`], or when the crypto library or the randomness fails.
pub(crate) fn encrypted(plain: &[u8], length: usize, to: Keys, random: &dyn Randomness) -> Option<Vec<u8>> {
    let length = length.max(plain.len());
    if length > MAX_PLAIN {
        return None;
    }
    let Fresh { sender, salt } = random.draw()?;
    let public = sender.compute_public_key().ok()?;
    let (key, nonce) = derived(&sender, public.as_ref(), to, &salt)?;

    let mut body = Vec::with_capacity(HEADER + length + 1 + TAG);
    body.extend_from_slice(&salt);
    body.extend_from_slice(&u32::try_from(MAX_BODY).ok()?.to_be_bytes());
    body.push(u8::try_from(POINT).ok()?);
    body.extend_from_slice(public.as_ref());
    body.extend_from_slice(plain);
    // The delimiter of the last record; what follows it is padding.
    body.push(2);
    body.resize(HEADER + length + 1, 0);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut body[HEADER..]).ok()?;
    body.extend_from_slice(tag.as_ref());
    Some(body)
}

/// Key and nonce of the one record (RFC 8291 §3.4): HKDF, each step of which is one block here.
fn derived(sender: &PrivateKey, public: &[u8], to: Keys, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let Keys { point, auth } = to;
    let receiver: [u8; POINT] = point.as_ref().try_into().ok()?;
    let prk_key = agree(sender, point, (), |secret| Ok(mac(&auth, &[secret]))).ok()?;
    let ikm = mac(prk_key.as_ref(), &[b"WebPush: info\0", &receiver, public, &[1]]);
    let (key, nonce) = content_keys(salt, ikm.as_ref());
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key.as_ref()[..16]).ok()?);
    Some((key, Nonce::try_assume_unique_for_key(&nonce.as_ref()[..NONCE_LEN]).ok()?))
}

/// The content key and the nonce of the first record (RFC 8188 §2.2 and §2.3); their first 16 and 12 bytes are used.
fn content_keys(salt: &[u8], ikm: &[u8]) -> (hmac::Tag, hmac::Tag) {
    let prk = mac(salt, &[ikm]);
    let key = mac(prk.as_ref(), &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = mac(prk.as_ref(), &[b"Content-Encoding: nonce\0", &[1]]);
    (key, nonce)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
pub(crate) mod tests;
