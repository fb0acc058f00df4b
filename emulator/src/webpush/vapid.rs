//! VAPID (RFC 8292): who an application server says it is, and whether that is proven for this origin and this hour.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The longest life of a token, in seconds (RFC 8292 §2).
const LONGEST: u64 = 24 * 60 * 60;

/// What is wrong with the `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is none.
    Missing,
    /// Not `vapid t=…, k=…`, or no JWT inside.
    Syntax,
    /// Not signed with ES256.
    Algorithm,
    /// `k` is no public key on P-256.
    Key,
    /// Signed by another key, or changed afterwards.
    Signature,
    /// `aud` is not the origin of the endpoint.
    Audience,
    /// `exp` is missing or past.
    Expired,
    /// `exp` is more than 24 hours ahead.
    TooLong,
    /// `sub` is no address of a person, or is missing where it is demanded.
    Contact,
}

impl Wrong {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Missing => "vapid_missing",
            Self::Syntax => "vapid_syntax",
            Self::Algorithm => "vapid_algorithm",
            Self::Key => "vapid_key",
            Self::Signature => "vapid_signature",
            Self::Audience => "vapid_aud",
            Self::Expired => "vapid_expired",
            Self::TooLong => "vapid_exp_too_far",
            Self::Contact => "vapid_sub",
        }
    }
}

/// Whether a contact must be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// RFC 8292 §2.1: it should be.
    Optional,
    /// Apple: it must be.
    Required,
}

/// What a service expects of the header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// The origin of the endpoint.
    pub(super) origin: &'a str,
    /// Seconds since 1970.
    pub(super) now: u64,
    /// Whether `sub` must be there.
    pub(super) contact: Contact,
}

/// The public key that is proven.
pub(super) fn proven(header: Option<&str>, expected: Expected<'_>) -> Result<Vec<u8>, Wrong> {
    let (token, key) = parameters(header.ok_or(Wrong::Missing)?).ok_or(Wrong::Syntax)?;
    let key = public_key(key).ok_or(Wrong::Key)?;
    judge(&signed(token, &key)?, expected)?;
    Ok(key)
}

/// A public key as applications give it: 65 bytes, uncompressed, base64url without padding.
pub(crate) fn public_key(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|key| key.len() == 65 && key[0] == 4)
}

/// `t` and `k`, each once, in any order; a space after the comma is optional.
fn parameters(header: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("vapid") {
        return None;
    }
    let (mut token, mut key) = (None, None);
    for (name, value) in rest.split(',').filter_map(|part| part.trim().split_once('=')) {
        let place = match name {
            "t" => &mut token,
            "k" => &mut key,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    Some((token?, key?))
}

/// The claims, once the signature is found good.
fn signed(token: &str, key: &[u8]) -> Result<Value, Wrong> {
    let (input, signature) = token.rsplit_once('.').ok_or(Wrong::Syntax)?;
    let (header, claims) = input.split_once('.').ok_or(Wrong::Syntax)?;
    let object = |part: &str| -> Option<Value> {
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        value.is_object().then_some(value)
    };
    let header = object(header).ok_or(Wrong::Syntax)?;
    if header["alg"] != "ES256" {
        return Err(Wrong::Algorithm);
    }
    if header.get("typ").is_some_and(|kind| kind != "JWT") {
        return Err(Wrong::Syntax);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Wrong::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(input.as_bytes(), &signature)
        .map_err(|_| Wrong::Signature)?;
    object(claims).ok_or(Wrong::Syntax)
}

fn judge(claims: &Value, expected: Expected<'_>) -> Result<(), Wrong> {
    if claims["aud"] != expected.origin {
        return Err(Wrong::Audience);
    }
    let until = claims["exp"].as_u64().ok_or(Wrong::Expired)?;
    if until <= expected.now {
        return Err(Wrong::Expired);
    }
    if until - expected.now > LONGEST {
        return Err(Wrong::TooLong);
    }
    match claims.get("sub") {
        None if expected.contact == Contact::Optional => Ok(()),
        Some(Value::String(contact)) if is_contact(contact) => Ok(()),
        _ => Err(Wrong::Contact),
    }
}

/// `mailto:` with an address, or an `https:` page; spaces and angle brackets are what Apple is known to refuse.
fn is_contact(text: &str) -> bool {
    let clean = |rest: &str| !rest.contains(|c: char| c.is_whitespace() || c == '<' || c == '>');
    if let Some(address) = text.strip_prefix("mailto:") {
        let parts = address.split_once('@');
        return clean(address) && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    }
    text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && clean(rest))
}

#[cfg(test)]
mod tests {
    use super::super::sender::{Sender, now};
    use super::*;
    use serde_json::json;

    const ORIGIN: &str = "https://push.example.net";

    fn expected(now: u64) -> Expected<'static> {
        Expected { origin: ORIGIN, now, contact: Contact::Optional }
    }

    /// What a good sender's header gives with these claims.
    fn verdict(claims: &Value) -> Result<(), Wrong> {
        let sender = Sender::new();
        proven(Some(&sender.authorization(claims)), expected(now())).map(|key| {
            assert_eq!(key, sender.public);
        })
    }

    #[test]
    fn the_header_of_rfc_8292_section_2_4_is_proven() {
        let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
        assert!(proven(Some(header), expected(1_453_523_700)).is_ok());
        assert_eq!(proven(Some(header), expected(1_453_523_768)), Err(Wrong::Expired));
        assert_eq!(proven(Some(header), expected(1_453_523_767 - LONGEST)), Err(Wrong::TooLong));
    }

    #[test]
    fn a_bare_comma_between_the_parameters_is_fine_and_a_contact_may_be_required() {
        let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guc2VydmljZXMubW96aWxsYS5jb20iLCJleHAiOjE3MzgxMTE1OTN9.v3oneNnU-VWJK3rI0gNAvstaZHfbA57WdrYHEq0P2Od9nGsdpi1xN2aNS8412wJpdzsriYvLyEWdPEdsu3luAw,k=BLMymkOqvT6OZ1o9etCqV4jGPkvOXNz5FdBjsAR9zR5oeCV1x5CBKuSLTlHon-H_boHTzMtMoNHsAGDlDB6X7vI";
        let at =
            |contact| Expected { origin: "https://push.services.mozilla.com", now: 1_738_111_500, contact };
        assert!(proven(Some(header), at(Contact::Optional)).is_ok());
        assert_eq!(proven(Some(header), at(Contact::Required)), Err(Wrong::Contact));
    }

    #[test]
    fn the_audience_is_the_origin_and_nothing_else() {
        let exp = now() + 3600;
        assert_eq!(verdict(&json!({"aud": ORIGIN, "exp": exp})), Ok(()));
        for aud in
            [json!("https://push.example.net/"), json!("push.example.net"), json!([ORIGIN]), json!(null)]
        {
            assert_eq!(verdict(&json!({"aud": aud, "exp": exp})), Err(Wrong::Audience), "{aud}");
        }
    }

    #[test]
    fn the_expiry_is_a_whole_number_in_the_next_24_hours() {
        let with = |exp: Value| verdict(&json!({"aud": ORIGIN, "exp": exp}));
        assert_eq!(with(json!(now() + LONGEST - 5)), Ok(()));
        assert_eq!(with(json!(now() + LONGEST + 60)), Err(Wrong::TooLong));
        assert_eq!(with(json!(now() - 1)), Err(Wrong::Expired));
        assert_eq!(with(json!((now() + 60).to_string())), Err(Wrong::Expired));
        assert_eq!(verdict(&json!({"aud": ORIGIN})), Err(Wrong::Expired));
    }

    #[test]
    fn a_contact_is_a_mail_address_or_an_https_page() {
        let with = |sub: &str| verdict(&json!({"aud": ORIGIN, "exp": now() + 60, "sub": sub}));
        for good in ["mailto:ops@example.com", "https://example.com/contact"] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        let bad = [
            "ops@example.com",
            "mailto:ops",
            "mailto: ops@example.com",
            "mailto:<ops@example.com>",
            "http://example.com",
            "",
        ];
        for bad in bad {
            assert_eq!(with(bad), Err(Wrong::Contact), "{bad}");
        }
    }

    #[test]
    fn a_header_that_is_not_vapid_is_refused() {
        let sender = Sender::new();
        let good = sender.authorization(&json!({"aud": ORIGIN, "exp": now() + 60}));
        let read = |header: &str| proven(Some(header), expected(now()));
        assert!(read(&good).is_ok());
        assert_eq!(proven(None, expected(now())), Err(Wrong::Missing));
        for bad in [
            good.replacen("vapid", "WebPush", 1),
            good.replacen("t=", "x=", 1),
            format!("{good}, k=AAAA"),
            good.replacen('.', "", 2),
            "vapid".to_owned(),
        ] {
            assert_eq!(read(&bad), Err(Wrong::Syntax), "{bad}");
        }
    }

    #[test]
    fn another_key_or_another_algorithm_proves_nothing() {
        let (sender, other) = (Sender::new(), Sender::new());
        let claims = json!({"aud": ORIGIN, "exp": now() + 60});
        let token = sender.jwt(&json!({"alg": "ES256"}), &claims);
        let read = |token: &str, key: &[u8]| {
            proven(Some(&format!("vapid t={token}, k={}", URL_SAFE_NO_PAD.encode(key))), expected(now()))
        };
        assert!(read(&token, &sender.public).is_ok());
        assert_eq!(read(&token, &other.public), Err(Wrong::Signature));
        assert_eq!(read(&token, &sender.public[..64]), Err(Wrong::Key));
        assert_eq!(read(&format!("{token}x"), &sender.public), Err(Wrong::Signature));
        let none = sender.jwt(&json!({"alg": "none"}), &claims);
        assert_eq!(read(&none, &sender.public), Err(Wrong::Algorithm));
    }
}
