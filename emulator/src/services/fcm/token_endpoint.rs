//! Google's token endpoint: exchanges a signed assertion for a bearer (RFC 7523).

use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::{Value, json};

use super::{Fcm, responses};
use crate::wire::HttpResponse;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"];
/// Audience of the public endpoint. Some clients use it regardless of the `token_uri` in their service account.
const PUBLIC_AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// Decoder that accepts padding. Google accepts padded JWT parts against RFC 7515 §2, and some clients pad.
const PADDING_TOLERANT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Maximum clock skew of a caller, in seconds.
const MAX_CLOCK_SKEW_S: i64 = 60;

impl Fcm {
    /// Handles a token request.
    pub(super) fn issue_bearer(&self, body: &[u8]) -> HttpResponse {
        let fields = parse_form(body);
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if field("grant_type") != Some(GRANT_TYPE) {
            return responses::oauth_error(400, "unsupported_grant_type", "Invalid grant_type: ");
        }
        let Some(assertion) = field("assertion") else {
            return responses::oauth_error(400, "invalid_request", "Missing required parameter: assertion");
        };
        if let Err((error, description)) = self.verify(assertion) {
            return responses::oauth_error(400, error, description);
        }
        let bearer = format!("ya29.{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 48]>()));
        let lifetime = self.bearers.issue(&bearer, self.context.clock.now());
        responses::ok(&json!({"access_token": bearer, "expires_in": lifetime, "token_type": "Bearer"}))
    }

    /// Checks signature and claims of an assertion. The error is the OAuth error code and its description.
    fn verify(&self, assertion: &str) -> Result<(), (&'static str, &'static str)> {
        let invalid_grant = |description| ("invalid_grant", description);
        let mut parts = assertion.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid_grant("Invalid JWT: Failed audience check."));
        };
        let object = |part: &str| -> Option<Value> {
            serde_json::from_slice(&PADDING_TOLERANT_BASE64.decode(part).ok()?).ok()
        };
        let (Some(header_object), Some(claims_object)) = (object(header), object(claims)) else {
            return Err(invalid_grant("Invalid JWT: not JSON."));
        };
        if header_object["alg"] != "RS256" || header_object.get("kid").is_some_and(|kid| *kid != *self.key_id)
        {
            return Err(invalid_grant("Invalid JWT Signature."));
        }
        let signature =
            PADDING_TOLERANT_BASE64.decode(signature).map_err(|_| invalid_grant("Invalid JWT Signature."))?;
        let input = &assertion[..header.len() + 1 + claims.len()];
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref())
            .verify(input.as_bytes(), &signature)
            .map_err(|_| invalid_grant("Invalid JWT Signature."))?;
        self.check_claims(&claims_object)
    }

    fn check_claims(&self, claims: &Value) -> Result<(), (&'static str, &'static str)> {
        if claims["iss"] != *self.service_account_email() {
            return Err(("invalid_grant", "Invalid grant: account not found"));
        }
        if claims["aud"] != *self.token_uri && claims["aud"] != PUBLIC_AUDIENCE {
            return Err(("invalid_grant", "Invalid JWT: Failed audience check."));
        }
        let scope = claims["scope"].as_str().unwrap_or_default();
        if !scope.split(' ').any(|name| SCOPES.contains(&name)) {
            return Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
        }
        let now = i64::try_from(self.context.clock.now_s()).unwrap_or(i64::MAX);
        let (iat, exp) = (claims["iat"].as_i64().unwrap_or(i64::MAX), claims["exp"].as_i64().unwrap_or(0));
        if iat > now + MAX_CLOCK_SKEW_S || exp < now - MAX_CLOCK_SKEW_S || exp > iat.saturating_add(3600) {
            let text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
            return Err(("invalid_grant", text));
        }
        Ok(())
    }
}

/// Parses `application/x-www-form-urlencoded` as the URL standard defines it.
pub(crate) fn parse_form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (percent_decoded(key), percent_decoded(value)))
        .collect()
}

/// Decodes percent escapes, and `+` as a space.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                let hex = std::str::from_utf8(&digits).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.extend(hex);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
