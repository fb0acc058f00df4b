//! Message encryption for Web Push (RFC 8291 over RFC 8188, `aes128gcm`): one record, and a new key pair and salt per message.
//! Keeps no secret longer than one call. The caller provides the randomness.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::hmac;

/// Body size that every push service must accept (RFC 8030 §7.2). Also the record size in the header.
const MAX_BODY: usize = 4096;
/// Length of the header: salt, record size, length of the key id, and the sender's public key as key id (RFC 8188 §2.1,
/// RFC 8291 §4).
const HEADER_LEN: usize = 16 + 4 + 1 + POINT_LEN;
/// Length of the authentication tag of AES-128-GCM.
const TAG_LEN: usize = 16;
/// Length of an uncompressed point of P-256.
pub(crate) const POINT_LEN: usize = 65;
/// Maximum length of the plaintext: a body without its header, the delimiter byte, and the tag.
pub(crate) const MAX_PLAINTEXT: usize = MAX_BODY - HEADER_LEN - 1 - TAG_LEN;

/// Source of the key pair and the salt of each message.
pub(crate) trait Randomness: Send + Sync + 'static {
    /// Generates the secrets of one message. Returns `None` if the random generator fails.
    fn generate(&self) -> Option<EphemeralSecrets>;
}

/// Secrets of one message. No two messages may share them.
pub(crate) struct EphemeralSecrets {
    pub(crate) sender: PrivateKey,
    /// The salt of RFC 8188.
    pub(crate) salt: [u8; 16],
}

/// Random generator of the crypto library.
pub(crate) struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn generate(&self) -> Option<EphemeralSecrets> {
        let mut salt = [0; 16];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        // `generate` is twice as fast as parsing 32 random bytes as a key.
        Some(EphemeralSecrets { sender: PrivateKey::generate(&ECDH_P256).ok()?, salt })
    }
}

/// Keys of the browser: the field `keys` of a subscription.
pub(crate) struct SubscriptionKeys {
    point: ParsedPublicKey,
    auth: [u8; 16],
}

impl SubscriptionKeys {
    /// Parses the keys. Returns `None` unless `p256dh` is an uncompressed point on the curve and `auth` has 16 bytes.
    pub(crate) fn new(p256dh: &[u8], auth: &[u8]) -> Option<Self> {
        if p256dh.len() != POINT_LEN || p256dh[0] != 4 {
            return None;
        }
        let point = UnparsedPublicKey::new(&ECDH_P256, p256dh);
        Some(Self { point: ParsedPublicKey::try_from(point).ok()?, auth: auth.try_into().ok()? })
    }
}

/// Encrypts `plaintext`, padded with zeros to `padded_len` bytes, into the body of a push message.
///
/// Returns `None` if the padded plaintext exceeds [`MAX_PLAINTEXT`], or if the crypto library or the random generator fails.
pub(crate) fn encrypt(
    plaintext: &[u8],
    padded_len: usize,
    receiver: SubscriptionKeys,
    random: &dyn Randomness,
) -> Option<Vec<u8>> {
    let length = padded_len.max(plaintext.len());
    if length > MAX_PLAINTEXT {
        return None;
    }
    let EphemeralSecrets { sender, salt } = random.generate()?;
    let public = sender.compute_public_key().ok()?;
    let (key, nonce) = derive_keys(&sender, public.as_ref(), receiver, &salt)?;

    let mut body = Vec::with_capacity(HEADER_LEN + length + 1 + TAG_LEN);
    body.extend_from_slice(&salt);
    body.extend_from_slice(&u32::try_from(MAX_BODY).ok()?.to_be_bytes());
    body.push(u8::try_from(POINT_LEN).ok()?);
    body.extend_from_slice(public.as_ref());
    body.extend_from_slice(plaintext);
    // Delimiter of the last record. Padding follows it.
    body.push(2);
    body.resize(HEADER_LEN + length + 1, 0);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut body[HEADER_LEN..]).ok()?;
    body.extend_from_slice(tag.as_ref());
    Some(body)
}

/// Derives key and nonce of the single record with HKDF (RFC 8291 §3.4). Each HKDF step is one block, hence one HMAC.
fn derive_keys(
    sender: &PrivateKey,
    public: &[u8],
    receiver: SubscriptionKeys,
    salt: &[u8],
) -> Option<(LessSafeKey, Nonce)> {
    let SubscriptionKeys { point, auth } = receiver;
    let receiver: [u8; POINT_LEN] = point.as_ref().try_into().ok()?;
    let prk_key = agree(sender, point, (), |secret| Ok(hmac_sha256(&auth, &[secret]))).ok()?;
    let ikm = hmac_sha256(prk_key.as_ref(), &[b"WebPush: info\0", &receiver, public, &[1]]);
    let (key, nonce) = content_keys(salt, ikm.as_ref());
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key.as_ref()[..16]).ok()?);
    Some((key, Nonce::try_assume_unique_for_key(&nonce.as_ref()[..NONCE_LEN]).ok()?))
}

/// Derives the content key and the nonce of the first record (RFC 8188 §2.2 and §2.3), of which the caller uses the first 16
/// and 12 bytes.
fn content_keys(salt: &[u8], ikm: &[u8]) -> (hmac::Tag, hmac::Tag) {
    let prk = hmac_sha256(salt, &[ikm]);
    let key = hmac_sha256(prk.as_ref(), &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = hmac_sha256(prk.as_ref(), &[b"Content-Encoding: nonce\0", &[1]]);
    (key, nonce)
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
pub(crate) mod tests;
