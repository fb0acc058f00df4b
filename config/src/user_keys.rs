//! `[[apps.NAME.user_keys]]`: keys that verify user tokens. Errors never quote a value.

use figment::value::Value;

use crate::config::{UserKeyAlgorithm, UserKeyConfig};
use crate::load::{Loader, is_slug};
use crate::locate::KeyPath;
use crate::nearest::nearest;
use crate::read::{Rules, not_one_of};
use crate::schema::RawUserKey;

/// Smallest HS256 secret, in bytes: the length of the hash (RFC 7518 §3.2).
const MIN_SECRET: usize = 32;
const ALGORITHMS: [&str; 2] = ["HS256", "EdDSA"];

impl Loader<'_> {
    pub(crate) fn user_keys(&mut self, values: Vec<Value>, top: &KeyPath) -> Vec<UserKeyConfig> {
        let mut keys: Vec<UserKeyConfig> = Vec::new();
        for (i, mut value) in values.into_iter().enumerate() {
            let at = top.index(i);
            let resolved = self.resolve(&mut value, &at);
            let rules = Rules {
                secret: true,
                resolved: Some(&resolved),
                examples: &[
                    ("id", "id = \"2026\""),
                    ("alg", "alg = \"HS256\""),
                    ("key", "key = \"env:DEMO_USER_KEY\""),
                ],
                ..Rules::default()
            };
            let Some(raw) = self.reader.read::<RawUserKey>(value, &at, &rules) else { continue };
            if !is_slug(&raw.id) {
                self.reader.refuse(&at.key("id"), "is not 1 to 64 of A-Z a-z 0-9 _ - .");
            }
            if keys.iter().any(|key| key.id == raw.id) {
                self.reader.refuse(&at.key("id"), "is the id of another key of this app; choose another");
            }
            let algorithm = match raw.alg.as_str() {
                "HS256" => UserKeyAlgorithm::Hs256,
                "EdDSA" => UserKeyAlgorithm::EdDsa,
                other => {
                    let message = not_one_of(None, nearest(other, ALGORITHMS), &ALGORITHMS);
                    self.reader.refuse(&at.key("alg"), message);
                    continue;
                }
            };
            if algorithm == UserKeyAlgorithm::Hs256 && raw.key.len() < MIN_SECRET {
                let message =
                    "is too short; HS256 needs at least 32 bytes: `openssl rand -base64 32` makes them";
                self.reader.refuse(&at.key("key"), message);
            }
            keys.push(UserKeyConfig { id: raw.id, algorithm, key: raw.key.into() });
        }
        keys
    }
}
