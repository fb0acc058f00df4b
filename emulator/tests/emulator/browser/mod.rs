//! Google's side of real browsers, asked by a browser that was written for these tests: subscription, connection, queue.

mod autopush;
mod chromium;
mod device;
mod firebase;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pushgate_emulator::{Effect, Emulator, EndpointKind, EventKind, Fault};
use serde_json::json;

use crate::client::{Answer, Client, PATIENCE, emulator, tls};
use device::{APP, Connection, Profile, SUBTYPE, number_of};

/// An application server that pushes.
struct Sender(EcdsaKeyPair);

impl Sender {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    fn authorization(&self, emulator: &Emulator) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"aud": emulator.url(), "exp": now + 60, "sub": "mailto:ops@example.com"});
        let input = format!("{}.{}", part(json!({"typ": "JWT", "alg": "ES256"})), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("vapid t={input}.{}, k={}", URL_SAFE_NO_PAD.encode(signature), self.key())
    }
}

/// Everything a push needs to travel.
struct Stage {
    emulator: Emulator,
    client: Client,
    sender: Sender,
    profile: Profile,
    token: String,
}

impl Stage {
    async fn new() -> Self {
        let emulator = emulator().await;
        let client = Client::connect(&emulator).await;
        let (sender, profile) = (Sender::new(), Profile::new(&client).await);
        let token = profile.subscribe(&client, &sender.key()).await;
        Self { emulator, client, sender, profile, token }
    }

    async fn log_in(&self, received: &[&str]) -> Connection {
        self.profile.log_in(&self.emulator, received).await
    }

    async fn push(&self, path: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Answer {
        let authorization = self.sender.authorization(&self.emulator);
        let mut all = vec![("ttl", "60"), ("authorization", authorization.as_str())];
        if !body.is_empty() {
            all.push(("content-encoding", "aes128gcm"));
        }
        all.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        all.extend_from_slice(headers);
        self.client.ask(&format!("{path}{}", self.token), &all, body).await.unwrap()
    }

    async fn arrived(&self) {
        let arrived = |what: &EventKind| matches!(what, EventKind::Arrived { .. });
        self.emulator.browsers().wait_for(arrived, PATIENCE).await.expect("the acknowledgement is told");
    }
}

#[tokio::test]
async fn a_push_comes_down_the_connection_as_it_was_sent() {
    let stage = Stage::new().await;
    let mut connection = stage.log_in(&[]).await;
    for path in ["/fcm/send/", "/wp/"] {
        let answer = stage.push(path, &[("topic", "upd8")], b"sealed").await;
        assert_eq!((answer.status, answer.header("ttl")), (201, Some("60")), "{path}");
        let push = connection.push().await;
        assert_eq!((push.text(3), push.text(5)), (stage.sender.key(), APP.to_owned()));
        assert_eq!(push.data("subtype").as_deref(), Some(SUBTYPE));
        assert_eq!(push.data("content-encoding").as_deref(), Some("aes128gcm"));
        assert_eq!((push.raw().unwrap(), push.text(6)), (b"sealed".to_vec(), "upd8".to_owned()));
        assert!(push.wants_ack());
    }
    connection.acknowledge(3).await;
    stage.arrived().await;
}

#[tokio::test]
async fn the_switches_for_chromium_name_the_ports_and_the_key_of_the_certificate() {
    let emulator = emulator().await;
    let switches = emulator.chromium_switches();
    assert!(switches.contains(&format!("--gcm-mcs-endpoint={}", emulator.mcs_url())));
    assert!(switches.contains(&format!("--gcm-checkin-url={}/checkin", emulator.url())));
    let stream = tls(&emulator.url(), emulator.ca_pem(), &[]).await;
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let pin = switches.iter().find_map(|one| one.strip_prefix("--ignore-certificate-errors-spki-list="));
    let pinned = STANDARD.decode(pin.unwrap()).unwrap();
    // A P-256 key's info has 91 bytes wherever it stands in the certificate.
    let found = certificate.windows(91).any(|info| digest(&SHA256, info).as_ref() == pinned);
    assert!(found, "the pin is of the certificate's key");
}

#[tokio::test]
async fn a_push_without_data_has_no_body() {
    let stage = Stage::new().await;
    let mut connection = stage.log_in(&[]).await;
    assert_eq!(stage.push("/wp/", &[], b"").await.status, 201);
    let push = connection.push().await;
    assert_eq!((push.raw(), push.data("content-encoding")), (None, None));
}

#[tokio::test]
async fn a_closed_browser_gets_what_is_left_when_it_is_back() {
    let stage = Stage::new().await;
    assert_eq!(stage.push("/wp/", &[("ttl", "0")], b"now or never").await.status, 201);
    for (topic, body) in [("call", &b"rings"[..]), ("chat", b"hello"), ("call", b"missed")] {
        assert_eq!(stage.push("/wp/", &[("topic", topic)], body).await.status, 201);
    }
    stage.push("/wp/", &[("ttl", "5000")], b"long").await;
    stage.emulator.advance(std::time::Duration::from_secs(30));
    stage.push("/wp/", &[("ttl", "10")], b"short").await;
    stage.emulator.advance(std::time::Duration::from_secs(20));
    let mut connection = stage.log_in(&[]).await;
    for body in [&b"hello"[..], b"missed", b"long"] {
        assert_eq!(connection.push().await.raw().unwrap(), body);
    }
    stage.push("/wp/", &[], b"next").await;
    assert_eq!(connection.push().await.raw().unwrap(), b"next", "nothing else waited");
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_what_was_does_not() {
    let stage = Stage::new().await;
    let mut connection = stage.log_in(&[]).await;
    for body in [&b"one"[..], b"two", b"three", b"four"] {
        stage.push("/wp/", &[], body).await;
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(connection.push().await.persistent_id());
    }
    // The welcome was the first frame, so this is for the first two pushes.
    connection.acknowledge(3).await;
    stage.arrived().await;
    let mut again = stage.log_in(&[&ids[3]]).await;
    let push = again.push().await;
    assert_eq!((push.raw().unwrap(), push.persistent_id()), (b"three".to_vec(), ids[2].clone()));
    stage.push("/wp/", &[], b"five").await;
    assert_eq!(again.push().await.raw().unwrap(), b"five", "nothing else comes again");
    assert!(connection.read().await.is_none(), "a later login ends the earlier connection");
}

#[tokio::test]
async fn heartbeats_are_answered_and_good_bye_is_said() {
    let stage = Stage::new().await;
    let mut connection = stage.log_in(&[]).await;
    connection.write(0, Vec::new()).await;
    let (tag, fields) = connection.read().await.unwrap();
    assert_eq!((tag, number_of(&fields, 2)), (1, Some(2)), "the login and the ping have come in");
    assert_eq!(stage.emulator.browsers().close_connections(), 1);
    assert_eq!(connection.read().await.unwrap().0, 4);
    assert!(connection.read().await.is_none());
    let mut connection = stage.log_in(&[]).await;
    assert_eq!(stage.emulator.browsers().cut_connections(), 1);
    assert!(connection.read().await.is_none());
}

#[tokio::test]
async fn a_wrong_secret_neither_checks_in_nor_logs_in_nor_registers() {
    let stage = Stage::new().await;
    let thief = Profile { id: stage.profile.id, secret: stage.profile.secret ^ 2 };
    assert_eq!(Profile::of(&stage.client, thief.check_in()).await.err(), Some(401));
    let answer = thief.register3(&stage.client, "app=a&sender=b").await;
    assert_eq!(&answer.body[..], b"Error=AUTHENTICATION_FAILED");
    let mut connection = thief.connect(&stage.emulator, &[]).await;
    let (tag, fields) = connection.read().await.unwrap();
    assert_eq!((tag, device::bytes_of(&fields, 3).len()), (3, 1), "a login response with an error");
    assert!(connection.read().await.is_none());
}

#[tokio::test]
async fn a_profile_that_is_older_than_the_emulator_goes_on() {
    let stage = Stage::new().await;
    let old = Profile { id: 4_611_686_018_427_387_905, secret: 77 };
    let same = Profile::of(&stage.client, old.check_in()).await.unwrap();
    assert_eq!((same.id, same.secret), (old.id, old.secret));
    old.log_in(&stage.emulator, &["0:1%a"]).await;
}

#[tokio::test]
async fn an_ended_subscription_is_gone_and_a_new_one_has_another_token() {
    let stage = Stage::new().await;
    let again = stage.profile.subscribe(&stage.client, &stage.sender.key()).await;
    assert_eq!(again, stage.token, "the same registration has the same token");
    let form = format!("app={APP}&X-subtype={}&delete=true&sender=*&scope=*", SUBTYPE.replace('#', "%23"));
    let answer = stage.profile.register3(&stage.client, &form).await;
    assert!(answer.body.starts_with(b"token="));
    let answer = stage.push("/wp/", &[], b"late").await;
    assert_eq!(
        (answer.status, &answer.body[..]),
        (410, &b"push subscription has unsubscribed or expired.\n"[..])
    );
    assert_ne!(stage.profile.subscribe(&stage.client, &stage.sender.key()).await, stage.token);
}

#[tokio::test]
async fn another_application_server_cannot_push() {
    let mut stage = Stage::new().await;
    stage.sender = Sender::new();
    assert_eq!(stage.push("/wp/", &[], b"spam").await.status, 403);
}

#[tokio::test]
async fn registrations_fail_as_they_are_told_to() {
    let stage = Stage::new().await;
    let form = format!("app={APP}&X-subtype=other&sender=745476177629");
    let said = async || stage.profile.register3(&stage.client, &form).await.body;
    let fault = Effect::error(200, "PHONE_REGISTRATION_ERROR");
    stage.emulator.browsers().add_fault(Fault::next(1, fault).at(EndpointKind::Manage));
    assert_eq!(&said().await[..], b"Error=PHONE_REGISTRATION_ERROR");
    let token = said().await;
    assert!(token.starts_with(b"token=") && !token.ends_with(b"\n"));
    let answer = stage.profile.register3(&stage.client, "app=a").await;
    assert_eq!(&answer.body[..], b"Error=INVALID_SENDER");
    stage.emulator.browsers().add_fault(Fault::next(1, Effect::error(500, "")).at(EndpointKind::Token));
    assert_eq!(Profile::of(&stage.client, Vec::new()).await.err(), Some(500));
}
