//! Google's token endpoint: a signed assertion against a bearer (RFC 7523).

use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde_json::{Value, json};

use super::{Vendor, answer};
use crate::wire::Reply;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPES: [&str; 2] =
    ["https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"];
/// The audience of the public endpoint, which some clients say whatever their service account's `token_uri` is.
const PUBLIC_AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// Google takes a JWT whose parts are padded, against RFC 7515 §2; clients in use pad.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// How far a caller's clock may be off, in seconds.
const SKEW: i64 = 60;

impl Vendor {
    pub(super) fn token(&self, body: &[u8]) -> Reply {
        let form = form(body);
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if field("grant_type") != Some(GRANT) {
            return answer::oauth(400, "unsupported_grant_type", "Invalid grant_type: ");
        }
        let Some(assertion) = field("assertion") else {
            return answer::oauth(400, "invalid_request", "Missing required parameter: assertion");
        };
        if let Err((error, description)) = self.verify(assertion) {
            return answer::oauth(400, error, description);
        }
        let bearer = format!("ya29.{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 48]>()));
        let life = self.bearers.give(&bearer, self.rig.clock.now());
        answer::ok(&json!({"access_token": bearer, "expires_in": life, "token_type": "Bearer"}))
    }

    fn verify(&self, assertion: &str) -> Result<(), (&'static str, &'static str)> {
        let wrong = |description| ("invalid_grant", description);
        let mut parts = assertion.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("Invalid JWT: Failed audience check."));
        };
        let object =
            |part: &str| -> Option<Value> { serde_json::from_slice(&LENIENT.decode(part).ok()?).ok() };
        let (Some(head), Some(said)) = (object(header), object(claims)) else {
            return Err(wrong("Invalid JWT: not JSON."));
        };
        if head["alg"] != "RS256" || head.get("kid").is_some_and(|kid| *kid != *self.key_id) {
            return Err(wrong("Invalid JWT Signature."));
        }
        let signature = LENIENT.decode(signature).map_err(|_| wrong("Invalid JWT Signature."))?;
        let input = &assertion[..header.len() + 1 + claims.len()];
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key().as_ref())
            .verify(input.as_bytes(), &signature)
            .map_err(|_| wrong("Invalid JWT Signature."))?;
        self.claims(&said)
    }

    fn claims(&self, said: &Value) -> Result<(), (&'static str, &'static str)> {
        if said["iss"] != *self.email() {
            return Err(("invalid_grant", "Invalid grant: account not found"));
        }
        if said["aud"] != *self.token_uri && said["aud"] != PUBLIC_AUDIENCE {
            return Err(("invalid_grant", "Invalid JWT: Failed audience check."));
        }
        let scope = said["scope"].as_str().unwrap_or_default();
        if !scope.split(' ').any(|one| SCOPES.contains(&one)) {
            return Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
        }
        let now = i64::try_from(self.rig.clock.now_s()).unwrap_or(i64::MAX);
        let (iat, exp) = (said["iat"].as_i64().unwrap_or(i64::MAX), said["exp"].as_i64().unwrap_or(0));
        if iat > now + SKEW || exp < now - SKEW || exp > iat.saturating_add(3600) {
            let text = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
            return Err(("invalid_grant", text));
        }
        Ok(())
    }
}

/// `application/x-www-form-urlencoded`, as the URL standard reads it.
pub(crate) fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

pub(super) fn decoded(text: &str) -> String {
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
