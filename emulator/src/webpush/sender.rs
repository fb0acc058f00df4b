//! An application server for tests: a VAPID key and what it signs. Written for the emulator alone, from the RFCs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(crate) struct Sender {
    key: EcdsaKeyPair,
    pub(crate) public: Vec<u8>,
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Sender {
    pub(crate) fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = key.public_key().as_ref().to_vec();
        Self { key, public }
    }

    /// As `applicationServerKey` has it.
    pub(crate) fn application_server_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.public)
    }

    pub(crate) fn jwt(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub(crate) fn authorization(&self, claims: &Value) -> String {
        let token = self.jwt(&json!({"typ": "JWT", "alg": "ES256"}), claims);
        format!("vapid t={token}, k={}", self.application_server_key())
    }

    /// Good for this origin and the next hour.
    pub(crate) fn good_for(&self, origin: &str) -> String {
        self.authorization(&json!({"aud": origin, "exp": now() + 3600, "sub": "mailto:ops@example.com"}))
    }
}
