//! Holds the channel to the files in `golden/`: a folder for each case, with what is sent and what comes back as Google's
//! documentation shows it. `UPDATE_GOLDEN=1 cargo test -p pushgate-fcm` rewrites the requests, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use http::{HeaderName, HeaderValue, StatusCode};
use pushgate::{
    Address, ChannelName, Delivery, DeliveryId, Fault, Message, Outcome, PushChannel, Request, Response,
    Target, Timestamp, TokenKind,
};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::auth::tests::service_account;
use crate::{Config, Fcm};

/// `message.json`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    sent_at: Timestamp,
    #[serde(default)]
    config: Map<String, Value>,
    to: To,
    message: Message,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    kind: TokenKind,
    token: String,
}

/// `outcome.json`
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Expected {
    Accepted { vendor_id: Option<String> },
    Failed(Fault),
}

#[tokio::test]
async fn every_golden_case_is_sent_and_read_as_written() {
    for folder in folders() {
        check(&folder).await;
    }
}

/// The codes of Google's table, and what answers without any.
#[test]
fn every_row_of_the_error_table_has_a_golden_case() {
    let codes: BTreeSet<_> = folders()
        .iter()
        .filter_map(|folder| match serde_json::from_slice(&read(folder, "outcome.json")).unwrap() {
            Expected::Failed(fault) => fault.vendor_code,
            Expected::Accepted { .. } => None,
        })
        .collect();
    for code in [
        "INTERNAL",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "QUOTA_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "SENDER_ID_MISMATCH",
        "THIRD_PARTY_AUTH_ERROR",
        "UNAUTHENTICATED",
        "UNAVAILABLE",
        "UNREGISTERED",
        "UNSPECIFIED_ERROR",
    ] {
        assert!(codes.contains(code), "no case in golden/ is about {code}");
    }
}

fn folders() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut folders: Vec<_> = fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    let path = folder.join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; a case has four files", path.display()))
}

async fn check(folder: &Path) {
    let case: Case = serde_json::from_slice(&read(folder, "message.json"))
        .unwrap_or_else(|error| panic!("{}: message.json: {error}", folder.display()));
    let (request, outcome) = exchange(case, response(&read(folder, "response.http"))).await;

    let sent = written(&request);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(folder.join("request.http"), &sent).unwrap();
    }
    let expected = String::from_utf8(read(folder, "request.http")).unwrap();
    assert_eq!(sent, expected, "{}: request.http", folder.display());

    let expected: Expected = serde_json::from_slice(&read(folder, "outcome.json"))
        .unwrap_or_else(|error| panic!("{}: outcome.json: {error}", folder.display()));
    let given = match outcome {
        Outcome::Accepted { vendor_id } => Expected::Accepted { vendor_id },
        Outcome::Replaced { .. } => panic!("FCM never says that a token was replaced"),
        Outcome::Failed(fault) => Expected::Failed(fault),
    };
    let shown = serde_json::to_string_pretty(&given).unwrap();
    assert_eq!(given, expected, "{}: outcome.json; it gave {shown}", folder.display());
}

/// Sends the case's message and answers with `response`.
async fn exchange(case: Case, response: Response) -> (Request, Outcome) {
    let transport = Arc::new(ScriptedTransport::new());
    transport.then(answer(200, r#"{"access_token":"(the bearer)","expires_in":3599,"token_type":"Bearer"}"#));
    transport.then(response);
    let mut table = case.config;
    table.insert("service_account".to_owned(), service_account().into());
    let config: Config = serde_json::from_value(table.into()).unwrap();
    let name = ChannelName::new("fcm").unwrap();
    let clock = Arc::new(ManualClock::at(case.sent_at));
    let fcm = Fcm::new(name.clone(), &config, transport.clone(), clock).unwrap();
    let address = Address { channel: name.clone(), kind: case.to.kind, token: case.to.token.into() };
    let target = Target { index: 0, device: None, user: None, address, registered_at: None };
    let delivery = Delivery {
        id: DeliveryId::new(),
        channel: name,
        message: Arc::new(case.message),
        targets: vec![target],
        attempt: 1,
    };
    let report = fcm.send(&delivery).await;
    (transport.requests().remove(1), report.into_outcomes().remove(0))
}

/// A request as documentation shows it, its body indented.
fn written(request: &Request) -> String {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let mut text = format!("{} {} HTTP/2\n", request.method, request.uri.path());
    text.push_str(&format!("host: {}\n", request.uri.host().unwrap()));
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    headers.sort();
    text.push_str(&headers.concat());
    text.push_str(&format!("\n{}\n", serde_json::to_string_pretty(&body).unwrap()));
    text
}

/// A response as documentation shows it: status line, headers, an empty line, and a body without the file's last line end.
fn response(file: &[u8]) -> Response {
    let end = file.windows(2).position(|two| two == b"\n\n").expect("an empty line ends the headers");
    let mut lines = std::str::from_utf8(&file[..end]).unwrap().lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let body = &file[end + 2..];
    let mut response = answer(200, body.strip_suffix(b"\n").unwrap_or(body).to_vec());
    response.status = status.parse::<StatusCode>().unwrap();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        response.headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    response
}
