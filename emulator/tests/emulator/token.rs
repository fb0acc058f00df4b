//! Google's token endpoint: a bearer for a signed assertion, and for nothing else.

use serde_json::{Value, json};

use crate::client::{App, Client, assertion, emulator, token};

#[tokio::test]
async fn a_signed_assertion_gives_a_bearer_that_works() {
    let app = App::new().await;
    assert_eq!(app.send(&app.hello()).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_assertion_that_is_not_right_in_every_claim_gives_no_bearer() {
    let emulator = emulator().await;
    let client = Client::connect(&emulator).await;
    let now =
        std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let wrong = [
        (json!({"iss": "somebody@else.example"}), "invalid_grant"),
        (json!({"aud": "https://oauth2.example/token"}), "invalid_grant"),
        (json!({"iat": now - 7200, "exp": now - 3600}), "invalid_grant"),
        (json!({"iat": now + 600, "exp": now + 4000}), "invalid_grant"),
        (json!({"exp": now + 7200}), "invalid_grant"),
        (json!({"exp": null}), "invalid_grant"),
        (json!({"scope": "https://www.googleapis.com/auth/drive"}), "invalid_scope"),
    ];
    for (claims, error) in wrong {
        let answer = token(&client, &assertion(&emulator, &claims)).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &Value::from(error)), "{claims}");
    }
}

#[tokio::test]
async fn an_assertion_that_was_touched_cut_or_signed_by_another_key_gives_no_bearer() {
    let (emulator, other) = (emulator().await, emulator().await);
    let client = Client::connect(&emulator).await;
    let good = assertion(&emulator, &json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let foreign = assertion(&other, &json!({}));
    let foreign = format!("{signed}.{}", foreign.rsplit_once('.').unwrap().1);
    for bad in [
        signed,
        &format!("{signed}."),
        &format!("{signed}.{}", signature.to_lowercase()),
        &foreign,
        "",
        "a.b.c",
    ] {
        let answer = token(&client, bad).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &Value::from("invalid_grant")));
    }
    assert_eq!(token(&client, &good).await.status, 200, "the good one still works");
}

#[tokio::test]
async fn another_grant_type_is_named_as_what_is_wrong() {
    let emulator = emulator().await;
    let client = Client::connect(&emulator).await;
    let answer = client.ask("/token", &[], "grant_type=password").await.unwrap();
    assert_eq!((answer.status, &answer.json()["error"]), (400, &Value::from("unsupported_grant_type")));
}
