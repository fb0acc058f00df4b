//! Application server for tests: a VAPID key and the tokens that it signs. Written from the RFCs for the emulator
//! alone.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Application server with its VAPID key pair.
pub(crate) struct AppServer {
    key: EcdsaKeyPair,
    pub(crate) public: Vec<u8>,
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl AppServer {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = key.public_key().as_ref().to_vec();
        Self { key, public }
    }

    /// Returns the public key in the form of `applicationServerKey`.
    pub(crate) fn application_server_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public)
    }

    pub(crate) fn jwt(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn authorization_with_claims(&self, claims: &Value) -> String {
        let token = self.jwt(&json!({"typ": "JWT", "alg": "ES256"}), claims);
        format!("vapid t={token}, k={}", self.application_server_key())
    }

    /// Returns an `Authorization` header that is valid for this origin and the next hour.
    pub(crate) fn authorization_for(&self, origin: &str) -> String {
        self.authorization_with_claims(
            &json!({"aud": origin, "exp": now() + 3600, "sub": "mailto:ops@example.com"}),
        )
    }
}
