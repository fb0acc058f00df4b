//! Google's token endpoint: exchanges a signed assertion for a bearer, and refuses anything else.

use serde_json::{Value, json};

use crate::fcm_client::{AppServer, Client, assertion, emulator, request_token};

#[tokio::test]
async fn a_signed_assertion_gives_a_bearer_that_works() {
    let app = AppServer::new().await;
    assert_eq!(app.send(&app.valid_message()).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_assertion_with_a_wrong_claim_is_refused() {
    let emulator = emulator().await;
    let client = Client::connect(&emulator).await;
    let now =
        std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let invalid = [
        (json!({"iss": "somebody@else.example"}), "invalid_grant"),
        (json!({"aud": "https://oauth2.example/token"}), "invalid_grant"),
        (json!({"iat": now - 7200, "exp": now - 3600}), "invalid_grant"),
        (json!({"iat": now + 600, "exp": now + 4000}), "invalid_grant"),
        (json!({"exp": now + 7200}), "invalid_grant"),
        (json!({"exp": null}), "invalid_grant"),
        (json!({"scope": "https://www.googleapis.com/auth/drive"}), "invalid_scope"),
    ];
    for (claims, error) in invalid {
        let response = request_token(&client, &assertion(&emulator, &claims)).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &Value::from(error)), "{claims}");
    }
}

#[tokio::test]
async fn an_assertion_that_is_changed_truncated_or_signed_by_another_key_is_refused() {
    let (emulator, other) = (emulator().await, emulator().await);
    let client = Client::connect(&emulator).await;
    let valid = assertion(&emulator, &json!({}));
    let (signed, signature) = valid.rsplit_once('.').unwrap();
    let foreign = assertion(&other, &json!({}));
    let foreign = format!("{signed}.{}", foreign.rsplit_once('.').unwrap().1);
    for invalid in [
        signed,
        &format!("{signed}."),
        &format!("{signed}.{}", signature.to_lowercase()),
        &foreign,
        "",
        "a.b.c",
    ] {
        let response = request_token(&client, invalid).await;
        assert_eq!((response.status, &response.json()["error"]), (400, &Value::from("invalid_grant")));
    }
    assert_eq!(request_token(&client, &valid).await.status, 200, "the valid assertion still works");
}

#[tokio::test]
async fn another_grant_type_has_its_own_error() {
    let emulator = emulator().await;
    let client = Client::connect(&emulator).await;
    let response = client.post("/token", &[], "grant_type=password").await.unwrap();
    assert_eq!((response.status, &response.json()["error"]), (400, &Value::from("unsupported_grant_type")));
}
