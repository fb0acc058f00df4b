//! Keys and tokens, held to the RFCs' own examples. What Apple, Mozilla and RFC 8292 ask of a token is a test each.

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

fn vapid() -> Vapid {
    Vapid::new(private_key(PRIVATE).unwrap(), "mailto:push@example.com")
}

/// The token's text and key, as a push service takes them apart (RFC 8292 §3); blanks are optional.
pub(crate) fn parts(header: &str) -> (String, String) {
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

fn claims(token: &Token) -> Value {
    let (token, _) = parts(token.header.to_str().unwrap());
    let claims = BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

#[test]
fn what_is_signed_is_the_example_of_rfc_8292() {
    let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
    let (token, key) = parts(header);
    assert!(is_signed(&token, &key));
    let ends_at = Timestamp::from_millis(1_453_523_768_000);
    let input = signing_input(ORIGIN, ends_at, "mailto:push@example.com");
    assert_eq!(token.rsplit_once('.').unwrap().0, input);
}

/// From Mozilla's own tests; they write `t` and `k` with a bare comma between them.
#[test]
fn the_tests_take_mozillas_tokens_for_what_they_are() {
    let key = "BLMymkOqvT6OZ1o9etCqV4jGPkvOXNz5FdBjsAR9zR5oeCV1x5CBKuSLTlHon-H_boHTzMtMoNHsAGDlDB6X7vI";
    let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guc2VydmljZXMubW96aWxsYS5jb20iLCJleHAiOjE3MTM1NjQ4NzIsInN1YiI6Im1haWx0bzphZG1pbkBleGFtcGxlLmNvbSJ9.t7uOYm8nbqFkuNpDeln-UeqSC58xu96Mc9tUVifQu1zAAndHYwvMd3-u--PuUo3S_VrqYXEaIlNIOOrGd3iUBA";
    let (token, parsed) = parts(&format!("{header},k={key}"));
    assert_eq!(parsed, key);
    assert!(is_signed(&token, key));
    let wrong = token.replace("t7uOYm8n", "u7uOYm8n");
    assert!(!is_signed(&wrong, key));
}

/// RFC 7515 A.3: the same primitive, with another's signature.
#[test]
fn the_tests_take_the_signature_of_rfc_7515_for_what_it_is() {
    let key = "BH_Nzidw9sRdQYPL7m_bS3tYBzM1e-nvE7rPbjx70VRFx_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(is_signed(token, key));
}

/// RFC 6979 A.2.5, "sample": its key is that of these tests, so the private half we read is the one that signed.
#[test]
fn the_tests_take_the_signature_of_rfc_6979_for_what_it_is() {
    let signature =
        bytes("79SLKqy2qP0RQN2c1F6B1p0sh3tWqvmRw00OqE6vNxb3yxyULWV8QdQ2x6G24p9l8-kA27mv9AZNxKsvhDrNqA");
    let key = private_key(PRIVATE).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    assert!(key.verify(b"sample", &signature).is_ok());
    assert!(key.verify(b"test", &signature).is_err());
}

#[test]
fn a_token_names_the_service_ends_in_half_a_day_and_says_whom_to_write_to() {
    let token = vapid().token(ORIGIN, NOW).unwrap();
    let expected = serde_json::json!({"aud": ORIGIN, "exp": 1_700_043_200, "sub": "mailto:push@example.com"});
    assert_eq!(claims(&token), expected);
    let (text, key) = parts(token.header.to_str().unwrap());
    assert_eq!(key, PUBLIC);
    assert!(is_signed(&text, PUBLIC));
}

#[test]
fn a_token_is_used_for_eleven_hours_and_replaced_before_it_ends() {
    let vapid = vapid();
    let first = vapid.token(ORIGIN, NOW).unwrap();
    let later = vapid.token(ORIGIN, NOW + HOUR * 11 - Duration::from_millis(1)).unwrap();
    assert_eq!(later.header, first.header);
    let next = vapid.token(ORIGIN, NOW + HOUR * 11).unwrap();
    assert_eq!(claims(&next)["exp"], 1_700_000_000 + 23 * 3600);
}

#[test]
fn each_service_gets_a_token_of_its_own() {
    let vapid = vapid();
    let one = vapid.token("https://web.push.apple.com", NOW).unwrap();
    let two = vapid.token("https://fcm.googleapis.com", NOW).unwrap();
    assert_eq!(claims(&one)["aud"], "https://web.push.apple.com");
    assert_eq!(claims(&two)["aud"], "https://fcm.googleapis.com");
}

#[test]
fn a_refused_token_is_replaced_once_it_is_an_hour_old_and_not_before() {
    let vapid = vapid();
    let first = vapid.token(ORIGIN, NOW).unwrap();
    vapid.refused(ORIGIN, &first, NOW + HOUR - Duration::from_secs(1));
    assert_eq!(vapid.token(ORIGIN, NOW + HOUR).unwrap().header, first.header);
    vapid.refused(ORIGIN, &first, NOW + HOUR);
    let second = vapid.token(ORIGIN, NOW + HOUR).unwrap();
    assert_ne!(second.header, first.header);
    // News of the old one comes late, and must not cost the new one.
    vapid.refused(ORIGIN, &first, NOW + HOUR * 2);
    assert_eq!(vapid.token(ORIGIN, NOW + HOUR * 2).unwrap().header, second.header);
}

#[test]
fn a_clock_set_back_never_makes_a_token_last_longer_than_a_day() {
    let vapid = vapid();
    let first = vapid.token(ORIGIN, NOW + HOUR * 48).unwrap();
    let a_little = vapid.token(ORIGIN, NOW + HOUR * 48 - Duration::from_secs(5)).unwrap();
    assert_eq!(a_little.header, first.header);
    let far = vapid.token(ORIGIN, NOW).unwrap();
    assert_eq!(claims(&far)["exp"], 1_700_043_200);
}

#[test]
fn strangers_names_do_not_fill_the_memory_nor_drive_out_a_service() {
    let vapid = vapid();
    let first = vapid.token(ORIGIN, NOW).unwrap();
    for number in 0..MOST_ORIGINS + 10 {
        vapid.token(&format!("https://x{number}.push.apple.com"), NOW + HOUR).unwrap();
    }
    assert_eq!(vapid.tokens.lock().len(), MOST_ORIGINS);
    assert_eq!(vapid.token(ORIGIN, NOW + HOUR).unwrap().header, first.header);
    vapid.token("https://new.example", NOW + HOUR * 13).unwrap();
    assert_eq!(vapid.tokens.lock().len(), 1);
}

#[test]
fn a_private_key_is_read_as_base64url_and_as_both_of_openssls_forms() {
    let pkcs8 = private_key(PRIVATE).unwrap().to_pkcs8v1().unwrap();
    let wrapped = |name: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", lines.join("\n"))
    };
    use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
    let key = private_key(PRIVATE).unwrap();
    let sec1: EcPrivateKeyRfc5915Der<'_> = key.private_key().as_der().unwrap();
    let curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let forms = [
        PRIVATE.to_owned(),
        format!("{PRIVATE}=\n"),
        wrapped("PRIVATE KEY", pkcs8.as_ref()),
        format!("{curve}{}", wrapped("EC PRIVATE KEY", sec1.as_ref())),
    ];
    for form in forms {
        assert_eq!(Vapid::new(private_key(&form).unwrap(), "").public(), PUBLIC, "{form}");
    }
}

#[test]
fn what_is_no_private_key_is_refused() {
    let zero = URL_SAFE_NO_PAD.encode([0; 32]);
    let too_large = URL_SAFE_NO_PAD.encode([0xff; 32]);
    let pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    for bad in ["", "s3cret", PUBLIC, &PRIVATE[1..], &zero, &too_large, pem, "-----BEGIN", &pem[..40]] {
        assert!(private_key(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_new_key_pair_is_one_and_is_new() {
    let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    assert_eq!(Vapid::new(private_key(one.private.expose()).unwrap(), "").public(), one.public);
    assert_ne!(one.public, two.public);
    assert_eq!(BASE64URL.decode(&one.public).unwrap().len(), 65);
    assert!(!format!("{one:?}").contains(one.private.expose()));
}
