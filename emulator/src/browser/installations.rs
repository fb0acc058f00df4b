//! Firebase Installations: every page's SDK gets an id of its own, and tokens that prove it.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::firebase::{self, error};
use super::random;
use crate::wire::Reply;

/// How long a token is good, in seconds.
const LIFE: u64 = 604_800;

/// The installations of the project.
#[derive(Default)]
pub(super) struct Installations(Mutex<HashMap<String, Installation>>);

struct Installation {
    app: String,
    refresh: String,
    tokens: Vec<String>,
}

impl Installation {
    /// A token of the shape of a JWT: the SDK reads the id inside.
    fn token(&mut self, fid: &str, now_ms: u64) -> Value {
        let project = self.app.split(':').nth(1).unwrap_or_default();
        let claims =
            json!({"appId": self.app, "exp": now_ms / 1000 + LIFE, "fid": fid, "projectNumber": project});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT"});
        let token = format!("{}.{}.{}", part(&header), part(&claims), random::<64>());
        self.tokens.push(token.clone());
        json!({"token": token, "expiresIn": format!("{LIFE}s")})
    }
}

impl Installations {
    /// `POST …/installations`.
    pub(super) fn create(&self, project: &str, body: &[u8], now_ms: u64) -> Reply {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else {
            return firebase::bad("Invalid JSON payload received.");
        };
        let Some(app) = asked["appId"].as_str() else { return firebase::bad("appId is required.") };
        let fid = match asked["fid"].as_str() {
            // Whatever a client calls itself is echoed: some send ids of another length.
            Some(fid) if !fid.is_empty() && fid.len() <= 64 => fid.to_owned(),
            Some(fid) if fid.len() > 64 => return firebase::bad("fid is too long."),
            _ => format!("c{}", &random::<16>()[..21]),
        };
        let mut all = self.0.lock();
        let refresh = format!("2_{}", random::<48>());
        let mut new = Installation { app: app.to_owned(), refresh: refresh.clone(), tokens: Vec::new() };
        let token = new.token(&fid, now_ms);
        let name = format!("projects/{project}/installations/{fid}");
        let answer = json!({"name": name, "fid": fid, "refreshToken": refresh, "authToken": token});
        all.insert(fid, new);
        firebase::ok(&answer)
    }

    /// `POST …/installations/{fid}/authTokens:generate`.
    pub(super) fn renew(&self, fid: &str, headers: &HeaderMap, now_ms: u64) -> Reply {
        let given = headers.get("authorization").and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("FIS_v2 "));
        match self.0.lock().get_mut(fid) {
            None => error(404, "NOT_FOUND", "Requested entity was not found."),
            Some(one) if given == Some(&one.refresh) => firebase::ok(&one.token(fid, now_ms)),
            Some(_) => error(401, "UNAUTHENTICATED", "The refresh token is not valid."),
        }
    }

    /// `DELETE …/installations/{fid}`.
    pub(super) fn delete(&self, fid: &str) -> Reply {
        self.0.lock().remove(fid);
        firebase::ok(&json!({}))
    }

    /// Whose token this is; some clients put `FIS ` in front and some do not.
    pub(super) fn fid(&self, headers: &HeaderMap) -> Option<String> {
        let given = headers.get("x-goog-firebase-installations-auth")?.to_str().ok()?;
        let given = given.strip_prefix("FIS ").unwrap_or(given);
        let all = self.0.lock();
        all.iter().find(|(_, one)| one.tokens.iter().any(|token| token == given)).map(|(fid, _)| fid.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(all: &Installations) -> Value {
        let body = json!({"fid": "czUzh-257gTXIRPemCGGAN", "authVersion": "FIS_v2", "appId": "1:123456789012:web:1", "sdkVersion": "w:0.6.20"});
        serde_json::from_slice(&all.create("demo", body.to_string().as_bytes(), 0).body).unwrap()
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn an_installation_keeps_the_id_its_sdk_chose_and_its_token_says_so() {
        let all = Installations::default();
        let made = created(&all);
        assert_eq!(made["fid"], "czUzh-257gTXIRPemCGGAN");
        assert_eq!(made["name"], "projects/demo/installations/czUzh-257gTXIRPemCGGAN");
        assert_eq!(made["authToken"]["expiresIn"], "604800s");
        let token = made["authToken"]["token"].as_str().unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap())
                .unwrap();
        assert_eq!((&claims["fid"], &claims["projectNumber"]), (&made["fid"], &json!("123456789012")));
        for given in [format!("FIS {token}"), token.to_owned()] {
            let fid = all.fid(&headers("x-goog-firebase-installations-auth", &given));
            assert_eq!(fid.as_deref(), Some("czUzh-257gTXIRPemCGGAN"));
        }
        assert_eq!(all.fid(&headers("x-goog-firebase-installations-auth", "FIS a.b.c")), None);
    }

    #[test]
    fn a_token_is_renewed_for_the_refresh_token_only() {
        let all = Installations::default();
        let made = created(&all);
        let fid = made["fid"].as_str().unwrap();
        let good = format!("FIS_v2 {}", made["refreshToken"].as_str().unwrap());
        assert_eq!(all.renew(fid, &headers("authorization", &good), 0).status, 200);
        assert_eq!(all.renew(fid, &headers("authorization", "FIS_v2 2_x"), 0).status, 401);
        assert_eq!(all.renew("other", &headers("authorization", &good), 0).status, 404);
        assert_eq!(all.delete(fid).body, "{}");
        assert_eq!(all.renew(fid, &headers("authorization", &good), 0).status, 404);
    }

    #[test]
    fn what_is_no_installation_is_refused() {
        let all = Installations::default();
        for body in [&b"not json"[..], b"{}", br#"{"appId": 5}"#] {
            assert_eq!(all.create("demo", body, 0).status, 400);
        }
    }
}
