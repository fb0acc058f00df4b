//! Golden files: one folder per case, with the message, the request, the response and the outcome, in a form that an
//! engineer of the vendor can check. One call tests a channel against its folder.
//!
//! `UPDATE_GOLDEN=1` rewrites the requests only. Outcomes are written by hand from the vendor's documentation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, StatusCode};
use pushgate::{Fault, Message, Outcome, PushChannel, Request, Response, Timestamp, TokenKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::ManualClock;
use crate::sample;
use crate::transport::{ScriptedTransport, answer};

/// Parts from which a channel under test is created.
pub struct Stage {
    /// Settings of the case, which override the base configuration.
    pub config: Map<String, Value>,
    /// Transport that answers the requests of the case. Its queue is reserved for the case; answers of the token
    /// endpoint are rules ([`ScriptedTransport::rule`]) in [`Golden::transport`].
    pub transport: Arc<ScriptedTransport>,
    /// Clock that shows `sent_at` of the case.
    pub clock: Arc<ManualClock>,
}

/// Golden cases of a channel, in `golden/` beside the crate's `Cargo.toml`, and the function that creates the
/// channel.
///
/// Each case has four files: `message.json` (`sent_at`, `to`, `message`, and optional `config`), `request.http`,
/// `response.http`, `outcome.json`. `to` is one target or a list; `outcome.json` accordingly is one outcome or a
/// list.
pub struct Golden {
    folder: PathBuf,
    transport: Box<dyn Fn() -> ScriptedTransport>,
    channel: Box<dyn Fn(Stage) -> Arc<dyn PushChannel>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    sent_at: Timestamp,
    #[serde(default)]
    config: Map<String, Value>,
    to: OneOrMany<To>,
    message: Message,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    kind: TokenKind,
    /// Token as a string, or as a JSON value whose text is the token (a subscription).
    token: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(many) => many,
            Self::One(one) => vec![one],
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Expected {
    Accepted { vendor_id: Option<String> },
    Replaced { vendor_id: Option<String>, token: String },
    Failed(Fault),
}

impl From<Outcome> for Expected {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Accepted { vendor_id } => Self::Accepted { vendor_id },
            Outcome::Replaced { vendor_id, token } => {
                Self::Replaced { vendor_id, token: token.expose().to_owned() }
            }
            Outcome::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl Golden {
    /// Loads the cases of the crate at `manifest` (`env!("CARGO_MANIFEST_DIR")`).
    pub fn of(manifest: &str, channel: impl Fn(Stage) -> Arc<dyn PushChannel> + 'static) -> Self {
        let folder = Path::new(manifest).join("golden");
        Self { folder, transport: Box::new(ScriptedTransport::new), channel: Box::new(channel) }
    }

    /// Sets the transport, with rules for requests that the cases are not about.
    #[must_use]
    pub fn transport(mut self, transport: impl Fn() -> ScriptedTransport + 'static) -> Self {
        self.transport = Box::new(transport);
        self
    }

    /// Sends the message of each case, and compares the last request and the outcomes with the files.
    ///
    /// # Panics
    /// Panics with the folder and the file that differs.
    pub async fn check(&self) {
        let folders = self.folders();
        assert!(!folders.is_empty(), "{} has no cases", self.folder.display());
        for folder in folders {
            self.check_one(&folder).await;
        }
    }

    /// Checks that each of the vendor's error codes has a case.
    ///
    /// # Panics
    /// Panics with the code that has no case.
    pub fn covers<'a>(&self, codes: impl IntoIterator<Item = &'a str>) {
        let read: BTreeSet<_> = self
            .folders()
            .iter()
            .flat_map(|folder| parsed::<OneOrMany<Expected>>(folder, "outcome.json").into_vec())
            .filter_map(|outcome| match outcome {
                Expected::Failed(fault) => fault.vendor_code,
                Expected::Accepted { .. } | Expected::Replaced { .. } => None,
            })
            .collect();
        for code in codes {
            assert!(read.contains(code), "no case in {} is about {code}", self.folder.display());
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(&self.folder).unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()));
        let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        folders.retain(|folder| folder.is_dir());
        folders.sort();
        folders
    }

    async fn check_one(&self, folder: &Path) {
        let case: Case = parsed(folder, "message.json");
        let transport = Arc::new((self.transport)());
        transport.then(response(folder, &read(folder, "response.http")));
        let clock = Arc::new(ManualClock::at(case.sent_at));
        let channel = (self.channel)(Stage { config: case.config, transport: transport.clone(), clock });
        let name = channel.info().name.clone();
        let addresses = case.to.into_vec().into_iter().map(|to| {
            let token = to.token.as_str().map_or_else(|| to.token.to_string(), str::to_owned);
            sample::address(name.as_str(), to.kind, &token)
        });
        let report = channel.send(&sample::delivery(case.message, addresses)).await;

        let sent = transport.requests().last().map(written).unwrap_or_default();
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(folder.join("request.http"), &sent).expect("a case can be written");
        }
        let expected = String::from_utf8_lossy(&read(folder, "request.http")).into_owned();
        assert_eq!(sent, expected, "{}: request.http", folder.display());

        let expected = parsed::<OneOrMany<Expected>>(folder, "outcome.json").into_vec();
        let given: Vec<_> = report.into_outcomes().into_iter().map(Expected::from).collect();
        let shown = serde_json::to_string_pretty(&given).expect("outcomes are JSON");
        assert_eq!(given, expected, "{}: outcome.json; it gave {shown}", folder.display());
    }
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    let path = folder.join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; a case has four files", path.display()))
}

fn parsed<T: serde::de::DeserializeOwned>(folder: &Path, file: &str) -> T {
    serde_json::from_slice(&read(folder, file))
        .unwrap_or_else(|error| panic!("{}: {file}: {error}", folder.display()))
}

/// Formats a request as in documentation: JSON indented, other text unchanged, any other body in base64.
fn written(request: &Request) -> String {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut text = format!("{} {target} HTTP/2\n", request.method);
    text.push_str(&format!("host: {}\n", request.uri.authority().map_or("", |host| host.as_str())));
    let mut headers: Vec<_> = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort();
    text.push_str(&headers.concat());
    let body = match serde_json::from_slice::<Value>(&request.body) {
        Ok(json) => serde_json::to_string_pretty(&json).expect("JSON is written as it was read"),
        Err(_) => String::from_utf8(request.body.to_vec()).unwrap_or_else(|_| STANDARD.encode(&request.body)),
    };
    if !body.is_empty() {
        text.push_str(&format!("\n{body}\n"));
    }
    text
}

/// Parses a response: status line, headers, an empty line, and the body without the last line end of the file.
fn response(folder: &Path, file: &[u8]) -> Response {
    let wrong = |what: &str| -> ! { panic!("{}: response.http: {what}", folder.display()) };
    let end = file.windows(2).position(|two| two == b"\n\n");
    let (head, body) = end.map_or((file, &[][..]), |end| (&file[..end], &file[end + 2..]));
    let Ok(head) = std::str::from_utf8(head) else { wrong("its head is not text") };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let Some(status) = status else { wrong("it has no status line") };
    let mut response = answer(200, body.strip_suffix(b"\n").unwrap_or(body).to_vec());
    response.status = StatusCode::from_u16(status).unwrap_or_else(|_| wrong("that is no status"));
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { wrong("a header has a name and a value") };
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else {
            wrong("a header is not one")
        };
        response.headers.append(name, value);
    }
    response
}

/// Merges the settings of a case into the base configuration, and parses the result.
///
/// # Panics
/// Panics if the result is not a valid configuration.
#[must_use]
pub fn config<T: serde::de::DeserializeOwned>(base: Value, case: Map<String, Value>) -> T {
    let mut table = match base {
        Value::Object(table) => table,
        other => panic!("a configuration is a table, not {other}"),
    };
    table.extend(case);
    serde_json::from_value(table.into()).expect("a case's config is the channel's")
}
