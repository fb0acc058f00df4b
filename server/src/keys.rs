//! Server keys: 256 random bits each, stored as a digest, with the apps and scopes that they are valid for.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use pushgate::AppId;
use pushgate_config::{KeyApps, KeyConfig, KeyScope};

use crate::problem::Problem;

/// Server keys of the configuration.
#[derive(Debug, Default)]
pub struct Keyring(Vec<KeyConfig>);

impl Keyring {
    /// Returns a keyring with these keys.
    #[must_use]
    pub fn new(keys: &[KeyConfig]) -> Self {
        Self(keys.to_vec())
    }

    /// Checks that the request has a key with this scope that is valid for the app. `None` accepts keys of every app.
    ///
    /// # Errors
    /// 401 without a known key, 403 if the key is not valid for the app or lacks the scope.
    pub(crate) fn authorize(
        &self,
        headers: &HeaderMap,
        app: Option<&AppId>,
        scope: KeyScope,
    ) -> Result<(), Problem> {
        let Some(key) = bearer(headers) else {
            return Err(Problem::new(401, "missing_key", "send a server key: `Authorization: Bearer …`"));
        };
        let hash = digest(&SHA256, key.as_bytes());
        let has_hash = |key: &&KeyConfig| verify_slices_are_equal(&key.hash.0, hash.as_ref()).is_ok();
        let Some(key) = self.0.iter().find(has_hash) else {
            return Err(Problem::new(
                401,
                "unknown_key",
                "this gateway does not know the key; make one with `pushgate keys new`",
            ));
        };
        if let (KeyApps::These(apps), Some(app)) = (&key.apps, app)
            && !apps.contains(app)
        {
            return Err(Problem::new(
                403,
                "key_of_another_app",
                format!("the key is not valid for app `{app}`"),
            ));
        }
        if !key.scopes.contains(&scope) {
            let detail = format!("the key lacks the scope `{scope:?}`").to_lowercase();
            return Err(Problem::new(403, "missing_scope", detail));
        }
        Ok(())
    }
}

/// Returns the credential after `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// Generates a key. Returns it with its SHA-256 digest in hexadecimal.
#[must_use]
pub fn new_key() -> (String, String) {
    let key = format!("pgk_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hex = digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    (key, hex)
}
