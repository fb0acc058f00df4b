//! The content coding `aes128gcm` (RFC 8188) for one record: the header block, and the record under a key that is already agreed.
//! Where the key comes from is not its matter.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Unreadable, mac};

/// Salt, record size and length of the key id.
const FIXED: usize = 16 + 4 + 1;
/// A tag and a delimiter; a record of this size or less holds nothing.
const OVERHEAD: u32 = 17;

/// A body taken apart.
#[derive(Debug)]
pub(super) struct Coded<'a> {
    salt: &'a [u8],
    pub(super) key_id: &'a [u8],
    record: &'a [u8],
}

impl<'a> Coded<'a> {
    /// Reads the header block; push messages are one record (RFC 8291 §4).
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Unreadable> {
        let (fixed, rest) = body.split_at_checked(FIXED).ok_or(Unreadable::Header)?;
        let (salt, numbers) = fixed.split_at(16);
        let size = u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]);
        let (key_id, record) = rest.split_at_checked(usize::from(numbers[4])).ok_or(Unreadable::Header)?;
        if size <= OVERHEAD {
            return Err(Unreadable::RecordSize);
        }
        if record.len() > usize::try_from(size).unwrap_or(usize::MAX) {
            return Err(Unreadable::SeveralRecords);
        }
        Ok(Self { salt, key_id, record })
    }

    /// The plaintext, under the input keying material.
    pub(super) fn open(&self, material: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let (key, nonce) = derived(material, self.salt).ok_or(Unreadable::Sealed)?;
        let mut record = self.record.to_vec();
        let plain = key.open_in_place(nonce, Aad::empty(), &mut record).map_err(|_| Unreadable::Sealed)?;
        let end = plain.iter().rposition(|byte| *byte != 0).ok_or(Unreadable::Padding)?;
        // 1 would say that another record follows.
        if plain[end] == 2 { Ok(plain[..end].to_vec()) } else { Err(Unreadable::Padding) }
    }
}

/// A body of one record.
pub(super) fn sealed(plaintext: &[u8], material: &[u8], salt: &[u8; 16], key_id: &[u8]) -> Option<Vec<u8>> {
    let (key, nonce) = derived(material, salt)?;
    let mut record = plaintext.to_vec();
    record.push(2);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;
    let mut body = salt.to_vec();
    // One record it is, however long.
    let size = u32::try_from(record.len()).ok()?.max(4096);
    body.extend_from_slice(&size.to_be_bytes());
    body.push(u8::try_from(key_id.len()).ok()?);
    body.extend_from_slice(key_id);
    body.extend_from_slice(&record);
    Some(body)
}

/// A record of the older coding `aesgcm` (draft-ietf-httpbis-encryption-encoding-03), without padding.
pub(super) fn sealed_aesgcm(
    plaintext: &[u8],
    material: &[u8],
    salt: &[u8],
    context: &[u8],
) -> Option<Vec<u8>> {
    let prk = mac(salt, &[material]);
    let key = mac(&prk, &[b"Content-Encoding: aesgcm\0", context, &[1]]);
    let nonce = mac(&prk, &[b"Content-Encoding: nonce\0", context, &[1]]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key[..16]).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).ok()?;
    // Two bytes say how long the padding is that follows them.
    let mut record = [&[0, 0], plaintext].concat();
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).ok()?;
    Some(record)
}

/// Key and nonce of the first record (RFC 8188 §2.2 and §2.3).
fn derived(material: &[u8], salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let prk = mac(salt, &[material]);
    let key = mac(&prk, &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = mac(&prk, &[b"Content-Encoding: nonce\0", &[1]]);
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

    fn material() -> Vec<u8> {
        bytes("yqdlZ-tYemfogSmv7Ws5PQ")
    }

    #[test]
    fn the_walrus_of_rfc_8188_section_3_1_is_read() {
        assert_eq!(Coded::parse(&body()).unwrap().open(&material()).unwrap(), b"I am the walrus");
    }

    #[test]
    fn the_walrus_of_rfc_8188_section_3_1_is_written() {
        let salt = bytes("I1BsxtFttlv3u_Oo94xnmw").try_into().unwrap();
        assert_eq!(sealed(b"I am the walrus", &material(), &salt, b"").unwrap(), body());
    }

    #[test]
    fn a_record_size_that_holds_nothing_is_refused() {
        let mut body = body();
        body[16..20].copy_from_slice(&17_u32.to_be_bytes());
        assert_eq!(Coded::parse(&body).unwrap_err(), Unreadable::RecordSize);
    }

    #[test]
    fn more_than_one_record_is_refused() {
        let mut body = body();
        let record = u32::try_from(body.len() - FIXED).unwrap();
        body[16..20].copy_from_slice(&(record - 1).to_be_bytes());
        assert_eq!(Coded::parse(&body).unwrap_err(), Unreadable::SeveralRecords);
        body[16..20].copy_from_slice(&record.to_be_bytes());
        assert!(Coded::parse(&body).is_ok());
    }

    #[test]
    fn a_cut_header_block_is_refused() {
        for end in [0, 15, 20] {
            assert_eq!(Coded::parse(&body()[..end]).unwrap_err(), Unreadable::Header, "{end} bytes");
        }
        let mut body = body();
        body[20] = 200;
        assert_eq!(Coded::parse(&body).unwrap_err(), Unreadable::Header);
    }

    /// A record whose plaintext, delimiter and padding are the caller's.
    fn with_padding(padded: &[u8]) -> Vec<u8> {
        let salt = [7; 16];
        let (key, nonce) = derived(b"material", &salt).unwrap();
        let mut record = padded.to_vec();
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record).unwrap();
        [&salt[..], &4096_u32.to_be_bytes(), &[0], &record].concat()
    }

    #[test]
    fn padding_is_taken_off_and_a_wrong_delimiter_refused() {
        let read = |padded: &[u8]| Coded::parse(&with_padding(padded)).unwrap().open(b"material");
        assert_eq!(read(b"hi\x02\0\0\0"), Ok(b"hi".to_vec()));
        assert_eq!(read(b"\x02"), Ok(Vec::new()));
        assert_eq!(read(b"hi\x01\0"), Err(Unreadable::Padding));
        assert_eq!(read(b"\0\0\0"), Err(Unreadable::Padding));
    }
}
