//! Server keys: made of 256 random bits, kept as digests, good for some apps and some verbs.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use pushgate::AppId;
use pushgate_config::{KeyApps, KeyConfig, KeyScope};

use crate::problem::Problem;

/// The keys this gateway knows.
#[derive(Debug, Default)]
pub struct Keyring(Vec<KeyConfig>);

impl Keyring {
    /// The keys of a configuration.
    #[must_use]
    pub fn new(configured: &[KeyConfig]) -> Self {
        Self(configured.to_vec())
    }

    /// Whether the request carries a key for this app (any app, when none is named) and this verb.
    pub(crate) fn authorize(
        &self,
        headers: &HeaderMap,
        app: Option<&AppId>,
        scope: KeyScope,
    ) -> Result<(), Problem> {
        let Some(given) = bearer(headers) else {
            return Err(Problem::new(401, "missing_key", "send a server key: `Authorization: Bearer …`"));
        };
        let given = digest(&SHA256, given.as_bytes());
        let same = |key: &&KeyConfig| verify_slices_are_equal(&key.hash.0, given.as_ref()).is_ok();
        let Some(key) = self.0.iter().find(same) else {
            return Err(Problem::new(
                401,
                "unknown_key",
                "this gateway does not know the key; make one with `pushgate keys new`",
            ));
        };
        if let (KeyApps::These(apps), Some(app)) = (&key.apps, app)
            && !apps.contains(app)
        {
            return Err(Problem::new(403, "key_of_another_app", format!("the key is not for app `{app}`")));
        }
        if !key.scopes.contains(&scope) {
            let detail = format!("the key lacks the scope `{scope:?}`").to_lowercase();
            return Err(Problem::new(403, "missing_scope", detail));
        }
        Ok(())
    }
}

/// What stands behind `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

/// A new key and its digest, in hexadecimal.
#[must_use]
pub fn new_key() -> (String, String) {
    let key = format!("pgk_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let hex = digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    (key, hex)
}
