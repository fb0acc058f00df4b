//! APNs authentication: provider tokens, their age and the interval between new ones, and certificates and their scope.

use std::time::Duration;

use pushgate_emulator::{AppleRules, CredentialScope, Environment, EventKind, TokenComparison};
use serde_json::json;

use crate::apns_client::{
    AppServer, der_signed_token, now, provider_token, send_on, signed_token, status_and_reason,
};
use crate::fcm_client::Client;

fn expected(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// Opens another connection, because a connection is bound to the first key that it is used with.
async fn new_connection(app: &AppServer) -> Client {
    Client::connect_to(app.emulator.apns().url(), app.emulator.ca_pem(), None).await
}

#[tokio::test]
async fn a_provider_token_is_accepted_with_either_signature_format() {
    let app = AppServer::new().await;
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(200, ""));
    let apns = app.emulator.apns();
    let (header, claims) =
        (json!({"alg": "ES256", "kid": apns.key().id}), json!({"iss": apns.team_id(), "iat": now()}));
    app.emulator.apns().set_rules(AppleRules { mint_every_s: 0, ..AppleRules::default() });
    let der = der_signed_token(apns.key(), &header, &claims);
    assert_eq!(
        app.status_and_reason(&app.valid_push().with_header("authorization", &format!("bearer {der}"))).await,
        expected(200, "")
    );
    assert_eq!(
        app.status_and_reason(&app.valid_push().with_header("authorization", &format!("Bearer {der}"))).await,
        expected(200, "")
    );
}

#[tokio::test]
async fn a_push_without_token_or_certificate_is_refused() {
    let app = AppServer::new().await;
    assert_eq!(
        app.status_and_reason(&app.valid_push().without("authorization")).await,
        expected(403, "MissingProviderToken")
    );
    assert_eq!(app.shown_count(), 0);
}

#[tokio::test]
async fn a_token_with_any_wrong_part_is_invalid() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let (key, team) = (apns.key(), apns.team_id());
    let other_emulator = crate::fcm_client::emulator().await;
    let valid = provider_token(key, team, now());
    let kid = json!({"alg": "ES256", "kid": key.id});
    let claims = json!({"iss": team, "iat": now()});
    let invalid = [
        String::new(),
        "a.b.c".to_owned(),
        valid.rsplit_once('.').unwrap().0.to_owned(),
        format!("{}.{}", valid.rsplit_once('.').unwrap().0, valid.split('.').next().unwrap()),
        signed_token(key, &json!({"alg": "ES256"}), &claims),
        signed_token(key, &json!({"alg": "ES256", "kid": "ABC123DEFG"}), &claims),
        signed_token(key, &json!({"alg": "none", "kid": key.id}), &claims),
        signed_token(key, &kid, &json!({"iss": "DEF123GHIJ", "iat": now()})),
        signed_token(key, &kid, &json!({"iss": team})),
        signed_token(key, &kid, &json!({"iss": team, "iat": now().to_string()})),
        signed_token(key, &kid, &json!({"iss": team, "iat": now() + 600})),
        signed_token(other_emulator.apns().key(), &kid, &claims),
    ];
    for token in invalid {
        let push = app.valid_push().with_header("authorization", &format!("bearer {token}"));
        assert_eq!(app.status_and_reason(&push).await, expected(403, "InvalidProviderToken"), "{token}");
    }
    let basic = app.valid_push().with_header("authorization", &format!("basic {valid}"));
    assert_eq!(app.status_and_reason(&basic).await, expected(403, "InvalidProviderToken"));
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(200, ""));
}

#[tokio::test]
async fn a_token_older_than_an_hour_has_expired() {
    let app = AppServer::new().await;
    app.emulator.advance(Duration::from_secs(3590));
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(200, ""));
    app.emulator.advance(Duration::from_secs(10));
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(403, "ExpiredProviderToken"));
}

#[tokio::test]
async fn a_new_token_within_twenty_minutes_is_refused() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(200, ""));
    let push_with_iat = |iat| {
        app.valid_push().with_header(
            "authorization",
            &format!("bearer {}", provider_token(apns.key(), apns.team_id(), iat)),
        )
    };
    assert_eq!(
        app.status_and_reason(&push_with_iat(now() - 5)).await,
        expected(429, "TooManyProviderTokenUpdates")
    );
    assert_eq!(
        app.status_and_reason(&app.valid_push()).await,
        expected(200, ""),
        "the previous token is still valid"
    );
    app.emulator.advance(Duration::from_secs(1200));
    assert_eq!(app.status_and_reason(&push_with_iat(now() - 5)).await, expected(200, ""));
}

#[tokio::test]
async fn a_refused_provider_token_comes_with_remedies_that_work() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let push_with_iat = |iat| {
        app.valid_push().with_header(
            "authorization",
            &format!("bearer {}", provider_token(apns.key(), apns.team_id(), iat)),
        )
    };
    app.send(&app.valid_push()).await;
    let refused = app.send(&push_with_iat(now() - 5)).await;
    assert_eq!(status_and_reason(&refused), expected(429, "TooManyProviderTokenUpdates"));
    let hint = refused.header("x-emulator-hint").unwrap().to_owned();
    assert!(hint.contains("mint_every_s") && hint.contains("forget_provider_tokens"), "{hint}");
    assert!(apns.events(0).iter().any(|event| event.kind == EventKind::Hint { text: hint.clone() }));
    apns.forget_provider_tokens();
    assert_eq!(app.status_and_reason(&push_with_iat(now() - 5)).await, expected(200, ""));
    assert_eq!(
        app.status_and_reason(&push_with_iat(now() - 6)).await,
        expected(429, "TooManyProviderTokenUpdates")
    );
    apns.set_rules(AppleRules { mint_every_s: 0, ..AppleRules::default() });
    assert_eq!(app.status_and_reason(&push_with_iat(now() - 6)).await, expected(200, ""));
}

#[tokio::test]
async fn tokens_with_equal_claims_count_as_one_unless_the_rules_compare_bytes() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let iat = now() - 10;
    let push_with_same_claims = || {
        app.valid_push().with_header(
            "authorization",
            &format!("bearer {}", provider_token(apns.key(), apns.team_id(), iat)),
        )
    };
    assert_eq!(app.status_and_reason(&push_with_same_claims()).await, expected(200, ""));
    assert_eq!(
        app.status_and_reason(&push_with_same_claims()).await,
        expected(200, ""),
        "another signature makes another text of the same claims"
    );
    apns.set_rules(AppleRules { same_token: TokenComparison::Text, ..AppleRules::default() });
    assert_eq!(
        app.status_and_reason(&push_with_same_claims()).await,
        expected(429, "TooManyProviderTokenUpdates")
    );
}

#[tokio::test]
async fn a_connection_is_bound_to_the_first_key_that_used_it() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let other = apns.issue_key(CredentialScope::default()).unwrap();
    let push = app
        .valid_push()
        .with_header("authorization", &format!("bearer {}", provider_token(&other, apns.team_id(), now())));
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(200, ""));
    assert_eq!(app.status_and_reason(&push).await, expected(403, "UnrelatedKeyIdInToken"));
    assert_eq!(
        status_and_reason(&send_on(&new_connection(&app).await, &push).await.unwrap()),
        expected(200, "")
    );
}

#[tokio::test]
async fn a_key_can_be_restricted_to_an_environment_and_to_topics() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let push_with_scope = |scope| {
        let key = apns.issue_key(scope).unwrap();
        app.valid_push()
            .with_header("authorization", &format!("bearer {}", provider_token(&key, apns.team_id(), now())))
    };
    let sandbox = push_with_scope(CredentialScope { environment: Some(Environment::Sandbox), topics: None });
    let result = status_and_reason(&send_on(&new_connection(&app).await, &sandbox).await.unwrap());
    assert_eq!(result, expected(403, "BadEnvironmentKeyIdInToken"));
    let topics = push_with_scope(CredentialScope {
        environment: None,
        topics: Some(vec!["com.example.other".to_owned()]),
    });
    assert_eq!(
        status_and_reason(&send_on(&new_connection(&app).await, &topics).await.unwrap()),
        expected(400, "TopicDisallowed")
    );
}

#[tokio::test]
async fn a_token_of_a_revoked_key_is_refused() {
    let app = AppServer::new().await;
    assert!(app.emulator.apns().revoke_key(&app.emulator.apns().key().id));
    assert_eq!(app.status_and_reason(&app.valid_push()).await, expected(403, "InvalidProviderToken"));
}

#[tokio::test]
async fn a_certificate_sends_without_a_token_and_its_topic_is_the_default() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let client = Client::connect_to(apns.url(), app.emulator.ca_pem(), Some(apns.certificate_pem())).await;
    client.wait_for_stream_limit(1000).await;
    let push = app.valid_push().without("authorization");
    assert_eq!(status_and_reason(&send_on(&client, &push).await.unwrap()), expected(200, ""));
    assert_eq!(
        status_and_reason(&send_on(&client, &push.without("apns-topic")).await.unwrap()),
        expected(200, "")
    );
    let call =
        app.valid_push().without("authorization").with_push_type("voip", ".voip").to(&app.device.voip_token);
    assert_eq!(status_and_reason(&send_on(&client, &call).await.unwrap()), expected(200, ""));
}

#[tokio::test]
async fn a_certificate_of_another_app_and_push_types_that_need_a_token_are_refused() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let foreign = apns.certificate_for("com.example.other").unwrap();
    let push = app.valid_push().without("authorization");
    let client = Client::connect_to(apns.url(), app.emulator.ca_pem(), Some(&foreign)).await;
    assert_eq!(status_and_reason(&send_on(&client, &push).await.unwrap()), expected(400, "TopicDisallowed"));
    let default = push.clone().without("apns-topic");
    assert_eq!(
        status_and_reason(&send_on(&client, &default).await.unwrap()),
        expected(400, "DeviceTokenNotForTopic")
    );
    let client = Client::connect_to(apns.url(), app.emulator.ca_pem(), Some(apns.certificate_pem())).await;
    let activity =
        push.with_push_type("liveactivity", ".push-type.liveactivity").to(&app.device.activity_token);
    assert_eq!(
        status_and_reason(&send_on(&client, &activity).await.unwrap()),
        expected(400, "TopicDisallowed")
    );
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let app = AppServer::new().await;
    let apns = app.emulator.apns();
    let client = Client::connect_to(apns.url(), app.emulator.ca_pem(), Some(apns.certificate_pem())).await;
    apns.revoke_certificates();
    let push = app.valid_push().without("authorization");
    assert_eq!(status_and_reason(&send_on(&client, &push).await.unwrap()), expected(403, "BadCertificate"));
}
