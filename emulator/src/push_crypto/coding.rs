//! Content coding `aes128gcm` (RFC 8188) for one record: the header block and the encrypted record. The caller provides
//! the key material.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{DecryptionError, hmac_sha256};

/// Length of the fixed part of the header block: salt, record size and length of the key id.
const FIXED_HEADER_LENGTH: usize = 16 + 4 + 1;
/// Bytes of a record that are not text: tag and delimiter.
const RECORD_OVERHEAD: u32 = 17;

/// Parsed body.
#[derive(Debug)]
pub(super) struct EncodedBody<'a> {
    salt: &'a [u8],
    pub(super) key_id: &'a [u8],
    record: &'a [u8],
}

impl<'a> EncodedBody<'a> {
    /// Parses a body. Push messages have exactly one record (RFC 8291 §4).
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, DecryptionError> {
        let (fixed, rest) = body.split_at_checked(FIXED_HEADER_LENGTH).ok_or(DecryptionError::Header)?;
        let (salt, numbers) = fixed.split_at(16);
        let size = u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]);
        let (key_id, record) =
            rest.split_at_checked(usize::from(numbers[4])).ok_or(DecryptionError::Header)?;
        if size <= RECORD_OVERHEAD {
            return Err(DecryptionError::RecordSize);
        }
        if record.len() > usize::try_from(size).unwrap_or(usize::MAX) {
            return Err(DecryptionError::SeveralRecords);
        }
        Ok(Self { salt, key_id, record })
    }

    /// Returns the plaintext, decrypted with the input keying material.
    pub(super) fn decrypt(&self, key_material: &[u8]) -> Result<Vec<u8>, DecryptionError> {
        let (key, nonce) = derive_key(key_material, self.salt).ok_or(DecryptionError::Sealed)?;
        let mut record = self.record.to_vec();
        let plain =
            key.open_in_place(nonce, Aad::empty(), &mut record).map_err(|_| DecryptionError::Sealed)?;
        let end = plain.iter().rposition(|byte| *byte != 0).ok_or(DecryptionError::Padding)?;
        // The delimiter 1 would announce another record.
        if plain[end] == 2 { Ok(plain[..end].to_vec()) } else { Err(DecryptionError::Padding) }
    }
}

/// Encrypts a plaintext into a body of one record. `None` if a length exceeds its field.
pub(super) fn encrypt(
    plaintext: &[u8],
    key_material: &[u8],
    salt: &[u8; 16],
    key_id: &[u8],
) -> Option<Vec<u8>> {
    let (key, nonce) = derive_key(key_material, salt)?;
    let mut record = plaintext.to_vec();
    record.push(2);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;
    let mut body = salt.to_vec();
    // The record size must not be below the record, or the body would have several records.
    let size = u32::try_from(record.len()).ok()?.max(4096);
    body.extend_from_slice(&size.to_be_bytes());
    body.push(u8::try_from(key_id.len()).ok()?);
    body.extend_from_slice(key_id);
    body.extend_from_slice(&record);
    Some(body)
}

/// Encrypts a plaintext into a record of the older coding `aesgcm` (draft-ietf-httpbis-encryption-encoding-03), without
/// padding.
pub(super) fn encrypt_aesgcm(
    plaintext: &[u8],
    key_material: &[u8],
    salt: &[u8],
    context: &[u8],
) -> Option<Vec<u8>> {
    let prk = hmac_sha256(salt, &[key_material]);
    let key = hmac_sha256(&prk, &[b"Content-Encoding: aesgcm\0", context, &[1]]);
    let nonce = hmac_sha256(&prk, &[b"Content-Encoding: nonce\0", context, &[1]]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key[..16]).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).ok()?;
    // The first two bytes are the length of the padding, which is empty here.
    let mut record = [&[0, 0], plaintext].concat();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;
    Some(record)
}

/// Derives key and nonce of the first record (RFC 8188 §2.2 and §2.3).
fn derive_key(key_material: &[u8], salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let prk = hmac_sha256(salt, &[key_material]);
    let key = hmac_sha256(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = hmac_sha256(&prk, &[b"Content-Encoding: nonce\0", &[1]]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key[..16]).ok()?);
    Some((key, Nonce::try_assume_unique_for_key(&nonce[..12]).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn body() -> Vec<u8> {
        bytes("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg")
    }

    fn key_material() -> Vec<u8> {
        bytes("yqdlZ-tYemfogSmv7Ws5PQ")
    }

    #[test]
    fn the_example_of_rfc_8188_section_3_1_is_decrypted() {
        assert_eq!(
            EncodedBody::parse(&body()).unwrap().decrypt(&key_material()).unwrap(),
            b"I am the walrus"
        );
    }

    #[test]
    fn the_example_of_rfc_8188_section_3_1_is_encrypted() {
        let salt = bytes("I1BsxtFttlv3u_Oo94xnmw").try_into().unwrap();
        assert_eq!(encrypt(b"I am the walrus", &key_material(), &salt, b"").unwrap(), body());
    }

    #[test]
    fn a_record_size_without_room_for_text_is_refused() {
        let mut body = body();
        body[16..20].copy_from_slice(&17_u32.to_be_bytes());
        assert_eq!(EncodedBody::parse(&body).unwrap_err(), DecryptionError::RecordSize);
    }

    #[test]
    fn more_than_one_record_is_refused() {
        let mut body = body();
        let record = u32::try_from(body.len() - FIXED_HEADER_LENGTH).unwrap();
        body[16..20].copy_from_slice(&(record - 1).to_be_bytes());
        assert_eq!(EncodedBody::parse(&body).unwrap_err(), DecryptionError::SeveralRecords);
        body[16..20].copy_from_slice(&record.to_be_bytes());
        assert!(EncodedBody::parse(&body).is_ok());
    }

    #[test]
    fn a_truncated_header_block_is_refused() {
        for end in [0, 15, 20] {
            assert_eq!(
                EncodedBody::parse(&body()[..end]).unwrap_err(),
                DecryptionError::Header,
                "{end} bytes"
            );
        }
        let mut body = body();
        body[20] = 200;
        assert_eq!(EncodedBody::parse(&body).unwrap_err(), DecryptionError::Header);
    }

    /// Returns a body whose record contains exactly these bytes: text, delimiter and padding.
    fn with_padding(padded: &[u8]) -> Vec<u8> {
        let salt = [7; 16];
        let (key, nonce) = derive_key(b"material", &salt).unwrap();
        let mut record = padded.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).unwrap();
        [&salt[..], &4096_u32.to_be_bytes(), &[0], &record].concat()
    }

    #[test]
    fn padding_is_removed_and_a_wrong_delimiter_is_refused() {
        let decrypt = |padded: &[u8]| EncodedBody::parse(&with_padding(padded)).unwrap().decrypt(b"material");
        assert_eq!(decrypt(b"hi\x02\0\0\0"), Ok(b"hi".to_vec()));
        assert_eq!(decrypt(b"\x02"), Ok(Vec::new()));
        assert_eq!(decrypt(b"hi\x01\0"), Err(DecryptionError::Padding));
        assert_eq!(decrypt(b"\0\0\0"), Err(DecryptionError::Padding));
    }
}
