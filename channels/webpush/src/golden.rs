//! Holds the channel to the files in `golden/`. Keys, salt and subscription are those of RFC 8291, Appendix A, so that anybody
//! can decrypt the bodies; `payload.json` is what comes out. The VAPID key is that of RFC 6979, A.2.5.

use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use pushgate::{ChannelName, PushChannel, Request, Response, Transport, TransportError};
use pushgate_kit::golden::{Golden, Stage, config};
use pushgate_kit::transport::ScriptedTransport;
use serde_json::{Value, json};

use crate::WebPush;
use crate::crypto::tests::{Appendix, Browser};
use crate::vapid::tests::{PRIVATE, PUBLIC, is_signed, parts};

/// A signature differs each time, so it is checked here and the files say that it was.
struct Checked(Arc<ScriptedTransport>);

#[async_trait]
impl Transport for Checked {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        let (token, key) = parts(request.headers[AUTHORIZATION].to_str().unwrap());
        assert_eq!(key, PUBLIC);
        assert!(is_signed(&token, &key));
        let (signed, _) = token.rsplit_once('.').unwrap();
        let header = format!("vapid t={signed}.(signature), k={key}");
        request.headers.insert(AUTHORIZATION, header.parse().unwrap());
        self.0.send(request).await
    }
}

fn golden() -> Golden {
    let channel = |stage: Stage| -> Arc<dyn PushChannel> {
        let base = json!({"private_key": PRIVATE, "subject": "mailto:push@example.com"});
        let name = ChannelName::new("webpush").unwrap();
        let transport = Arc::new(Checked(stage.transport));
        let mut channel = WebPush::new(name, &config(base, stage.config), transport, stage.clock).unwrap();
        channel.random = Box::new(Appendix);
        Arc::new(channel)
    };
    Golden::of(env!("CARGO_MANIFEST_DIR"), channel)
}

#[tokio::test]
async fn every_golden_case_is_sent_and_read_as_written() {
    golden().check().await;
    // After it, because it may have rewritten the requests.
    what_a_browser_reads_stands_beside_each_accepted_message();
}

/// Mozilla's numbers, Apple's reasons, Google's and Windows' words.
#[test]
fn every_row_of_the_error_tables_has_a_golden_case() {
    golden().covers([
        "101", "102", "103", "104", "105", "106", "108", "109", "110", "111", "112", "113", "201", "202",
        "900", "901", "902", "903",
    ]);
    golden().covers([
        "BadAuthorizationHeader",
        "BadJwtToken",
        "BadPath",
        "BadTtl",
        "BadUrgency",
        "BadVapidPublicKey",
        "BadWebPushRequest",
        "BadWebPushTopic",
        "ExpiredToken",
        "IdleTimeout",
        "InternalServerError",
        "MethodNotAllowed",
        "PayloadTooLarge",
        "ServiceUnavailable",
        "Shutdown",
        "TooManyRequests",
        "Unregistered",
        "VapidPkHashMismatch",
    ]);
    golden().covers([
        "MismatchSenderId",
        "UnauthorizedRegistration",
        "channelthrottled",
        "dropped",
        "InternalError",
    ]);
}

/// The requests above are what goes over the wire; this is what a service worker makes of them.
fn what_a_browser_reads_stands_beside_each_accepted_message() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut cases = 0;
    for case in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if !case.file_name().unwrap().to_string_lossy().starts_with("accepted-") {
            continue;
        }
        let request = fs::read_to_string(case.join("request.http")).unwrap();
        let (_, body) = request.split_once("\n\n").unwrap();
        let text = Browser::of_the_appendix().read(&STANDARD.decode(body.trim()).unwrap()).unwrap();
        let read: Value = serde_json::from_slice(&text).unwrap();
        let file = case.join("payload.json");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&read).unwrap())).unwrap();
        }
        let expected: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(read, expected, "{}", file.display());
        cases += 1;
    }
    assert!(cases >= 8, "{cases}");
}
