//! APNs: who may send. Provider tokens, their age and how often they change; certificates and what they are good for.

use std::time::Duration;

use pushgate_emulator::{ApnsRules, CredentialScope, Environment, EventKind, TokenComparison};
use serde_json::json;

use crate::apple::{App, now, provider_token, send_on, signed, signed_in_der, verdict};
use crate::client::Client;

fn said(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// A connection of its own: the first key on a connection owns it.
async fn fresh(app: &App) -> Client {
    Client::at(app.emulator.apns().url(), app.emulator.ca_pem(), None).await
}

#[tokio::test]
async fn a_provider_token_of_the_teams_key_may_send_whichever_form_its_signature_has() {
    let app = App::new().await;
    assert_eq!(app.verdict(&app.hello()).await, said(200, ""));
    let apns = app.emulator.apns();
    let (header, claims) =
        (json!({"alg": "ES256", "kid": apns.key().id}), json!({"iss": apns.team_id(), "iat": now()}));
    app.emulator.apns().set_rules(ApnsRules { mint_every_s: 0, ..ApnsRules::default() });
    let der = signed_in_der(apns.key(), &header, &claims);
    assert_eq!(
        app.verdict(&app.hello().header("authorization", &format!("bearer {der}"))).await,
        said(200, "")
    );
    assert_eq!(
        app.verdict(&app.hello().header("authorization", &format!("Bearer {der}"))).await,
        said(200, "")
    );
}

#[tokio::test]
async fn without_token_or_certificate_nothing_is_sent() {
    let app = App::new().await;
    assert_eq!(app.verdict(&app.hello().without("authorization")).await, said(403, "MissingProviderToken"));
    assert_eq!(app.seen(), 0);
}

#[tokio::test]
async fn a_token_that_is_not_right_in_every_part_is_invalid() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let (key, team) = (apns.key(), apns.team_id());
    let stranger = crate::client::emulator().await;
    let good = provider_token(key, team, now());
    let kid = json!({"alg": "ES256", "kid": key.id});
    let claims = json!({"iss": team, "iat": now()});
    let wrong = [
        String::new(),
        "a.b.c".to_owned(),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!("{}.{}", good.rsplit_once('.').unwrap().0, good.split('.').next().unwrap()),
        signed(key, &json!({"alg": "ES256"}), &claims),
        signed(key, &json!({"alg": "ES256", "kid": "ABC123DEFG"}), &claims),
        signed(key, &json!({"alg": "none", "kid": key.id}), &claims),
        signed(key, &kid, &json!({"iss": "DEF123GHIJ", "iat": now()})),
        signed(key, &kid, &json!({"iss": team})),
        signed(key, &kid, &json!({"iss": team, "iat": now().to_string()})),
        signed(key, &kid, &json!({"iss": team, "iat": now() + 600})),
        signed(stranger.apns().key(), &kid, &claims),
    ];
    for token in wrong {
        let push = app.hello().header("authorization", &format!("bearer {token}"));
        assert_eq!(app.verdict(&push).await, said(403, "InvalidProviderToken"), "{token}");
    }
    let basic = app.hello().header("authorization", &format!("basic {good}"));
    assert_eq!(app.verdict(&basic).await, said(403, "InvalidProviderToken"));
    assert_eq!(app.verdict(&app.hello()).await, said(200, ""));
}

#[tokio::test]
async fn a_token_older_than_an_hour_has_expired() {
    let app = App::new().await;
    app.emulator.advance(Duration::from_secs(3590));
    assert_eq!(app.verdict(&app.hello()).await, said(200, ""));
    app.emulator.advance(Duration::from_secs(10));
    assert_eq!(app.verdict(&app.hello()).await, said(403, "ExpiredProviderToken"));
}

#[tokio::test]
async fn a_new_token_within_twenty_minutes_is_one_too_many() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    assert_eq!(app.verdict(&app.hello()).await, said(200, ""));
    let next = |iat| {
        app.hello()
            .header("authorization", &format!("bearer {}", provider_token(apns.key(), apns.team_id(), iat)))
    };
    assert_eq!(app.verdict(&next(now() - 5)).await, said(429, "TooManyProviderTokenUpdates"));
    assert_eq!(app.verdict(&app.hello()).await, said(200, ""), "the one before is still good");
    app.emulator.advance(Duration::from_secs(1200));
    assert_eq!(app.verdict(&next(now() - 5)).await, said(200, ""));
}

#[tokio::test]
async fn a_refused_provider_token_comes_with_the_ways_out_and_they_work() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let next = |iat| {
        app.hello()
            .header("authorization", &format!("bearer {}", provider_token(apns.key(), apns.team_id(), iat)))
    };
    app.send(&app.hello()).await;
    let refused = app.send(&next(now() - 5)).await;
    assert_eq!(verdict(&refused), said(429, "TooManyProviderTokenUpdates"));
    let hint = refused.header("x-emulator-hint").unwrap().to_owned();
    assert!(hint.contains("mint_every_s") && hint.contains("forget_provider_tokens"), "{hint}");
    assert!(apns.events(0).iter().any(|event| event.kind == EventKind::Hint { text: hint.clone() }));
    apns.forget_provider_tokens();
    assert_eq!(app.verdict(&next(now() - 5)).await, said(200, ""));
    assert_eq!(app.verdict(&next(now() - 6)).await, said(429, "TooManyProviderTokenUpdates"));
    apns.set_rules(ApnsRules { mint_every_s: 0, ..ApnsRules::default() });
    assert_eq!(app.verdict(&next(now() - 6)).await, said(200, ""));
}

#[tokio::test]
async fn tokens_of_equal_claims_are_one_unless_the_rules_say_otherwise() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let iat = now() - 10;
    let again = || {
        app.hello()
            .header("authorization", &format!("bearer {}", provider_token(apns.key(), apns.team_id(), iat)))
    };
    assert_eq!(app.verdict(&again()).await, said(200, ""));
    assert_eq!(
        app.verdict(&again()).await,
        said(200, ""),
        "signed anew, it is another text of the same claims"
    );
    apns.set_rules(ApnsRules { same_token: TokenComparison::Text, ..ApnsRules::default() });
    assert_eq!(app.verdict(&again()).await, said(429, "TooManyProviderTokenUpdates"));
}

#[tokio::test]
async fn a_connection_belongs_to_the_first_key_that_used_it() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let other = apns.issue_key(CredentialScope::default()).unwrap();
    let push = app
        .hello()
        .header("authorization", &format!("bearer {}", provider_token(&other, apns.team_id(), now())));
    assert_eq!(app.verdict(&app.hello()).await, said(200, ""));
    assert_eq!(app.verdict(&push).await, said(403, "UnrelatedKeyIdInToken"));
    assert_eq!(verdict(&send_on(&fresh(&app).await, &push).await.unwrap()), said(200, ""));
}

#[tokio::test]
async fn a_key_can_be_bound_to_an_environment_and_to_topics() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let bound = |scope| {
        let key = apns.issue_key(scope).unwrap();
        app.hello()
            .header("authorization", &format!("bearer {}", provider_token(&key, apns.team_id(), now())))
    };
    let sandbox = bound(CredentialScope { environment: Some(Environment::Sandbox), topics: None });
    let verdicts = verdict(&send_on(&fresh(&app).await, &sandbox).await.unwrap());
    assert_eq!(verdicts, said(403, "BadEnvironmentKeyIdInToken"));
    let topics =
        bound(CredentialScope { environment: None, topics: Some(vec!["com.example.other".to_owned()]) });
    assert_eq!(verdict(&send_on(&fresh(&app).await, &topics).await.unwrap()), said(400, "TopicDisallowed"));
}

#[tokio::test]
async fn a_revoked_key_signs_nothing_any_more() {
    let app = App::new().await;
    assert!(app.emulator.apns().revoke_key(&app.emulator.apns().key().id));
    assert_eq!(app.verdict(&app.hello()).await, said(403, "InvalidProviderToken"));
}

#[tokio::test]
async fn a_certificate_sends_without_a_token_and_its_topic_is_the_default() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let client = Client::at(apns.url(), app.emulator.ca_pem(), Some(apns.certificate_pem())).await;
    client.knows_limit(1000).await;
    let push = app.hello().without("authorization");
    assert_eq!(verdict(&send_on(&client, &push).await.unwrap()), said(200, ""));
    assert_eq!(verdict(&send_on(&client, &push.without("apns-topic")).await.unwrap()), said(200, ""));
    let call = app.hello().without("authorization").kind("voip", ".voip").to(&app.phone.voip_token);
    assert_eq!(verdict(&send_on(&client, &call).await.unwrap()), said(200, ""));
}

#[tokio::test]
async fn a_certificate_for_another_app_is_refused_and_so_is_what_needs_a_token() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let foreign = apns.certificate_for("com.example.other").unwrap();
    let push = app.hello().without("authorization");
    let client = Client::at(apns.url(), app.emulator.ca_pem(), Some(&foreign)).await;
    assert_eq!(verdict(&send_on(&client, &push).await.unwrap()), said(400, "TopicDisallowed"));
    let default = push.clone().without("apns-topic");
    assert_eq!(verdict(&send_on(&client, &default).await.unwrap()), said(400, "DeviceTokenNotForTopic"));
    let client = Client::at(apns.url(), app.emulator.ca_pem(), Some(apns.certificate_pem())).await;
    let activity = push.kind("liveactivity", ".push-type.liveactivity").to(&app.phone.activity_token);
    assert_eq!(verdict(&send_on(&client, &activity).await.unwrap()), said(400, "TopicDisallowed"));
}

#[tokio::test]
async fn a_revoked_certificate_is_bad() {
    let app = App::new().await;
    let apns = app.emulator.apns();
    let client = Client::at(apns.url(), app.emulator.ca_pem(), Some(apns.certificate_pem())).await;
    apns.revoke_certificates();
    let push = app.hello().without("authorization");
    assert_eq!(verdict(&send_on(&client, &push).await.unwrap()), said(403, "BadCertificate"));
}
