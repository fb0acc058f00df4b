//! Promises of the strict reader.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{MAX_DEPTH, from_slice};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outer {
    to: Inner,
    count: Option<u32>,
    mode: Option<Mode>,
    #[serde(default)]
    options: BTreeMap<String, Value>,
    free: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    #[serde(default)]
    users: Vec<pushgate::UserId>,
    #[serde(default, rename = "nested")]
    _nested: Vec<Lenient>,
}

#[derive(Debug, Deserialize)]
struct Lenient {
    #[serde(rename = "id")]
    _id: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Slow,
}

fn refused(body: &str) -> String {
    from_slice::<Outer>(body.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_refusal_names_the_path_and_what_is_allowed() {
    for (body, expected) in [
        (r#"{"to":{"users":["a",7]}}"#, "to.users[1]: must be a string, not such a number"),
        (r#"{"to":{"users":[""]}}"#, "to.users[0]: user id: 1 to 128 bytes without control characters"),
        (r#"{"to":{"users":"a"}}"#, "to.users: must be an array, not a string"),
        (r#"{"to":{"user":["a"]}}"#, "to.user: is not a known field; did you mean `users`?"),
        (r#"{"to":{"zzzzzz":1}}"#, "to.zzzzzz: is not a known field; known here: `users`, `nested`"),
        (r#"{"to":{"nested":[{"id":"a"},{"id":"b","x":1}]}}"#, "to.nested[1].x: is not a known field"),
        (r#"{"to":{"nested":[{}]}}"#, "to.nested[0].id: is missing"),
        (r#"{"to":{},"mode":"fats"}"#, "mode: must be one of `fast`, `slow`; did you mean `fast`?"),
        (r#"{"to":{},"mode":{"fast":null}}"#, "mode: must be one of `fast`, `slow`, not an object"),
        (r#"{"to":{},"count":-1}"#, "count: must be a whole number from 0 to 4294967295"),
        (r#"{"to":{},"count":4294967296}"#, "count: must be a whole number from 0 to 4294967295"),
        (r#"{"to":{},"count":1.5}"#, "count: must be a whole number from 0 to 4294967295, not such a number"),
        (r#"{"to":{},"count":-2.0}"#, "count: must be a whole number from 0 to 4294967295"),
        (
            r#"{"to":{},"count":1e300}"#,
            "count: must be a whole number from 0 to 4294967295, not such a number",
        ),
        (r#"{"to":{},"count":"1"}"#, "count: must be a whole number from 0 to 4294967295, not a string"),
        ("{}", "to: is missing"),
        ("7", "the body must be an object, not such a number"),
    ] {
        assert_eq!(refused(body), expected, "{body}");
    }
}

#[test]
fn an_array_is_never_an_object() {
    assert_eq!(refused(r#"[{"users":["a"]},null,null]"#), "the body must be an object, not an array");
    assert_eq!(refused(r#"{"to":[["a"]]}"#), "to: must be an object, not an array");
    assert_eq!(refused(r#"{"to":{"nested":[["a"]]}}"#), "to.nested[0]: must be an object, not an array");
}

#[test]
fn a_whole_number_may_be_written_with_a_fraction_of_zero() {
    let read: Outer = from_slice(br#"{"to":{},"count":212.0,"free":1.0}"#).unwrap();
    assert_eq!(
        (read.count, read.free),
        (Some(212), Some(serde_json::json!(1.0))),
        "a free value stays as it is"
    );
}

#[test]
fn null_is_no_way_to_leave_a_field_out() {
    assert_eq!(refused(r#"{"to":{},"count":null}"#), "count: must not be null; leave it out");
    assert_eq!(refused(r#"{"to":{},"free":null}"#), "free: must not be null; leave it out");
    assert_eq!(refused(r#"{"to":{"users":null}}"#), "to.users: must be an array, not null");
    let read: Outer = from_slice(br#"{"to":{},"free":{"a":null},"options":{"b":null}}"#).unwrap();
    assert_eq!(read.free.unwrap()["a"], Value::Null, "inside a free value null is a value");
    assert_eq!(read.options["b"], Value::Null);
}

#[test]
fn no_field_is_given_twice() {
    assert_eq!(refused(r#"{"to":{},"to":{}}"#), "to: is given twice; keep one of the two");
    let expected = "options.a.b: is given twice; keep one of the two";
    assert_eq!(refused(r#"{"to":{},"options":{"a":{"b":1,"\u0062":2}}}"#), expected);
}

#[test]
fn the_depth_has_a_limit() {
    let nested = |levels: usize| {
        let value = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        from_slice::<Outer>(format!(r#"{{"to":{{}},"free":{value}}}"#).as_bytes())
    };
    let limit = MAX_DEPTH as usize - 1;
    assert!(nested(limit).is_ok());
    let refusal = nested(limit + 1).unwrap_err().to_string();
    assert!(refusal.ends_with(&format!("is nested deeper than {MAX_DEPTH} levels")), "{refusal}");
}

#[test]
fn what_is_not_json_is_told_by_its_place() {
    for (body, expected) in [
        (r#"{"to":"#, "the body is not valid JSON at line 1 column 6: it ends too early"),
        (r#"{"to":{} "count":1}"#, "the body is not valid JSON at line 1 column 10"),
        ("{\"to\":{}}\n{}", "the body is not valid JSON at line 2 column 1"),
        ("", "the body is not valid JSON at line 1 column 0: it ends too early"),
    ] {
        let refusal = from_slice::<Outer>(body.as_bytes()).unwrap_err();
        assert!(refusal.is_syntax());
        assert_eq!(refusal.to_string(), expected, "{body}");
    }
    assert!(from_slice::<Outer>(b"{\"to\":{\"users\":[\"\xff\"]}}").unwrap_err().is_syntax());
}

#[test]
fn a_long_or_unprintable_name_is_cut() {
    let refusal = refused(&format!(r#"{{"to":{{"{}":1}}}}"#, "x\\u0007".repeat(1000)));
    assert!(refusal.len() < 250 && !refusal.contains('\u{7}'), "{refusal}");
}

#[test]
fn what_is_right_is_read() {
    let body = r#"{"to":{"users":["a","b\u0021"],"nested":[{"id":"x"}]},"count":3,"mode":"slow","options":{"k":[1,{"l":true}]}}"#;
    let read: Outer = from_slice(body.as_bytes()).unwrap();
    assert_eq!((read.to.users[1].as_str(), read.count, read.mode), ("b!", Some(3), Some(Mode::Slow)));
    assert_eq!(read.options["k"], serde_json::json!([1, {"l": true}]));
}
