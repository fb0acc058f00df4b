//! VAPID (RFC 8292): verification of the token that identifies an application server.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Maximum lifetime of a token, in seconds (RFC 8292 §2).
const MAX_LIFETIME_S: u64 = 24 * 60 * 60;

/// Error of the `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VapidError {
    /// The header is missing.
    Missing,
    /// The header is not `vapid t=…, k=…`, or `t` is not a JWT.
    Syntax,
    /// The token is not signed with ES256.
    Algorithm,
    /// `k` is not a public key on P-256.
    Key,
    /// The signature is not valid for the token and `k`.
    Signature,
    /// `aud` is not the origin of the endpoint.
    Audience,
    /// `exp` is missing or past.
    Expired,
    /// `exp` is more than 24 hours ahead.
    TooLong,
    /// `sub` is not a contact, or is missing where the service requires it.
    Contact,
}

impl VapidError {
    /// Returns the code of the error in the event log.
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

/// Requirement of the contact in `sub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
    /// The contact is optional (RFC 8292 §2.1).
    Optional,
    /// The contact is required, as by Apple.
    Required,
}

/// Requirements of a service for the header.
#[derive(Debug, Clone, Copy)]
pub(super) struct VapidRequirements<'a> {
    /// Origin of the endpoint.
    pub(super) origin: &'a str,
    /// Current time in seconds since 1970.
    pub(super) now_s: u64,
    /// Requirement of the contact in `sub`.
    pub(super) contact: Contact,
}

/// Verifies the header. Returns the public key of the application server.
pub(super) fn verify(
    header: Option<&str>,
    requirements: VapidRequirements<'_>,
) -> Result<Vec<u8>, VapidError> {
    let (token, key) = parse_parameters(header.ok_or(VapidError::Missing)?).ok_or(VapidError::Syntax)?;
    let key = parse_public_key(key).ok_or(VapidError::Key)?;
    verify_claims(&verified_claims(token, &key)?, requirements)?;
    Ok(key)
}

/// Parses a public key: 65 bytes, uncompressed, in base64url without padding. `None` for anything else.
pub(crate) fn parse_public_key(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok().filter(|key| key.len() == 65 && key[0] == 4)
}

/// Returns `t` and `k`. They may be in any order, with optional white space, but each only once.
fn parse_parameters(header: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("vapid") {
        return None;
    }
    let (mut token, mut key) = (None, None);
    for (name, value) in rest.split(',').filter_map(|part| part.trim().split_once('=')) {
        let parameter = match name {
            "t" => &mut token,
            "k" => &mut key,
            _ => continue,
        };
        if parameter.replace(value).is_some() {
            return None;
        }
    }
    Some((token?, key?))
}

/// Verifies the signature and returns the claims.
fn verified_claims(token: &str, key: &[u8]) -> Result<Value, VapidError> {
    let (input, signature) = token.rsplit_once('.').ok_or(VapidError::Syntax)?;
    let (header, claims) = input.split_once('.').ok_or(VapidError::Syntax)?;
    let object = |part: &str| -> Option<Value> {
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        value.is_object().then_some(value)
    };
    let header = object(header).ok_or(VapidError::Syntax)?;
    if header["alg"] != "ES256" {
        return Err(VapidError::Algorithm);
    }
    if header.get("typ").is_some_and(|kind| kind != "JWT") {
        return Err(VapidError::Syntax);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| VapidError::Signature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(input.as_bytes(), &signature)
        .map_err(|_| VapidError::Signature)?;
    object(claims).ok_or(VapidError::Syntax)
}

fn verify_claims(claims: &Value, requirements: VapidRequirements<'_>) -> Result<(), VapidError> {
    if claims["aud"] != requirements.origin {
        return Err(VapidError::Audience);
    }
    let expires_at = claims["exp"].as_u64().ok_or(VapidError::Expired)?;
    if expires_at <= requirements.now_s {
        return Err(VapidError::Expired);
    }
    if expires_at - requirements.now_s > MAX_LIFETIME_S {
        return Err(VapidError::TooLong);
    }
    match claims.get("sub") {
        None if requirements.contact == Contact::Optional => Ok(()),
        Some(Value::String(contact)) if is_contact(contact) => Ok(()),
        _ => Err(VapidError::Contact),
    }
}

/// Returns `true` for `mailto:` with an address, or an `https:` URL. Apple is known to refuse spaces and angle
/// brackets.
fn is_contact(text: &str) -> bool {
    let is_clean = |rest: &str| !rest.contains(|c: char| c.is_whitespace() || c == '<' || c == '>');
    if let Some(address) = text.strip_prefix("mailto:") {
        let parts = address.split_once('@');
        return is_clean(address) && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    }
    text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && is_clean(rest))
}

#[cfg(test)]
mod tests {
    use super::super::app_server::{AppServer, now};
    use super::*;
    use serde_json::json;

    const ORIGIN: &str = "https://push.example.net";

    fn requirements(now_s: u64) -> VapidRequirements<'static> {
        VapidRequirements { origin: ORIGIN, now_s, contact: Contact::Optional }
    }

    /// Verifies a correctly signed header with these claims.
    fn verify_token_with(claims: &Value) -> Result<(), VapidError> {
        let app_server = AppServer::new();
        verify(Some(&app_server.authorization_with_claims(claims)), requirements(now())).map(|key| {
            assert_eq!(key, app_server.public);
        })
    }

    #[test]
    fn the_example_of_rfc_8292_section_2_4_is_verified() {
        let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA, k=BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
        assert!(verify(Some(header), requirements(1_453_523_700)).is_ok());
        assert_eq!(verify(Some(header), requirements(1_453_523_768)), Err(VapidError::Expired));
        assert_eq!(
            verify(Some(header), requirements(1_453_523_767 - MAX_LIFETIME_S)),
            Err(VapidError::TooLong)
        );
    }

    #[test]
    fn a_comma_without_space_is_accepted_and_a_contact_may_be_required() {
        let header = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guc2VydmljZXMubW96aWxsYS5jb20iLCJleHAiOjE3MzgxMTE1OTN9.v3oneNnU-VWJK3rI0gNAvstaZHfbA57WdrYHEq0P2Od9nGsdpi1xN2aNS8412wJpdzsriYvLyEWdPEdsu3luAw,k=BLMymkOqvT6OZ1o9etCqV4jGPkvOXNz5FdBjsAR9zR5oeCV1x5CBKuSLTlHon-H_boHTzMtMoNHsAGDlDB6X7vI";
        let at = |contact| VapidRequirements {
            origin: "https://push.services.mozilla.com",
            now_s: 1_738_111_500,
            contact,
        };
        assert!(verify(Some(header), at(Contact::Optional)).is_ok());
        assert_eq!(verify(Some(header), at(Contact::Required)), Err(VapidError::Contact));
    }

    #[test]
    fn the_audience_is_the_origin_and_nothing_else() {
        let exp = now() + 3600;
        assert_eq!(verify_token_with(&json!({"aud": ORIGIN, "exp": exp})), Ok(()));
        for aud in
            [json!("https://push.example.net/"), json!("push.example.net"), json!([ORIGIN]), json!(null)]
        {
            assert_eq!(
                verify_token_with(&json!({"aud": aud, "exp": exp})),
                Err(VapidError::Audience),
                "{aud}"
            );
        }
    }

    #[test]
    fn the_expiry_is_a_whole_number_in_the_next_24_hours() {
        let with = |exp: Value| verify_token_with(&json!({"aud": ORIGIN, "exp": exp}));
        assert_eq!(with(json!(now() + MAX_LIFETIME_S - 5)), Ok(()));
        assert_eq!(with(json!(now() + MAX_LIFETIME_S + 60)), Err(VapidError::TooLong));
        assert_eq!(with(json!(now() - 1)), Err(VapidError::Expired));
        assert_eq!(with(json!((now() + 60).to_string())), Err(VapidError::Expired));
        assert_eq!(verify_token_with(&json!({"aud": ORIGIN})), Err(VapidError::Expired));
    }

    #[test]
    fn a_contact_is_a_mail_address_or_an_https_page() {
        let with = |sub: &str| verify_token_with(&json!({"aud": ORIGIN, "exp": now() + 60, "sub": sub}));
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
            assert_eq!(with(bad), Err(VapidError::Contact), "{bad}");
        }
    }

    #[test]
    fn a_header_that_is_not_vapid_is_refused() {
        let app_server = AppServer::new();
        let good = app_server.authorization_with_claims(&json!({"aud": ORIGIN, "exp": now() + 60}));
        let read = |header: &str| verify(Some(header), requirements(now()));
        assert!(read(&good).is_ok());
        assert_eq!(verify(None, requirements(now())), Err(VapidError::Missing));
        for bad in [
            good.replacen("vapid", "WebPush", 1),
            good.replacen("t=", "x=", 1),
            format!("{good}, k=AAAA"),
            good.replacen('.', "", 2),
            "vapid".to_owned(),
        ] {
            assert_eq!(read(&bad), Err(VapidError::Syntax), "{bad}");
        }
    }

    #[test]
    fn another_key_or_another_algorithm_is_refused() {
        let (app_server, other) = (AppServer::new(), AppServer::new());
        let claims = json!({"aud": ORIGIN, "exp": now() + 60});
        let token = app_server.jwt(&json!({"alg": "ES256"}), &claims);
        let read = |token: &str, key: &[u8]| {
            verify(Some(&format!("vapid t={token}, k={}", URL_SAFE_NO_PAD.encode(key))), requirements(now()))
        };
        assert!(read(&token, &app_server.public).is_ok());
        assert_eq!(read(&token, &other.public), Err(VapidError::Signature));
        assert_eq!(read(&token, &app_server.public[..64]), Err(VapidError::Key));
        assert_eq!(read(&format!("{token}x"), &app_server.public), Err(VapidError::Signature));
        let none = app_server.jwt(&json!({"alg": "none"}), &claims);
        assert_eq!(read(&none, &app_server.public), Err(VapidError::Algorithm));
    }
}
