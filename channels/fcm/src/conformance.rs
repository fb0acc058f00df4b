//! Conformance tests: the promises of every channel, and the capabilities that this one declares.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use pushgate::{ChannelName, Request, Response, Timestamp, TokenKind};
use pushgate_kit::clock::ManualClock;
use pushgate_kit::conformance::{Sent, Subject, Verdict};
use pushgate_kit::transport::{ScriptedTransport, answer};
use serde_json::{Value, json};

use crate::auth::tests::service_account;
use crate::{Config, Fcm};

const BEARER: &str = "ya29.the-bearer-of-this-test";
const DEAD: &str = r#"{"error":{"code":404,"status":"NOT_FOUND","details":[
    {"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"UNREGISTERED"}]}}"#;
const REFUSED: &str = r#"{"error":{"code":401,"status":"UNAUTHENTICATED"}}"#;

struct Google;

fn google() -> Google {
    Google
}

pushgate_kit::conformance!(google);

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl Subject for Google {
    type Config = Config;
    type Channel = Fcm;

    fn config(&self) -> Value {
        json!({ "service_account": service_account() })
    }

    fn secrets(&self) -> Vec<String> {
        let account: Value = serde_json::from_str(&service_account()).unwrap();
        let lines = account["private_key"].as_str().unwrap().lines().filter(|line| !line.starts_with('-'));
        lines.map(str::to_owned).chain([BEARER.to_owned()]).collect()
    }

    fn channel(
        &self,
        config: &Config,
        transport: Arc<ScriptedTransport>,
        clock: Arc<ManualClock>,
    ) -> Result<Fcm, String> {
        let name = ChannelName::new("fcm").unwrap();
        Fcm::new(name, config, transport, clock).map_err(|error| format!("{error} {error:?}"))
    }

    fn token(&self, _kind: TokenKind, number: usize) -> String {
        format!("c0ffee-registration:APA91b-{number}")
    }

    fn to(&self, request: &Request) -> Vec<usize> {
        let message = &body(request)["message"];
        let token = message["token"].as_str().or(message["fid"].as_str()).unwrap();
        vec![token.rsplit('-').next().unwrap().parse().unwrap()]
    }

    fn answer(&self, verdicts: &[Verdict]) -> Response {
        match verdicts[0] {
            Verdict::Accepted => answer(200, r#"{"name":"projects/demo/messages/0:1"}"#),
            Verdict::Gone => answer(404, DEAD),
        }
    }

    fn read(&self, request: &Request, now: Timestamp) -> Sent {
        let mut message = body(request)["message"].take();
        let fields = message.as_object_mut().unwrap();
        // Google counts the message, not whom it is for.
        fields.remove("token").or_else(|| fields.remove("fid")).unwrap();
        let apns = &message["apns"]["headers"];
        let ttl: u64 = message["webpush"]["headers"]["TTL"].as_str().unwrap().parse().unwrap();
        assert_eq!(message["android"]["ttl"], format!("{ttl}s"));
        let expected = if ttl == 0 { 0 } else { now.as_secs().cast_unsigned() + ttl };
        assert_eq!(apns["apns-expiration"], expected.to_string());
        let keys = [&message["webpush"]["headers"]["Topic"], &message["android"]["collapse_key"]];
        let collapse = keys.into_iter().chain([&apns["apns-collapse-id"]]).map(Value::to_string);
        Sent {
            title: text(&message["notification"]["title"]),
            content: text(&message["notification"]["body"]),
            payload: text(&message["data"]["payload"]),
            id: text(&message["data"]["zego"]).unwrap(),
            ttl,
            collapse: Some(collapse.collect()),
            counted: message.to_string().len(),
        }
    }

    fn grant(&self, request: &Request) -> Option<Response> {
        let grant = json!({"access_token": BEARER, "expires_in": 3599, "token_type": "Bearer"});
        (request.uri.path() == "/token").then(|| answer(200, grant.to_string()))
    }

    fn refusal(&self) -> Option<Response> {
        Some(answer(401, REFUSED))
    }

    fn reaches_nobody(&self, probe: &Request) -> bool {
        body(probe)["validate_only"] == true && probe.headers.contains_key(AUTHORIZATION)
    }
}
