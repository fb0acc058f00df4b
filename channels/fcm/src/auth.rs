//! The bearer: a signed assertion exchanged at the account's `token_uri` (RFC 7523), refreshed ahead, one flight for any
//! number of callers. Never retries by itself: a failure is the fault of whoever asked, and the next caller tries again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use parking_lot::Mutex;
use pushgate::{Clock, Fault, Kind, Request, Response, Timestamp, Transport};
use serde::Deserialize;

use crate::config::ServiceAccount;
use crate::decode::retry_after;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Refreshed so long before it ends; meanwhile the old one is used.
const AHEAD: Duration = Duration::from_secs(300);
/// After a failed exchange everybody gets its fault for so long, instead of asking the token endpoint again.
const PAUSE: Duration = Duration::from_secs(1);

/// A bearer, ready to be sent. Its header is marked sensitive.
#[derive(Clone)]
pub(crate) struct Bearer {
    pub(crate) header: HeaderValue,
    ends_at: Timestamp,
}

/// Gives out bearers.
pub(crate) struct Auth {
    account: ServiceAccount,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    current: Mutex<Option<Bearer>>,
    /// The flight: whoever holds it fetches; who waits for it finds the result. Dropped with its caller, so it cannot wedge.
    flight: tokio::sync::Mutex<Option<(Timestamp, Fault)>>,
}

impl Auth {
    pub(crate) fn new(
        account: ServiceAccount,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let (current, flight) = (Mutex::new(None), tokio::sync::Mutex::new(None));
        Self { account, transport, clock, timeout, current, flight }
    }

    pub(crate) fn project(&self) -> &str {
        &self.account.project
    }

    /// The bearer to send with.
    pub(crate) async fn bearer(&self) -> Result<Bearer, Fault> {
        if let Some(bearer) = self.good_for(AHEAD) {
            return Ok(bearer);
        }
        if let Some(bearer) = self.good_for(Duration::ZERO) {
            // Still good: the first to come renews it, the others go on.
            return match self.flight.try_lock() {
                Ok(mut last) => self.fetch(&mut last).await.or(Ok(bearer)),
                Err(_) => Ok(bearer),
            };
        }
        let mut last = self.flight.lock().await;
        match self.good_for(Duration::ZERO) {
            Some(bearer) => Ok(bearer),
            None => self.fetch(&mut last).await,
        }
    }

    /// Forgets a bearer that was refused, unless it has been replaced already.
    pub(crate) fn refused(&self, bearer: &Bearer) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|now| now.header == bearer.header) {
            *current = None;
        }
    }

    fn good_for(&self, more: Duration) -> Option<Bearer> {
        let until = self.clock.now() + more;
        self.current.lock().clone().filter(|bearer| bearer.ends_at > until)
    }

    async fn fetch(&self, last: &mut Option<(Timestamp, Fault)>) -> Result<Bearer, Fault> {
        let now = self.clock.now();
        if let Some((at, fault)) = last
            && now.since(*at) < PAUSE
        {
            return Err(fault.clone());
        }
        let result = self.exchange(now).await;
        match &result {
            Ok(bearer) => {
                *self.current.lock() = Some(bearer.clone());
                *last = None;
            }
            Err(fault) => *last = Some((self.clock.now(), fault.clone())),
        }
        result
    }

    async fn exchange(&self, now: Timestamp) -> Result<Bearer, Fault> {
        let assertion = self
            .assertion(now)
            .ok_or_else(|| Fault::new(Kind::Bug, "the assertion cannot be signed").of_lane())?;
        let body =
            format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        let mut request = Request::post(self.account.token_uri.clone(), body, self.timeout);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let response = self.transport.send(request).await.map_err(|error| Fault::from(error).of_lane())?;
        granted(&response, self.clock.now())
    }

    fn assertion(&self, now: Timestamp) -> Option<String> {
        let input = signing_input(&self.account, now);
        let mut signature = vec![0; self.account.key.public_modulus_len()];
        self.account
            .key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .ok()?;
        Some(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Header and claims of the assertion (RFC 7523 §3), in Google's order.
fn signing_input(account: &ServiceAccount, now: Timestamp) -> String {
    let header = match &account.key_id {
        Some(kid) => format!(r#"{{"alg":"RS256","typ":"JWT","kid":{}}}"#, serde_json::json!(kid)),
        None => r#"{"alg":"RS256","typ":"JWT"}"#.to_owned(),
    };
    let iat = now.as_secs();
    let claims = format!(
        r#"{{"iss":{},"scope":"{SCOPE}","aud":{},"iat":{iat},"exp":{}}}"#,
        serde_json::json!(account.email),
        serde_json::json!(account.token_uri.to_string()),
        iat + 3600
    );
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[derive(Deserialize, Default)]
struct Grant {
    access_token: Option<String>,
    expires_in: Option<u64>,
    error: Option<String>,
    error_description: Option<String>,
}

fn granted(response: &Response, now: Timestamp) -> Result<Bearer, Fault> {
    let grant: Grant = serde_json::from_slice(&response.body).unwrap_or_default();
    let status = response.status;
    if let (true, Some(token)) = (status.is_success(), grant.access_token) {
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Fault::new(Kind::VendorDown, "the token endpoint gave a token that is no header").of_lane()
        })?;
        header.set_sensitive(true);
        return Ok(Bearer { header, ends_at: now + Duration::from_secs(grant.expires_in.unwrap_or(3599)) });
    }
    let said = grant.error_description.as_deref().unwrap_or("no description");
    let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    let fault = match (status.as_u16(), grant.error.as_deref()) {
        (_, Some(error @ ("invalid_grant" | "invalid_client" | "invalid_scope"))) => Fault::new(
            Kind::Credentials,
            format!("the token endpoint refuses the service account: {said}. is the key revoked, or this machine's clock wrong?"),
        )
        .with_code(error),
        (429, _) => Fault::new(Kind::Throttled, "the token endpoint asks for a pause"),
        (500.., _) => Fault::new(Kind::VendorDown, format!("the token endpoint answers {status}")),
        (_, error) => {
            let fault = Fault::new(Kind::Credentials, format!("the token endpoint answers {status}: {said}"));
            error.map_or(fault.clone(), |error| fault.with_code(error))
        }
    };
    Err(fault.retry_after(retry_after(&response.headers, now)).of_lane())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    use base64::engine::general_purpose::STANDARD;
    use pushgate_kit::clock::ManualClock;
    use pushgate_kit::transport::{ScriptedTransport, answer};

    pub(crate) fn service_account() -> String {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        );
        serde_json::json!({"project_id": "demo", "client_email": "push@demo-project.iam.gserviceaccount.com",
            "private_key": pem, "token_uri": "https://oauth2.googleapis.com/token"})
        .to_string()
    }

    fn auth(transport: &Arc<ScriptedTransport>, clock: &Arc<ManualClock>) -> Arc<Auth> {
        let account = ServiceAccount::read(&service_account()).unwrap();
        Arc::new(Auth::new(account, transport.clone(), clock.clone(), Duration::from_secs(1)))
    }

    fn grant(token: &str) -> Response {
        answer(200, format!(r#"{{"access_token":"{token}","expires_in":3599,"token_type":"Bearer"}}"#))
    }

    #[test]
    fn the_assertion_matches_the_published_signing_input() {
        let account = ServiceAccount::read(&service_account()).unwrap();
        let expected = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJwdXNoQGRlbW8tcHJvamVjdC5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSIsInNjb3BlIjoiaHR0cHM6Ly93d3cuZ29vZ2xlYXBpcy5jb20vYXV0aC9maXJlYmFzZS5tZXNzYWdpbmciLCJhdWQiOiJodHRwczovL29hdXRoMi5nb29nbGVhcGlzLmNvbS90b2tlbiIsImlhdCI6MTcwMDAwMDAwMCwiZXhwIjoxNzAwMDAzNjAwfQ";
        assert_eq!(signing_input(&account, Timestamp::from_millis(1_700_000_000_000)), expected);
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
    async fn a_thousand_callers_share_one_fetch() {
        let (transport, clock) = (Arc::new(ScriptedTransport::new()), Arc::new(ManualClock::default()));
        transport.then(grant("one"));
        let auth = auth(&transport, &clock);
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let auth = auth.clone();
                tokio::spawn(async move { auth.bearer().await.map(|b| b.header) })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap(), "Bearer one");
        }
        assert_eq!(transport.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_refused_bearer_is_replaced_once_however_many_were_refused() {
        let (transport, clock) = (Arc::new(ScriptedTransport::new()), Arc::new(ManualClock::default()));
        transport.then(grant("one"));
        transport.then(grant("two"));
        let auth = auth(&transport, &clock);
        let old = auth.bearer().await.unwrap();
        for _ in 0..1000 {
            auth.refused(&old);
            assert_eq!(auth.bearer().await.unwrap().header, "Bearer two");
        }
        assert_eq!(transport.requests().len(), 2);
    }

    #[tokio::test]
    async fn a_refresh_that_fails_leaves_the_old_bearer_in_use_while_it_lasts() {
        let (transport, clock) = (Arc::new(ScriptedTransport::new()), Arc::new(ManualClock::default()));
        transport.then(grant("one"));
        transport.then(answer(503, "down"));
        transport
            .then(answer(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#));
        let auth = auth(&transport, &clock);
        auth.bearer().await.unwrap();
        clock.advance(Duration::from_secs(3400));
        assert_eq!(auth.bearer().await.unwrap().header, "Bearer one");
        clock.advance(Duration::from_secs(200));
        let fault = auth.bearer().await.err().unwrap();
        assert_eq!((fault.kind, fault.scope), (Kind::Credentials, pushgate::Scope::Lane));
        // Within the pause the fault is shared, not fetched again.
        assert!(auth.bearer().await.is_err());
        assert_eq!(transport.requests().len(), 3);
    }
}
