//! The life of an access token, told against a scripted token endpoint and a clock that stands still.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use pushgate::Scope;
use pushgate_kit::clock::ManualClock;
use pushgate_kit::transport::{ScriptedTransport, answer, answer_with};

use super::*;

/// A service account with a fresh key: no key is kept in the repository.
pub(crate) fn service_account() -> String {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        let pem = format!("{begin}\n{}\n{end}\n", STANDARD.encode(der.as_ref()));
        serde_json::json!({"type": "service_account", "project_id": "demo", "private_key": pem,
            "client_email": "push@demo-project.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token"})
        .to_string()
    });
    TEXT.clone()
}

/// A token endpoint and a clock to try the life of an access token with.
struct Stage {
    transport: Arc<ScriptedTransport>,
    clock: Arc<ManualClock>,
    auth: Arc<Auth>,
}

fn stage(grants: impl IntoIterator<Item = Response>) -> Stage {
    let (transport, clock) = (Arc::new(ScriptedTransport::new()), Arc::new(ManualClock::default()));
    grants.into_iter().for_each(|grant| transport.then(grant));
    let account = ServiceAccount::parse(&service_account()).unwrap();
    let auth = Arc::new(Auth::new(account, transport.clone(), clock.clone(), Duration::from_secs(7)));
    Stage { transport, clock, auth }
}

impl Stage {
    async fn access_token(&self) -> HeaderValue {
        self.auth.access_token().await.unwrap().header
    }

    async fn fault(&self) -> Fault {
        self.auth.access_token().await.unwrap_err()
    }

    fn fetches(&self) -> usize {
        self.transport.requests().len()
    }

    /// A thousand callers who all wait before the token endpoint answers the first of them.
    async fn thousand(&self) -> Vec<Result<AccessToken, Fault>> {
        self.transport.hold();
        let call = || {
            let auth = self.auth.clone();
            tokio::spawn(async move { auth.access_token().await })
        };
        let calls: Vec<_> = (0..1000).map(|_| call()).collect();
        self.transport.arrived(self.fetches() + 1).await;
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        self.transport.release();
        futures_util::future::join_all(calls).await.into_iter().map(Result::unwrap).collect()
    }
}

fn grant(token: &str) -> Response {
    answer(200, format!(r#"{{"access_token":"{token}","expires_in":3599,"token_type":"Bearer"}}"#))
}

fn denial(error: &str, description: &str) -> Response {
    answer(400, serde_json::json!({"error": error, "error_description": description}).to_string())
}

#[test]
fn the_assertion_matches_the_published_signing_input() {
    let mut account = ServiceAccount::parse(&service_account()).unwrap();
    let now = Timestamp::from_millis(1_700_000_000_000);
    let expected = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJwdXNoQGRlbW8tcHJvamVjdC5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSIsInNjb3BlIjoiaHR0cHM6Ly93d3cuZ29vZ2xlYXBpcy5jb20vYXV0aC9maXJlYmFzZS5tZXNzYWdpbmciLCJhdWQiOiJodHRwczovL29hdXRoMi5nb29nbGVhcGlzLmNvbS90b2tlbiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAzNjAwfQ";
    assert_eq!(signing_input(&account, now), expected);
    account.key_id = Some("k\"1".to_owned());
    let header = signing_input(&account, now);
    let header = URL_SAFE_NO_PAD.decode(header.split('.').next().unwrap()).unwrap();
    assert_eq!(header, br#"{"alg":"RS256","typ":"JWT","kid":"k\"1"}"#);
}

#[test]
fn rs256_is_that_of_rfc_7515_a_2() {
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let n = part(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    );
    let input = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = part(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    );
    let key = RsaPublicKeyComponents { n, e: vec![1, 0, 1] };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature).unwrap();
}

#[tokio::test]
async fn the_grant_is_a_form_with_an_assertion_the_accounts_key_has_signed() {
    let stage = stage([grant("one")]);
    stage.access_token().await;
    let request = &stage.transport.requests()[0];
    assert_eq!(request.uri, "https://oauth2.googleapis.com/token");
    assert_eq!(request.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
    let body = std::str::from_utf8(&request.body).unwrap();
    let jwt = body
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap();
    let (input, signature) = jwt.rsplit_once('.').unwrap();
    let public = stage.auth.account.key.public_key().as_ref().to_vec();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
        .verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
}

#[tokio::test]
async fn a_failed_flight_is_told_to_all_who_waited_and_the_next_call_tries_again() {
    let stage = stage([answer(503, "down"), grant("one")]);
    for fault in stage.thousand().await {
        assert_eq!(fault.unwrap_err().kind, Kind::VendorDown);
    }
    stage.fault().await;
    assert_eq!(stage.fetches(), 1);
    stage.clock.advance(FAILURE_PAUSE);
    assert_eq!(stage.access_token().await, "Bearer one");
}

#[tokio::test]
async fn a_refused_access_token_is_replaced_once_however_many_were_refused() {
    let stage = stage([grant("one"), grant("two")]);
    let old = stage.auth.access_token().await.unwrap();
    for _ in 0..1000 {
        stage.auth.discard(&old);
        assert_eq!(stage.access_token().await, "Bearer two");
    }
    assert_eq!(stage.fetches(), 2);
}

#[tokio::test]
async fn the_old_access_token_is_used_while_a_refresh_is_under_way() {
    let stage = stage([grant("one"), grant("two")]);
    stage.access_token().await;
    stage.clock.advance(Duration::from_secs(3599 - 300));
    stage.transport.hold();
    let mut refresh = Box::pin(stage.auth.access_token());
    assert!((&mut refresh).now_or_never().is_none());
    assert_eq!(stage.access_token().await, "Bearer one");
    stage.transport.release();
    assert_eq!(refresh.await.unwrap().header, "Bearer two");
    assert_eq!(stage.access_token().await, "Bearer two");
    assert_eq!(stage.fetches(), 2);
}

#[tokio::test]
async fn a_access_token_is_not_refreshed_before_its_time() {
    let stage = stage([grant("one")]);
    stage.access_token().await;
    stage.clock.advance(Duration::from_secs(3599 - 301));
    stage.access_token().await;
    assert_eq!(stage.fetches(), 1);
}

#[tokio::test]
async fn a_short_lived_access_token_is_used_for_half_its_life() {
    let short = |token| answer(200, format!(r#"{{"access_token":"{token}","expires_in":"60"}}"#));
    let stage = stage([short("one"), short("two")]);
    stage.access_token().await;
    stage.clock.advance(Duration::from_secs(29));
    assert_eq!(stage.access_token().await, "Bearer one");
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.access_token().await, "Bearer two");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_old_access_token_in_use_while_it_lasts() {
    let stage = stage([grant("one"), answer(503, "down"), denial("invalid_grant", "Invalid JWT Signature.")]);
    stage.access_token().await;
    stage.clock.advance(Duration::from_secs(3400));
    assert_eq!(stage.access_token().await, "Bearer one");
    // Within the pause nobody asks again.
    assert_eq!(stage.access_token().await, "Bearer one");
    assert_eq!(stage.fetches(), 2);
    stage.clock.advance(Duration::from_secs(200));
    assert_eq!(stage.fault().await.kind, Kind::Credentials);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_flight_to_the_next() {
    let stage = stage([grant("one")]);
    stage.transport.hold();
    let mut gone = Box::pin(stage.auth.access_token());
    let mut waiting = Box::pin(stage.auth.access_token());
    assert!((&mut gone).now_or_never().is_none());
    assert!((&mut waiting).now_or_never().is_none());
    drop(gone);
    stage.transport.release();
    assert_eq!(waiting.await.unwrap().header, "Bearer one");
}

#[tokio::test]
async fn the_pause_the_token_endpoint_asks_for_is_kept() {
    let stage = stage([answer_with(429, &[("retry-after", "30")], ""), grant("one")]);
    let fault = stage.fault().await;
    assert_eq!((fault.kind, fault.scope), (Kind::Throttled, Scope::Lane));
    assert_eq!(fault.retry_after, Some(Duration::from_secs(30)));
    stage.clock.advance(Duration::from_secs(29));
    stage.fault().await;
    assert_eq!(stage.fetches(), 1);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.access_token().await, "Bearer one");
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_the_pause() {
    let stage = stage([answer(503, "down"), grant("one")]);
    stage.fault().await;
    stage.clock.set(stage.clock.now() - Duration::from_secs(3600));
    assert_eq!(stage.access_token().await, "Bearer one");
}

#[tokio::test]
async fn a_refused_account_comes_with_advice() {
    let advice = async |answer: Response| stage([answer]).fault().await;
    for error in ["invalid_grant", "invalid_client", "invalid_scope"] {
        let fault = advice(denial(error, "Because.")).await;
        assert_eq!(
            (fault.kind, fault.scope, fault.vendor_code.as_deref()),
            (Kind::Credentials, Scope::Lane, Some(error))
        );
        assert!(fault.detail.contains("Because."), "{fault}");
    }
    let iat = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
    assert!(advice(denial("invalid_grant", iat)).await.detail.contains("is this machine's clock right?"));
    assert!(
        advice(denial("invalid_grant", "Invalid JWT Signature."))
            .await
            .detail
            .contains("the key was revoked")
    );
    let account = "Invalid grant: account not found";
    assert!(advice(denial("invalid_grant", account)).await.detail.contains("was deleted"));
    let late =
        answer_with(400, &[("date", "Tue, 14 Nov 2023 22:23:20 GMT")], denial("invalid_grant", iat).body);
    assert!(advice(late).await.detail.contains("clock is 600 s behind Google's"));
}

#[tokio::test]
async fn whatever_the_token_endpoint_answers_is_a_fault_of_the_lane_and_repeats_no_assertion() {
    let host = || "oauth2.googleapis.com".to_owned();
    let why = || "why".to_owned();
    for (error, kind) in [
        (TransportError::Unreachable { host: host(), why: why() }, Kind::Unreachable),
        (TransportError::Refused { host: host(), why: why() }, Kind::Credentials),
        (TransportError::Timeout { host: host(), after: FAILURE_PAUSE }, Kind::VendorDown),
        (TransportError::Broken { host: host(), why: why() }, Kind::VendorDown),
    ] {
        let stage = stage([]);
        stage.transport.then(error);
        let fault = stage.fault().await;
        assert_eq!((fault.kind, fault.scope), (kind, Scope::Lane));
    }
    for (answer, kind) in [
        (answer(404, "<html>"), Kind::Credentials),
        (answer(302, ""), Kind::VendorDown),
        (answer(500, ""), Kind::VendorDown),
        (denial("internal_failure", ""), Kind::VendorDown),
        (answer(200, "<html>"), Kind::VendorDown),
        (answer(200, r#"{"access_token":7}"#), Kind::VendorDown),
        (answer(200, r#"{"access_token":"a\nb"}"#), Kind::VendorDown),
        (answer(400, r#"{"error":{"code":400},"error_description":[]}"#), Kind::Credentials),
    ] {
        let fault = stage([answer]).fault().await;
        assert_eq!((fault.kind, fault.scope), (kind, Scope::Lane), "{fault}");
    }
    let echo = ScriptedTransport::new().rule(|request| {
        let body = std::str::from_utf8(&request.body).unwrap();
        let assertion = body.split("assertion=").nth(1).unwrap();
        Some(Ok(denial(assertion, &format!("bad assertion {assertion}"))))
    });
    let account = ServiceAccount::parse(&service_account()).unwrap();
    let auth = Auth::new(account, Arc::new(echo), Arc::new(ManualClock::default()), FAILURE_PAUSE);
    let fault = auth.access_token().await.unwrap_err();
    assert!(!fault.to_string().contains("eyJ"), "{fault}");
}

#[tokio::test]
async fn debug_shows_no_access_token() {
    let shown = format!("{:?}", stage([grant("s3cret")]).auth.access_token().await.unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
}
