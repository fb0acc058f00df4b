//! Digest of a request. Detects the reuse of an idempotency key for another request. The same request has the same
//! digest in every release, so that a repetition after an upgrade is still recognised.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::Value;

/// SHA-256 of a request's canonical form. Not a signature. `Debug` does not show it, because short texts could be guessed
/// from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// Computes the digest of a JSON document in canonical form. The order of members in the request does not matter.
    ///
    /// The canonical form is UTF-8 without white space. The members of each object are ordered by the bytes of their names.
    /// Strings and numbers are written as `serde_json` writes them.
    #[must_use]
    pub fn from_json(document: &Value) -> Self {
        let mut context = Context::new(&SHA256);
        add(&mut context, document);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }

    /// Restores a digest that a store has kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest as a store keeps it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for RequestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestDigest(…)")
    }
}

/// Adds a value in canonical form to the digest.
fn add(context: &mut Context, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| name.as_bytes());
            context.update(b"{");
            for (position, (name, member)) in members.into_iter().enumerate() {
                context.update(if position == 0 { b"" } else { b"," });
                add(context, &Value::from(name.as_str()));
                context.update(b":");
                add(context, member);
            }
            context.update(b"}");
        }
        Value::Array(items) => {
            context.update(b"[");
            for (position, item) in items.iter().enumerate() {
                context.update(if position == 0 { b"" } else { b"," });
                add(context, item);
            }
            context.update(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            context.update(value.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hex(digest: RequestDigest) -> String {
        digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_digest_is_the_sha_256_of_the_canonical_form_in_every_release() {
        let text = r#"{ "title":"Ann", "to": {"users":["bob","小明"]}, "badge":{"increment":1}, "n":[1,2.5,-3], "silent":false, "x":null }"#;
        let canonical = r#"{"badge":{"increment":1},"n":[1,2.5,-3],"silent":false,"title":"Ann","to":{"users":["bob","小明"]},"x":null}"#;
        let expected = aws_lc_rs::digest::digest(&SHA256, canonical.as_bytes());
        let digest = RequestDigest::from_json(&serde_json::from_str(text).unwrap());
        assert_eq!(digest.as_bytes(), expected.as_ref());
        // Frozen: stores keep these bytes, and the next release must compute the same ones.
        assert_eq!(hex(digest), "7c85abe4f9c32dcf6ed397d0d08b7bfb392f4ee724b5ad3466e052e740e4e23b");
    }

    #[test]
    fn neither_white_space_nor_the_order_of_members_changes_a_digest_and_each_value_does() {
        let digest = |text: &str| RequestDigest::from_json(&serde_json::from_str(text).unwrap());
        assert_eq!(digest(r#"{"a":1,"b":{"c":2,"d":3}}"#), digest(r#" { "b" : {"d":3,"c":2}, "a" : 1 } "#));
        assert_ne!(digest(r#"{"a":["b","c"]}"#), digest(r#"{"a":["b,c"]}"#));
        assert_ne!(digest(r#"{"a":1}"#), digest(r#"{"a":"1"}"#));
    }

    #[test]
    fn debug_shows_no_digest() {
        assert_eq!(format!("{:?}", RequestDigest::from_json(&json!({"title": "t"}))), "RequestDigest(…)");
    }
}
