//! Tests the commands of the READMEs: the HTTP request is accepted, and the crates to depend on exist.

use serde_json::{Value, json};

use crate::setup::Setup;

const READMES: [(&str, &str); 2] = [
    ("README.md", include_str!("../../README.md")),
    ("README.zh-CN.md", include_str!("../../README.zh-CN.md")),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_http_request_of_the_readmes_is_sent_to_the_user_it_names() {
    let setup = Setup::open().await;
    setup.page_of("bob").await;
    for (file, text) in READMES {
        let (_, curl) =
            text.split_once("curl 'http://127.0.0.1:8080").unwrap_or_else(|| panic!("no curl in {file}"));
        let (path, rest) = curl.split_once('\'').unwrap();
        let (_, body) = rest.split_once("-d '").unwrap();
        let (body, _) = body.split_once('\'').unwrap();
        let (status, answer) = setup.client.raw(http::Method::POST, path, body).await;
        assert_eq!((status, &answer["accepted"]), (202, &json!(1)), "{file}: {answer}");
        assert!(answer["status"]["counts"].is_object(), "{file}: `wait` is not heeded: {answer}");
        let payload = serde_json::from_str::<Value>(body).unwrap()["payload"].clone();
        assert!(serde_json::from_str::<Value>(payload.as_str().unwrap()).is_ok(), "{file}");
    }
}

#[test]
fn the_crates_an_embedder_is_told_to_depend_on_are_packages_of_this_repository() {
    let packages = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let packages: Value = serde_json::from_slice(&packages.stdout).unwrap();
    let packages = packages["packages"].as_array().unwrap();
    for (file, text) in READMES {
        let lines = text.lines().filter(|line| line.starts_with("pushgate"));
        let crates: Vec<_> = lines.filter_map(|line| line.split_once(" = { git = \"")).collect();
        assert!(crates.len() > 2, "{file} names {crates:?}");
        for (name, rest) in crates {
            let package = packages.iter().find(|package| package["name"] == name);
            let package = package.unwrap_or_else(|| panic!("{file} names {name}, which is no package"));
            let url = package["repository"].as_str().unwrap();
            assert!(rest.starts_with(url), "{file}: {name} is in {url}");
        }
    }
}
