//! Tests of provider tokens: signature, renewal, and sharing between channels.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use pushgate_kit::sample::NOW;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the key of RFC 6979 A.2.5 in the form of Apple's `.p8` files.
pub(crate) fn p8() -> String {
    let private = hex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
    let head = hex("3041020100301306072A8648CE3D020106082A8648CE3D030107042730250201010420");
    let der = [head, private].concat();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

/// Returns another key, which the tests use under the same id.
pub(crate) fn another_p8() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    key.serialize_pem()
}

fn public_key() -> Vec<u8> {
    hex(concat!(
        "04",
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
        "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
    ))
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Verifies a provider token of [`p8`] and returns its header and claims.
pub(crate) fn verify(header: &HeaderValue) -> (String, String) {
    let token = header.to_str().unwrap().strip_prefix("bearer ").expect("a bearer");
    assert!(is_signed(token, &public_key()), "the signature is of another key");
    let text = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.split('.');
    (text(parts.next().unwrap()), text(parts.next().unwrap()))
}

fn is_signed(token: &str, public_key: &[u8]) -> bool {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key).verify(input.as_bytes(), &signature).is_ok()
}

fn key(p8: &str) -> SigningKey {
    let der = PrivatePkcs8KeyDer::from_pem_slice(p8.as_bytes()).unwrap();
    SigningKey {
        pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).unwrap(),
        key_id: "ABC123DEFG".to_owned(),
        team_id: "DEF123GHIJ".to_owned(),
    }
}

fn signer() -> TokenSigner {
    TokenSigner { key: key(&p8()), state: Mutex::default() }
}

fn after(minutes: u32) -> Timestamp {
    NOW + MINUTE * minutes
}

#[test]
fn the_signing_input_matches_apples_example() {
    let input =
        "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.eyJpc3MiOiJERUYxMjNHSElKIiwiaWF0IjoxNDM3MTc5MDM2fQ";
    assert_eq!(signing_input(&key(&p8()), Timestamp::from_millis(1_437_179_036_000)), input);
}

/// Uses the example of RFC 7515 A.3.
#[test]
fn the_verifier_of_these_tests_accepts_the_example_of_rfc_7515() {
    let payload =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let coordinate = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public_key = [
        vec![4],
        coordinate("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        coordinate("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
    ]
    .concat();
    let token = format!("eyJhbGciOiJFUzI1NiJ9.{payload}.{signature}");
    assert!(is_signed(&token, &public_key));
    assert!(!is_signed(&token.replace("eyJpc3", "eyJpc4"), &public_key));
}

/// Uses the signature of "sample" in RFC 6979 A.2.5.
#[test]
fn a_p8_key_is_parsed_right() {
    let key = key(&p8());
    assert_eq!(key.pair.public_key().as_ref(), public_key());
    let signature = hex(concat!(
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    ));
    let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.pair.public_key().as_ref());
    assert!(verifier.verify(b"sample", &signature).is_ok());
}

#[test]
fn a_token_names_team_key_and_time_and_is_not_printed() {
    let bearer = signer().signed_token(NOW).unwrap();
    let (header, claims) = verify(&bearer.header);
    assert_eq!(header, r#"{"alg":"ES256","kid":"ABC123DEFG"}"#);
    // 22:13:20 is rounded down to 22:00.
    assert_eq!(claims, r#"{"iss":"DEF123GHIJ","iat":1699999200}"#);
    assert!(!format!("{bearer:?}").contains("bearer"), "{bearer:?}");
}

#[test]
fn gateways_that_share_a_key_sign_the_same_claims() {
    let (signer, other) = (signer(), signer());
    let claims = |signer: &TokenSigner, at| verify(&signer.signed_token(at).unwrap().header).1;
    assert_eq!(claims(&signer, after(0)), claims(&other, after(16)));
}

#[test]
fn concurrent_requests_share_one_token() {
    let signer = signer();
    let headers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| signer.signed_token(NOW).unwrap().header)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(headers.iter().all(|header| *header == headers[0]));
}

proptest! {
    #[test]
    fn at_any_start_tokens_are_20_minutes_apart_and_none_is_too_old(start in 0u32..3600) {
        let signer = signer();
        let mut last: Option<SignedToken> = None;
        for minute in 0..240 {
            let now = NOW + Duration::from_secs(start.into()) + MINUTE * minute;
            let bearer = signer.signed_token(now).unwrap();
            prop_assert!(bearer.issued_at <= now);
            prop_assert!(now.since(bearer.issued_at) < MINUTE * 50);
            if let Some(last) = last.filter(|last| last.header != bearer.header) {
                prop_assert!(bearer.created_at.since(last.created_at) >= MIN_RENEWAL_INTERVAL);
            }
            last = Some(bearer);
        }
    }
}

#[test]
fn a_clock_that_is_set_back_leads_to_a_valid_token() {
    let signer = signer();
    let ahead = signer.signed_token(after(600)).unwrap();
    let right = signer.signed_token(NOW).unwrap();
    assert!(ahead.header != right.header && right.issued_at <= NOW);
    // A clock that is set back by one second keeps the token.
    assert_eq!(
        signer.signed_token(Timestamp::from_millis(NOW.as_millis() - 1000)).unwrap().header,
        right.header
    );
}

#[test]
fn a_token_reported_as_expired_is_replaced_once_when_apple_allows_it() {
    let signer = signer();
    let first = signer.signed_token(NOW).unwrap();
    assert_eq!(signer.discard_expired(&first, after(5)), Some(MINUTE * 15));
    assert_eq!(signer.signed_token(after(5)).unwrap().header, first.header);
    assert_eq!(signer.discard_expired(&first, after(21)), None);
    let second = signer.signed_token(after(21)).unwrap();
    // Not rounded, because rounding could repeat the refused claims.
    assert_eq!(second.issued_at, after(21));
    // Further refusals of the first token do not drop the second.
    assert_eq!(signer.discard_expired(&first, after(22)), None);
    assert_eq!(signer.signed_token(after(22)).unwrap().header, second.header);
}

#[test]
fn after_too_many_updates_the_token_is_kept_up_to_its_maximum_age() {
    let signer = signer();
    let first = signer.signed_token(NOW).unwrap();
    signer.extend(after(15));
    assert_eq!(signer.signed_token(after(34)).unwrap().header, first.header);
    signer.extend(after(34));
    let last = first.issued_at + MAX_AGE;
    assert_eq!(
        signer.signed_token(Timestamp::from_millis(last.as_millis() - 1)).unwrap().header,
        first.header
    );
    assert_ne!(signer.signed_token(last).unwrap().header, first.header);
}

#[test]
fn channels_with_one_key_share_one_token_and_another_key_has_its_own() {
    let tokens = ProviderTokens::default();
    let (production, sandbox) = ("https://api.push.apple.com", "https://api.sandbox.push.apple.com");
    let signer = tokens.signer(production, key(&p8()));
    assert!(Arc::ptr_eq(&signer, &tokens.signer(production, key(&p8()))));
    assert!(!Arc::ptr_eq(&signer, &tokens.signer(sandbox, key(&p8()))));
    assert!(!Arc::ptr_eq(&signer, &tokens.signer(production, key(&another_p8()))));
    assert_eq!(format!("{tokens:?}"), "ProviderTokens(3)");
}
