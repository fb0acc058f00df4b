//! Firebase Installations: gives the SDK of every page an id, and tokens that prove it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::firebase::{self, error};
use super::random_id;
use crate::wire::HttpResponse;

/// Lifetime of a token, in seconds.
const TOKEN_LIFETIME_S: u64 = 604_800;

/// Installations of the project.
#[derive(Default)]
pub(super) struct Installations(Mutex<HashMap<String, Installation>>);

struct Installation {
    app: String,
    refresh_token: String,
    tokens: Vec<String>,
}

impl Installation {
    /// Issues a token in the form of a JWT, because the SDK reads the id inside.
    fn issue_token(&mut self, fid: &str, now_ms: u64) -> Value {
        let project = self.app.split(':').nth(1).unwrap_or_default();
        let claims = json!({"appId": self.app, "exp": now_ms / 1000 + TOKEN_LIFETIME_S, "fid": fid, "projectNumber": project});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT"});
        let token = format!("{}.{}.{}", part(&header), part(&claims), random_id::<64>());
        self.tokens.push(token.clone());
        json!({"token": token, "expiresIn": format!("{TOKEN_LIFETIME_S}s")})
    }
}

impl Installations {
    /// Handles `POST …/installations`.
    pub(super) fn create(&self, project: &str, body: &[u8], now_ms: u64) -> HttpResponse {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return firebase::invalid_argument("Invalid JSON payload received.");
        };
        let Some(app) = body["appId"].as_str() else {
            return firebase::invalid_argument("appId is required.");
        };
        let fid = match body["fid"].as_str() {
            // The id that a client chose is kept, because some clients send ids of another length.
            Some(fid) if !fid.is_empty() && fid.len() <= 64 => fid.to_owned(),
            Some(fid) if fid.len() > 64 => return firebase::invalid_argument("fid is too long."),
            _ => format!("c{}", &random_id::<16>()[..21]),
        };
        let mut installations = self.0.lock();
        let refresh_token = format!("2_{}", random_id::<48>());
        let mut new =
            Installation { app: app.to_owned(), refresh_token: refresh_token.clone(), tokens: Vec::new() };
        let token = new.issue_token(&fid, now_ms);
        let name = format!("projects/{project}/installations/{fid}");
        let response = json!({"name": name, "fid": fid, "refreshToken": refresh_token, "authToken": token});
        installations.insert(fid, new);
        firebase::ok(&response)
    }

    /// Handles `POST …/installations/{fid}/authTokens:generate`.
    pub(super) fn renew(&self, fid: &str, headers: &HeaderMap, now_ms: u64) -> HttpResponse {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
        let refresh_token = authorization.and_then(|value| value.strip_prefix("FIS_v2 "));
        match self.0.lock().get_mut(fid) {
            None => error(404, "NOT_FOUND", "Requested entity was not found."),
            Some(installation) if refresh_token == Some(&installation.refresh_token) => {
                firebase::ok(&installation.issue_token(fid, now_ms))
            }
            Some(_) => error(401, "UNAUTHENTICATED", "The refresh token is not valid."),
        }
    }

    /// Handles `DELETE …/installations/{fid}`.
    pub(super) fn delete(&self, fid: &str) -> HttpResponse {
        self.0.lock().remove(fid);
        firebase::ok(&json!({}))
    }

    /// Returns the installation id of the token in a request. Some clients put `FIS ` in front of the token. `None` if
    /// the token is unknown.
    pub(super) fn find_fid(&self, headers: &HeaderMap) -> Option<String> {
        let header = headers.get("x-goog-firebase-installations-auth")?.to_str().ok()?;
        let token = header.strip_prefix("FIS ").unwrap_or(header);
        let installations = self.0.lock();
        let mut fids =
            installations.iter().filter(|(_, one)| one.tokens.iter().any(|issued| issued == token));
        fids.next().map(|(fid, _)| fid.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(installations: &Installations) -> Value {
        let body = json!({"fid": "czUzh-257gTXIRPemCGGAN", "authVersion": "FIS_v2", "appId": "1:123456789012:web:1", "sdkVersion": "w:0.6.20"});
        serde_json::from_slice(&installations.create("demo", body.to_string().as_bytes(), 0).body).unwrap()
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn an_installation_keeps_the_id_of_its_sdk_and_its_token_contains_it() {
        let installations = Installations::default();
        let created = create(&installations);
        assert_eq!(created["fid"], "czUzh-257gTXIRPemCGGAN");
        assert_eq!(created["name"], "projects/demo/installations/czUzh-257gTXIRPemCGGAN");
        assert_eq!(created["authToken"]["expiresIn"], "604800s");
        let token = created["authToken"]["token"].as_str().unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap())
                .unwrap();
        assert_eq!((&claims["fid"], &claims["projectNumber"]), (&created["fid"], &json!("123456789012")));
        for header in [format!("FIS {token}"), token.to_owned()] {
            let fid = installations.find_fid(&headers("x-goog-firebase-installations-auth", &header));
            assert_eq!(fid.as_deref(), Some("czUzh-257gTXIRPemCGGAN"));
        }
        assert_eq!(installations.find_fid(&headers("x-goog-firebase-installations-auth", "FIS a.b.c")), None);
    }

    #[test]
    fn a_token_is_renewed_only_with_the_refresh_token() {
        let installations = Installations::default();
        let created = create(&installations);
        let fid = created["fid"].as_str().unwrap();
        let good = format!("FIS_v2 {}", created["refreshToken"].as_str().unwrap());
        assert_eq!(installations.renew(fid, &headers("authorization", &good), 0).status, 200);
        assert_eq!(installations.renew(fid, &headers("authorization", "FIS_v2 2_x"), 0).status, 401);
        assert_eq!(installations.renew("other", &headers("authorization", &good), 0).status, 404);
        assert_eq!(installations.delete(fid).body, "{}");
        assert_eq!(installations.renew(fid, &headers("authorization", &good), 0).status, 404);
    }

    #[test]
    fn a_malformed_installation_is_refused() {
        let installations = Installations::default();
        for body in [&b"not json"[..], b"{}", br#"{"appId": 5}"#] {
            assert_eq!(installations.create("demo", body, 0).status, 400);
        }
    }
}
