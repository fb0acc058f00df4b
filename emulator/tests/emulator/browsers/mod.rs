//! Services for real browsers, used by a browser that was written for these tests: registration, connection, queue.

mod autopush;
mod chromium;
mod firebase;
mod test_browser;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pushgate_emulator::{Effect, Emulator, EndpointKind, EventKind, Fault};
use serde_json::json;

use crate::fcm_client::{Client, Response, TIMEOUT, emulator, tls};
use test_browser::{APP, Connection, Profile, SUBTYPE, number_of};

/// Application server with its VAPID key.
struct AppServer(EcdsaKeyPair);

impl AppServer {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    fn authorization(&self, emulator: &Emulator) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let base64url = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"aud": emulator.url(), "exp": now + 60, "sub": "mailto:ops@example.com"});
        let input = format!("{}.{}", base64url(json!({"typ": "JWT", "alg": "ES256"})), base64url(claims));
        let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("vapid t={input}.{}, k={}", URL_SAFE_NO_PAD.encode(signature), self.key())
    }
}

/// Emulator, application server and a browser with a registration.
struct TestSetup {
    emulator: Emulator,
    client: Client,
    app_server: AppServer,
    profile: Profile,
    token: String,
}

impl TestSetup {
    async fn new() -> Self {
        let emulator = emulator().await;
        let client = Client::connect(&emulator).await;
        let (app_server, profile) = (AppServer::new(), Profile::new(&client).await);
        let token = profile.subscribe(&client, &app_server.key()).await;
        Self { emulator, client, app_server, profile, token }
    }

    async fn log_in(&self, received: &[&str]) -> Connection {
        self.profile.log_in(&self.emulator, received).await
    }

    async fn push(&self, path: &str, headers: &[(&str, &str)], body: &'static [u8]) -> Response {
        let authorization = self.app_server.authorization(&self.emulator);
        let mut all_headers = vec![("ttl", "60"), ("authorization", authorization.as_str())];
        if !body.is_empty() {
            all_headers.push(("content-encoding", "aes128gcm"));
        }
        all_headers.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        all_headers.extend_from_slice(headers);
        self.client.post(&format!("{path}{}", self.token), &all_headers, body).await.unwrap()
    }

    /// Waits until a browser has acknowledged a push.
    async fn wait_for_arrival(&self) {
        let arrived = |event: &EventKind| matches!(event, EventKind::Arrived { .. });
        self.emulator.browsers().wait_for(arrived, TIMEOUT).await.expect("the acknowledgement is recorded");
    }
}

#[tokio::test]
async fn a_push_is_delivered_unchanged_over_the_connection() {
    let setup = TestSetup::new().await;
    let mut connection = setup.log_in(&[]).await;
    for path in ["/fcm/send/", "/wp/"] {
        let response = setup.push(path, &[("topic", "upd8")], b"sealed").await;
        assert_eq!((response.status, response.header("ttl")), (201, Some("60")), "{path}");
        let push = connection.push().await;
        assert_eq!((push.text(3), push.text(5)), (setup.app_server.key(), APP.to_owned()));
        assert_eq!(push.data("subtype").as_deref(), Some(SUBTYPE));
        assert_eq!(push.data("content-encoding").as_deref(), Some("aes128gcm"));
        assert_eq!((push.raw().unwrap(), push.text(6)), (b"sealed".to_vec(), "upd8".to_owned()));
        assert!(push.requests_ack());
    }
    connection.acknowledge(3).await;
    setup.wait_for_arrival().await;
}

#[tokio::test]
async fn the_switches_for_chromium_name_the_ports_and_the_key_of_the_certificate() {
    let emulator = emulator().await;
    let switches = emulator.chromium_switches();
    assert!(switches.contains(&format!("--gcm-mcs-endpoint={}", emulator.mcs_url())));
    assert!(switches.contains(&format!("--gcm-checkin-url={}/checkin", emulator.url())));
    let stream = tls(&emulator.url(), emulator.ca_pem(), &[]).await;
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let pin =
        switches.iter().find_map(|switch| switch.strip_prefix("--ignore-certificate-errors-spki-list="));
    let pinned = STANDARD.decode(pin.unwrap()).unwrap();
    // The SubjectPublicKeyInfo of a P-256 key has 91 bytes. Its place in the certificate does not matter.
    let is_pinned = certificate.windows(91).any(|info| digest(&SHA256, info).as_ref() == pinned);
    assert!(is_pinned, "the pin belongs to the certificate's key");
}

#[tokio::test]
async fn a_push_without_data_has_no_body() {
    let setup = TestSetup::new().await;
    let mut connection = setup.log_in(&[]).await;
    assert_eq!(setup.push("/wp/", &[], b"").await.status, 201);
    let push = connection.push().await;
    assert_eq!((push.raw(), push.data("content-encoding")), (None, None));
}

#[tokio::test]
async fn a_browser_gets_its_remaining_pushes_at_the_next_login() {
    let setup = TestSetup::new().await;
    assert_eq!(setup.push("/wp/", &[("ttl", "0")], b"now or never").await.status, 201);
    for (topic, body) in [("call", &b"rings"[..]), ("chat", b"hello"), ("call", b"missed")] {
        assert_eq!(setup.push("/wp/", &[("topic", topic)], body).await.status, 201);
    }
    setup.push("/wp/", &[("ttl", "5000")], b"long").await;
    setup.emulator.advance(std::time::Duration::from_secs(30));
    setup.push("/wp/", &[("ttl", "10")], b"short").await;
    setup.emulator.advance(std::time::Duration::from_secs(20));
    let mut connection = setup.log_in(&[]).await;
    for body in [&b"hello"[..], b"missed", b"long"] {
        assert_eq!(connection.push().await.raw().unwrap(), body);
    }
    setup.push("/wp/", &[], b"next").await;
    assert_eq!(connection.push().await.raw().unwrap(), b"next", "nothing else was stored");
}

#[tokio::test]
async fn only_unacknowledged_pushes_are_delivered_again() {
    let setup = TestSetup::new().await;
    let mut connection = setup.log_in(&[]).await;
    for body in [&b"one"[..], b"two", b"three", b"four"] {
        setup.push("/wp/", &[], body).await;
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(connection.push().await.persistent_id());
    }
    // The login response was the first frame, so this acknowledges the first two pushes.
    connection.acknowledge(3).await;
    setup.wait_for_arrival().await;
    let mut second_connection = setup.log_in(&[&ids[3]]).await;
    let push = second_connection.push().await;
    assert_eq!((push.raw().unwrap(), push.persistent_id()), (b"three".to_vec(), ids[2].clone()));
    setup.push("/wp/", &[], b"five").await;
    assert_eq!(second_connection.push().await.raw().unwrap(), b"five", "nothing else is delivered again");
    assert!(connection.read().await.is_none(), "a later login ends the earlier connection");
}

#[tokio::test]
async fn heartbeats_are_acknowledged_and_connections_can_be_closed() {
    let setup = TestSetup::new().await;
    let mut connection = setup.log_in(&[]).await;
    connection.write(0, Vec::new()).await;
    let (tag, fields) = connection.read().await.unwrap();
    assert_eq!((tag, number_of(&fields, 2)), (1, Some(2)), "the login and the ping were received");
    assert_eq!(setup.emulator.browsers().close_connections(), 1);
    assert_eq!(connection.read().await.unwrap().0, 4);
    assert!(connection.read().await.is_none());
    let mut connection = setup.log_in(&[]).await;
    assert_eq!(setup.emulator.browsers().cut_connections(), 1);
    assert!(connection.read().await.is_none());
}

#[tokio::test]
async fn a_wrong_secret_is_refused_at_check_in_login_and_registration() {
    let setup = TestSetup::new().await;
    let wrong_profile = Profile { id: setup.profile.id, secret: setup.profile.secret ^ 2 };
    assert_eq!(Profile::check_in_with(&setup.client, wrong_profile.check_in_body()).await.err(), Some(401));
    let response = wrong_profile.register3(&setup.client, "app=a&sender=b").await;
    assert_eq!(&response.body[..], b"Error=AUTHENTICATION_FAILED");
    let mut connection = wrong_profile.connect(&setup.emulator, &[]).await;
    let (tag, fields) = connection.read().await.unwrap();
    assert_eq!((tag, test_browser::bytes_of(&fields, 3).len()), (3, 1), "a login response with an error");
    assert!(connection.read().await.is_none());
}

#[tokio::test]
async fn a_profile_older_than_the_emulator_keeps_working() {
    let setup = TestSetup::new().await;
    let old = Profile { id: 4_611_686_018_427_387_905, secret: 77 };
    let confirmed = Profile::check_in_with(&setup.client, old.check_in_body()).await.unwrap();
    assert_eq!((confirmed.id, confirmed.secret), (old.id, old.secret));
    old.log_in(&setup.emulator, &["0:1%a"]).await;
}

#[tokio::test]
async fn an_ended_subscription_is_refused_and_a_new_one_has_another_token() {
    let setup = TestSetup::new().await;
    let same_token = setup.profile.subscribe(&setup.client, &setup.app_server.key()).await;
    assert_eq!(same_token, setup.token, "the same registration has the same token");
    let form = format!("app={APP}&X-subtype={}&delete=true&sender=*&scope=*", SUBTYPE.replace('#', "%23"));
    let response = setup.profile.register3(&setup.client, &form).await;
    assert!(response.body.starts_with(b"token="));
    let response = setup.push("/wp/", &[], b"late").await;
    assert_eq!(
        (response.status, &response.body[..]),
        (410, &b"push subscription has unsubscribed or expired.\n"[..])
    );
    assert_ne!(setup.profile.subscribe(&setup.client, &setup.app_server.key()).await, setup.token);
}

#[tokio::test]
async fn another_application_server_cannot_push() {
    let mut setup = TestSetup::new().await;
    setup.app_server = AppServer::new();
    assert_eq!(setup.push("/wp/", &[], b"spam").await.status, 403);
}

#[tokio::test]
async fn faults_apply_to_registrations_and_check_ins() {
    let setup = TestSetup::new().await;
    let form = format!("app={APP}&X-subtype=other&sender=745476177629");
    let register = async || setup.profile.register3(&setup.client, &form).await.body;
    let fault = Effect::error(200, "PHONE_REGISTRATION_ERROR");
    setup.emulator.browsers().add_fault(Fault::next(1, fault).at(EndpointKind::Manage));
    assert_eq!(&register().await[..], b"Error=PHONE_REGISTRATION_ERROR");
    let token = register().await;
    assert!(token.starts_with(b"token=") && !token.ends_with(b"\n"));
    let response = setup.profile.register3(&setup.client, "app=a").await;
    assert_eq!(&response.body[..], b"Error=INVALID_SENDER");
    setup.emulator.browsers().add_fault(Fault::next(1, Effect::error(500, "")).at(EndpointKind::Token));
    assert_eq!(Profile::check_in_with(&setup.client, Vec::new()).await.err(), Some(500));
}
