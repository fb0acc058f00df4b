//! Golden tests of the channel against the files in `golden/`.
//!
//! Keys, salt and subscription are those of RFC 8291, Appendix A, so that anybody can decrypt the bodies. `payload.json` is the
//! decrypted body. The VAPID key is that of RFC 6979, A.2.5.

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
use crate::auth::tests::{PRIVATE, PUBLIC, is_signed, split_header};
use crate::crypto::tests::{AppendixA, Browser};

/// Transport that verifies each VAPID signature and replaces it by `(signature)`, because signatures are random.
struct VerifyingTransport(Arc<ScriptedTransport>);

#[async_trait]
impl Transport for VerifyingTransport {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        let (token, key) = split_header(request.headers[AUTHORIZATION].to_str().unwrap());
        assert_eq!(key, PUBLIC);
        assert!(is_signed(&token, &key));
        let (signing_input, _) = token.rsplit_once('.').unwrap();
        let header = format!("vapid t={signing_input}.(signature), k={key}");
        request.headers.insert(AUTHORIZATION, header.parse().unwrap());
        self.0.send(request).await
    }
}

fn golden() -> Golden {
    let channel = |stage: Stage| -> Arc<dyn PushChannel> {
        let base = json!({"private_key": PRIVATE, "subject": "mailto:push@example.com"});
        let name = ChannelName::new("webpush").unwrap();
        let transport = Arc::new(VerifyingTransport(stage.transport));
        let mut channel = WebPush::new(name, &config(base, stage.config), transport, stage.clock).unwrap();
        channel.random = Box::new(AppendixA);
        Arc::new(channel)
    };
    Golden::of(env!("CARGO_MANIFEST_DIR"), channel)
}

#[tokio::test]
async fn every_golden_case_is_sent_and_classified_as_written() {
    golden().check().await;
    // The decrypted bodies come second, because `check` may have rewritten the requests.
    each_accepted_message_is_decrypted_to_its_payload_file();
}

/// Covers the error numbers of Mozilla, the reasons of Apple, and the codes of Google and Windows.
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

/// Decrypts the body of each accepted case and compares it with `payload.json`.
fn each_accepted_message_is_decrypted_to_its_payload_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut cases = 0;
    for case in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if !case.file_name().unwrap().to_string_lossy().starts_with("accepted-") {
            continue;
        }
        let request = fs::read_to_string(case.join("request.http")).unwrap();
        let (_, body) = request.split_once("\n\n").unwrap();
        let plaintext = Browser::from_appendix_a().decrypt(&STANDARD.decode(body.trim()).unwrap()).unwrap();
        let decrypted: Value = serde_json::from_slice(&plaintext).unwrap();
        let file = case.join("payload.json");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&decrypted).unwrap())).unwrap();
        }
        let expected: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(decrypted, expected, "{}", file.display());
        cases += 1;
    }
    assert!(cases >= 8, "{cases}");
}
