//! Tests of keys and tokens against the examples of the RFCs and the requirements of Apple and Mozilla.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::crypto::tests::bytes;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const ORIGIN: &str = "https://push.example.net";

/// The key of RFC 6979, A.2.5.
pub(crate) const PRIVATE: &str = "ya-p2EW6dRZrXCFXZ7HWk05Qw9s26JsSe4piKxIPZyE";
pub(crate) const PUBLIC: &str =
    "BGD-1LolWp0xyWHrdMY1bWjASbiSO2H6bOZpYi5g8p-2eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk";

fn signer() -> VapidSigner {
    VapidSigner::new(parse_private_key(PRIVATE).unwrap(), "mailto:push@example.com")
}

/// Splits a header into the token and the key, as a push service does (RFC 8292 §3). Blanks are optional.
pub(crate) fn split_header(header: &str) -> (String, String) {
    let rest = header.strip_prefix("vapid ").unwrap();
    let (t, k) = rest.split_once(',').unwrap();
    let value = |text: &str, name: &str| text.trim().strip_prefix(name).unwrap().to_owned();
    (value(t, "t="), value(k, "k="))
}

pub(crate) fn is_signed(token: &str, public: &str) -> bool {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let key = BASE64URL.decode(public).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    key.verify(input.as_bytes(), &BASE64URL.decode(signature).unwrap()).is_ok()
}

fn claims(token: &VapidToken) -> Value {
    let (token, _) = split_header(token.header.to_str().unwrap());
    let claims = BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[test]
fn the_signing_input_matches_the_example_of_rfc_8292() {
    let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
    let (token, key) = split_header(header);
    assert!(is_signed(&token, &key));
    let expires_at = Timestamp::from_millis(1_453_523_768_000);
    let input = signing_input(ORIGIN, expires_at, "mailto:push@example.com");
    assert_eq!(token.rsplit_once('.').unwrap().0, input);
}

/// Uses a token from Mozilla's tests, which separate `t` and `k` by a comma without a blank.
#[test]
fn the_verifier_of_these_tests_accepts_a_token_of_mozilla() {
    let key = "BLMymkOqvT6OZ1o9etCqV4jGPkvOXNz5FdBjsAR9zR5oeCV1x5CBKuSLTlHon-H_boHTzMtMoNHsAGDlDB6X7vI";
    let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guc2VydmljZXMubW96aWxsYS5jb20iLCJleHAiOjE3MTM1NjQ4NzIsInN1YiI6Im1haWx0bzphZG1pbkBleGFtcGxlLmNvbSJ9.t7uOYm8nbqFkuNpDeln-UeqSC58xu96Mc9tUVifQu1zAAndHYwvMd3-u--PuUo3S_VrqYXEaIlNIOOrGd3iUBA";
    let (token, parsed) = split_header(&format!("{header},k={key}"));
    assert_eq!(parsed, key);
    assert!(is_signed(&token, key));
    let wrong = token.replace("t7uOYm8n", "u7uOYm8n");
    assert!(!is_signed(&wrong, key));
}

/// Uses the example of RFC 7515 A.3.
#[test]
fn the_verifier_of_these_tests_accepts_the_example_of_rfc_7515() {
    let key = "BH_Nzidw9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRFx_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(is_signed(token, key));
}

/// Uses the signature of "sample" in RFC 6979 A.2.5, whose key these tests use. Shows that the private key is parsed right.
#[test]
fn the_private_key_of_these_tests_signed_the_example_of_rfc_6979() {
    let signature =
        bytes("79SLKqy2qP0RQN2c1F6B1p0sh3tWqvmRw00OqE6vNxb3yxyULWV8QdQ2x6G24p9l8-kA27mv9AZNxKsvhDrNqA");
    let key = parse_private_key(PRIVATE).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    assert!(key.verify(b"sample", &signature).is_ok());
    assert!(key.verify(b"test", &signature).is_err());
}

#[test]
fn a_token_names_service_and_contact_and_expires_in_half_a_day() {
    let token = signer().token(ORIGIN, NOW).unwrap();
    let expected = serde_json::json!({"aud": ORIGIN, "exp": 1_700_043_200, "sub": "mailto:push@example.com"});
    assert_eq!(claims(&token), expected);
    let (text, key) = split_header(token.header.to_str().unwrap());
    assert_eq!(key, PUBLIC);
    assert!(is_signed(&text, PUBLIC));
}

#[test]
fn a_token_is_used_for_eleven_hours_and_replaced_before_it_expires() {
    let signer = signer();
    let first = signer.token(ORIGIN, NOW).unwrap();
    let later = signer.token(ORIGIN, NOW + HOUR * 11 - Duration::from_millis(1)).unwrap();
    assert_eq!(later.header, first.header);
    let next = signer.token(ORIGIN, NOW + HOUR * 11).unwrap();
    assert_eq!(claims(&next)["exp"], 1_700_000_000 + 23 * 3600);
}

#[test]
fn each_service_gets_a_token_of_its_own() {
    let signer = signer();
    for origin in ["https://web.push.apple.com", "https://fcm.googleapis.com"] {
        assert_eq!(claims(&signer.token(origin, NOW).unwrap())["aud"], origin);
    }
}

#[test]
fn a_refused_token_is_replaced_once_it_is_an_hour_old_and_not_before() {
    let signer = signer();
    let first = signer.token(ORIGIN, NOW).unwrap();
    signer.discard_refused(ORIGIN, &first, NOW + HOUR - Duration::from_secs(1));
    assert_eq!(signer.token(ORIGIN, NOW + HOUR).unwrap().header, first.header);
    signer.discard_refused(ORIGIN, &first, NOW + HOUR);
    let second = signer.token(ORIGIN, NOW + HOUR).unwrap();
    assert_ne!(second.header, first.header);
    // A late refusal of the old token must not drop the new one.
    signer.discard_refused(ORIGIN, &first, NOW + HOUR * 2);
    assert_eq!(signer.token(ORIGIN, NOW + HOUR * 2).unwrap().header, second.header);
}

#[test]
fn a_clock_set_back_never_makes_a_token_last_longer_than_a_day() {
    let signer = signer();
    let first = signer.token(ORIGIN, NOW + HOUR * 48).unwrap();
    let a_little = signer.token(ORIGIN, NOW + HOUR * 48 - Duration::from_secs(5)).unwrap();
    assert_eq!(a_little.header, first.header);
    let far = signer.token(ORIGIN, NOW).unwrap();
    assert_eq!(claims(&far)["exp"], 1_700_043_200);
}

#[test]
fn tokens_for_invented_hosts_neither_fill_the_memory_nor_evict_a_service() {
    let signer = signer();
    let first = signer.token(ORIGIN, NOW).unwrap();
    for number in 0..MAX_ORIGINS + 10 {
        signer.token(&format!("https://x{number}.push.apple.com"), NOW + HOUR).unwrap();
    }
    assert_eq!(signer.tokens.lock().len(), MAX_ORIGINS);
    assert_eq!(signer.token(ORIGIN, NOW + HOUR).unwrap().header, first.header);
    signer.token("https://new.example", NOW + HOUR * 13).unwrap();
    assert_eq!(signer.tokens.lock().len(), 1);
}

#[test]
fn a_private_key_is_parsed_from_base64url_and_from_both_pem_forms_of_openssl() {
    let pkcs8 = parse_private_key(PRIVATE).unwrap().to_pkcs8v1().unwrap();
    let wrapped = |name: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", lines.join("\n"))
    };
    use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
    let key = parse_private_key(PRIVATE).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = key.private_key().as_der().unwrap();
    let curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let forms = [
        PRIVATE.to_owned(),
        format!("{PRIVATE}=\n"),
        wrapped("PRIVATE KEY", pkcs8.as_ref()),
        format!("{curve}{}", wrapped("EC PRIVATE KEY", sec1.as_ref())),
    ];
    for form in forms {
        assert_eq!(VapidSigner::new(parse_private_key(&form).unwrap(), "").public_key(), PUBLIC, "{form}");
    }
}

#[test]
fn an_invalid_private_key_is_refused() {
    let zero = URL_SAFE_NO_PAD.encode([0; 32]);
    let too_large = URL_SAFE_NO_PAD.encode([0xff; 32]);
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    for bad in ["", "s3cret", PUBLIC, &PRIVATE[1..], &zero, &too_large, pem, "-----BEGIN", &pem[..40]] {
        assert!(parse_private_key(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_generated_key_pair_is_valid_and_unique() {
    let (pair, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let key = parse_private_key(pair.private.expose()).unwrap();
    assert_eq!(VapidSigner::new(key, "").public_key(), pair.public);
    assert_ne!(pair.public, other.public);
    assert_eq!(BASE64URL.decode(&pair.public).unwrap().len(), 65);
    assert!(!format!("{pair:?}").contains(pair.private.expose()));
}
