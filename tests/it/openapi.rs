//! The OpenAPI document says what the gateway does.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;
use serde_json::Value;

use crate::setup::Setup;

fn document() -> Value {
    serde_json::from_str(include_str!("../../server/src/api/openapi.json")).unwrap()
}

/// Path, method and operation.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((path.as_str(), method.as_str(), operation));
        }
    }
    operations
}

#[test]
fn every_operation_has_a_name_of_its_own_and_a_schema_of_its_answer() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap_or_default();
        assert!(!name.is_empty() && names.insert(name), "{method} {path} needs an operationId of its own");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let described = status == "204" || response.get("$ref").is_some();
            assert!(described || response["content"].is_object(), "{method} {path}: {status} has no schema");
        }
    }
}

/// Codes of problems in a source: a status of three digits, then the code.
fn codes(source: &str) -> BTreeSet<String> {
    let text: String = source.split_whitespace().collect();
    let calls = ["Problem::new(", "Self::new(", "=>("].into_iter().flat_map(|call| text.split(call).skip(1));
    let pairs = calls.filter_map(|rest| rest.split_once(",\""));
    let is_status = |text: &str| text.len() == 3 && text.bytes().all(|digit| digit.is_ascii_digit());
    let codes = pairs.filter(|(status, _)| is_status(status)).filter_map(|(_, rest)| rest.split('"').next());
    codes.map(str::to_owned).collect()
}

fn codes_below(folder: &Path) -> BTreeSet<String> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: std::path::PathBuf| match path.is_dir() {
        true => codes_below(&path),
        false => codes(&std::fs::read_to_string(&path).unwrap()),
    };
    paths.flat_map(below).collect()
}

#[test]
fn every_code_that_is_sent_is_in_the_document() {
    let sent = codes_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sent.contains("receipt_too_late") && sent.contains("empty_audience"), "{sent:?}");
    let document = document();
    let listed =
        document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    let listed: BTreeSet<_> = listed.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(sent.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_allow_names_the_methods_of_the_document() {
    let setup = Setup::open().await;
    let document = document();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let (status, allow) = setup.client.allow(Method::PATCH, &path.replace(['{', '}'], "")).await;
        let allowed: BTreeSet<_> =
            allow.split(',').filter(|method| !matches!(*method, "HEAD" | "OPTIONS")).collect();
        let documented: Vec<_> =
            methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let documented: BTreeSet<_> = documented.iter().map(String::as_str).collect();
        assert_eq!((status, allowed), (405, documented), "{path}");
    }
}
