//! Merge of a caller's native options into the request of a channel. Knows no field of any push service.

use serde_json::{Map, Value};

/// Applies a JSON merge patch (RFC 7396): `null` removes a member, objects merge, any other value replaces.
pub fn merge(into: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                into.remove(key);
            }
            Value::Object(patch) => {
                let mut object = match into.remove(key) {
                    Some(Value::Object(object)) => object,
                    Some(_) | None => Map::new(),
                };
                merge(&mut object, patch);
                into.insert(key.clone(), Value::Object(object));
            }
            other => {
                into.insert(key.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_merge_is_that_of_rfc_7396_appendix_a() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (from, patch, expected) in cases {
            let mut object = serde_json::from_str(from).unwrap();
            merge(&mut object, &serde_json::from_str(patch).unwrap());
            assert_eq!(Value::Object(object).to_string(), expected, "{from} + {patch}");
        }
    }
}
