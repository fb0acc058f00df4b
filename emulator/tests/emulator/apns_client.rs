//! Application server for the APNs tests: signs provider tokens or presents a certificate.

use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pushgate_emulator::{ApnsDevice, ApnsKey, Emulator, Environment};
use serde_json::{Value, json};

use crate::fcm_client::{Client, Response, emulator};

pub(crate) const TOPIC: &str = "com.example.demo";

/// Application server with a connection, a provider token, and the device `bob` to send to.
pub(crate) struct AppServer {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) device: ApnsDevice,
    pub(crate) token: String,
}

/// Push request. Tests change one part of it.
#[derive(Clone)]
pub(crate) struct Push {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Push {
    /// Adds a header, or replaces the one with this name.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(old, _)| old != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(old, _)| old != name);
        self
    }

    pub(crate) fn to(self, token: &str) -> Self {
        Self { path: format!("/3/device/{token}"), ..self }
    }

    pub(crate) fn with_body(self, body: impl ToString) -> Self {
        Self { body: body.to_string(), ..self }
    }

    pub(crate) fn with_push_type(self, push_type: &str, suffix: &str) -> Self {
        self.with_header("apns-push-type", push_type).with_header("apns-topic", &format!("{TOPIC}{suffix}"))
    }
}

impl AppServer {
    pub(crate) async fn new() -> Self {
        let emulator = emulator().await;
        let client = Client::connect_to(emulator.apns().url(), emulator.ca_pem(), None).await;
        let device = emulator.apns().add_device("bob", Environment::Production);
        let token = provider_token(emulator.apns().key(), emulator.apns().team_id(), now());
        Self { emulator, client, device, token }
    }

    /// Returns a valid alert for bob.
    pub(crate) fn valid_push(&self) -> Push {
        let headers = [
            ("authorization", format!("bearer {}", self.token)),
            ("apns-push-type", "alert".to_owned()),
            ("apns-topic", TOPIC.to_owned()),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = json!({"aps": {"alert": {"title": "Ann", "body": "hello"}}}).to_string();
        Push { path: String::new(), headers, body }.to(&self.device.token)
    }

    pub(crate) async fn send(&self, push: &Push) -> Response {
        send_on(&self.client, push).await.unwrap()
    }

    /// Returns status and reason of the response.
    pub(crate) async fn status_and_reason(&self, push: &Push) -> (u16, String) {
        status_and_reason(&self.send(push).await)
    }

    pub(crate) fn shown_count(&self) -> usize {
        self.emulator.apns().inbox("bob").unwrap().len()
    }
}

pub(crate) fn send_on(client: &Client, push: &Push) -> crate::fcm_client::PendingResponse {
    let headers: Vec<_> = push.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.post(&push.path, &headers, push.body.clone())
}

/// Returns status and reason of the response.
pub(crate) fn status_and_reason(response: &Response) -> (u16, String) {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    (response.status, body["reason"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn provider_token(key: &ApnsKey, team: &str, iat: u64) -> String {
    signed_token(key, &json!({"alg": "ES256", "kid": key.id}), &json!({"iss": team, "iat": iat}))
}

/// Returns a token with these parts, signed as RFC 7515 requires.
pub(crate) fn signed_token(key: &ApnsKey, header: &Value, claims: &Value) -> String {
    sign(&ECDSA_P256_SHA256_FIXED_SIGNING, key, header, claims)
}

/// Returns a token whose signature is in DER, as some clients send it.
pub(crate) fn der_signed_token(key: &ApnsKey, header: &Value, claims: &Value) -> String {
    sign(&ECDSA_P256_SHA256_ASN1_SIGNING, key, header, claims)
}

fn sign(algorithm: &'static EcdsaSigningAlgorithm, key: &ApnsKey, header: &Value, claims: &Value) -> String {
    let der: String = key.p8.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &STANDARD.decode(der).unwrap()).unwrap();
    let base64url = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", base64url(header), base64url(claims));
    let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
