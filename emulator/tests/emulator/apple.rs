//! What the APNs tests ask with: an app's server that signs provider tokens or shows a certificate.

use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pushgate_emulator::{ApnsDevice, ApnsKey, Emulator, Environment};
use serde_json::{Value, json};

use crate::client::{Answer, Client, emulator};

pub(crate) const TOPIC: &str = "com.example.demo";

/// An app's server with a phone to send to.
pub(crate) struct App {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) phone: ApnsDevice,
    pub(crate) token: String,
}

/// A push to be spoilt in one point.
#[derive(Clone)]
pub(crate) struct Push {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Push {
    /// With a header in place of what it had.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
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

    pub(crate) fn body(self, body: impl ToString) -> Self {
        Self { body: body.to_string(), ..self }
    }

    pub(crate) fn kind(self, kind: &str, suffix: &str) -> Self {
        self.header("apns-push-type", kind).header("apns-topic", &format!("{TOPIC}{suffix}"))
    }
}

impl App {
    pub(crate) async fn new() -> Self {
        let emulator = emulator().await;
        let client = Client::at(emulator.apns().url(), emulator.ca_pem(), None).await;
        let phone = emulator.apns().add_device("bob", Environment::Production);
        let token = provider_token(emulator.apns().key(), emulator.apns().team_id(), now());
        Self { emulator, client, phone, token }
    }

    /// An alert for bob that is right in every point.
    pub(crate) fn hello(&self) -> Push {
        let headers = [
            ("authorization", format!("bearer {}", self.token)),
            ("apns-push-type", "alert".to_owned()),
            ("apns-topic", TOPIC.to_owned()),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let body = json!({"aps": {"alert": {"title": "Ann", "body": "hello"}}}).to_string();
        Push { path: String::new(), headers, body }.to(&self.phone.token)
    }

    pub(crate) async fn send(&self, push: &Push) -> Answer {
        send_on(&self.client, push).await.unwrap()
    }

    /// Status and reason.
    pub(crate) async fn verdict(&self, push: &Push) -> (u16, String) {
        verdict(&self.send(push).await)
    }

    pub(crate) fn seen(&self) -> usize {
        self.emulator.apns().inbox("bob").unwrap().len()
    }
}

pub(crate) fn send_on(client: &Client, push: &Push) -> crate::client::Asked {
    let headers: Vec<_> = push.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.ask(&push.path, &headers, push.body.clone())
}

/// Status and reason.
pub(crate) fn verdict(answer: &Answer) -> (u16, String) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, body["reason"].as_str().unwrap_or_default().to_owned())
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn provider_token(key: &ApnsKey, team: &str, iat: u64) -> String {
    signed(key, &json!({"alg": "ES256", "kid": key.id}), &json!({"iss": team, "iat": iat}))
}

/// Any header and claims, signed as RFC 7515 says.
pub(crate) fn signed(key: &ApnsKey, header: &Value, claims: &Value) -> String {
    signed_as(&ECDSA_P256_SHA256_FIXED_SIGNING, key, header, claims)
}

/// The same with a signature in DER, as some clients send it.
pub(crate) fn signed_in_der(key: &ApnsKey, header: &Value, claims: &Value) -> String {
    signed_as(&ECDSA_P256_SHA256_ASN1_SIGNING, key, header, claims)
}

fn signed_as(
    algorithm: &'static EcdsaSigningAlgorithm,
    key: &ApnsKey,
    header: &Value,
    claims: &Value,
) -> String {
    let der: String = key.p8.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &STANDARD.decode(der).unwrap()).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(header), part(claims));
    let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
