//! Tests of device events, which only the event token in the push authenticates.

use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderValue, Method};
use pushgate::gateway::DeviceEventError;
use pushgate::observe::Event;
use pushgate::{
    Address, AppId, Audience, ChannelInfo, ChannelName, Delivery, DeviceEvent, Fault, Gateway, Message,
    Notification, Probe, PushChannel, Rendered, Report, Request, State, TokenKind, Transport,
};
use pushgate_dummy::{Dummy, Script};
use pushgate_transport::HttpTransport;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::secrecy::keep_secret;
use crate::setup::{Client, MAX_WAIT, Setup};

const SERVER: &str = "\n[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"https://push.example.com/\"\n";

/// A setup whose devices are asked to tell.
async fn asking() -> Setup {
    Setup::with(SERVER).await
}

/// Returns the event endpoint and token, as the SDK reads them from the newest push.
fn receipt(setup: &Setup, device: &str) -> (String, String) {
    let shown = setup.emulator.fcm().inbox(device).unwrap().remove(0);
    let zego: Value = serde_json::from_str(shown.data["zego"].as_str().unwrap()).unwrap();
    let (url, token) = zego["receipt"].as_str().unwrap().split_once('#').unwrap();
    keep_secret(token);
    (url.to_owned(), token.to_owned())
}

fn told(token: &str, event: &str) -> String {
    json!({"token": token, "event": event}).to_string()
}

/// Somebody without a key.
fn stranger(setup: &Setup) -> Client {
    Client::new(&setup.client.base, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_tells_is_seen_in_the_status_once_and_with_its_time() {
    let setup = asking().await;
    let (page, _) = (setup.page_of("bob").await, setup.page_of("ann").await);
    let asked = json!({"to": {"users": ["ann", "bob"]}, "title": "hello"});
    let (_, answer) = setup.client.submit(&asked, "?wait=20s").await;
    let (url, token) = receipt(&setup, &page);
    assert_eq!(url, "https://push.example.com/v1/receipts");
    let device = stranger(&setup);
    for event in ["arrived", "clicked", "arrived"] {
        let (status, answer) = device.raw(Method::POST, "/v1/receipts", told(&token, event)).await;
        assert_eq!(status, 204, "{answer}");
    }
    let status = setup.client.status(&answer["id"]).await;
    assert_eq!(
        (&status["told"], &status["counts"]),
        (&json!({"arrived": 1, "clicked": 1}), &json!({"sent": 2}))
    );
    let of = |id: &str| {
        let devices = status["devices"].as_array().unwrap();
        devices.iter().find(|device| device["device"] == id).unwrap()["told"].clone()
    };
    assert!(of(&page)["arrived_at"].is_string() && of(&page)["clicked_at"].is_string(), "{status}");
    assert!(of(&page)["dismissed_at"].is_null() && of("ann-web").is_null(), "the other one told nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_none_is_refused_by_its_code_and_so_is_a_body_that_is_none() {
    let setup = asking().await;
    let page = setup.page_of("bob").await;
    setup.client.submit(&json!({"to": {"users": ["bob"]}, "title": "hello"}), "?wait=20s").await;
    let (_, token) = receipt(&setup, &page);
    let other_end = if token.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{other_end}", &token[..token.len() - 1]);
    let device = stranger(&setup);
    for (body, status, code) in [
        (told(&forged, "arrived"), 404, "unknown_receipt"),
        (told("", "arrived"), 404, "unknown_receipt"),
        (told(&token, "read"), 422, "invalid_body"),
        (json!({"token": token, "event": "arrived", "user": "bob"}).to_string(), 422, "invalid_body"),
        ("arrived".to_owned(), 400, "invalid_json"),
        (told(&"A".repeat(2000), "arrived"), 413, "body_too_large"),
    ] {
        let (given, answer) = device.raw(Method::POST, "/v1/receipts", body).await;
        assert_eq!((given, &answer["code"]), (status, &code.into()), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_tells_and_does_nothing_else() {
    let setup = asking().await;
    let page = setup.page_of("bob").await;
    let (_, sent) =
        setup.client.submit(&json!({"to": {"users": ["bob"]}, "title": "hello"}), "?wait=20s").await;
    let (_, token) = receipt(&setup, &page);
    let thief = Client::new(&setup.client.base, &token);
    let path = format!("/v1/apps/demo/notifications/{}", sent["id"].as_str().unwrap());
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(thief.raw(method, &path, "").await.0, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_site_may_tell_with_and_without_a_preflight() {
    let setup = asking().await;
    let transport = HttpTransport::builder().build().unwrap();
    let uri: http::Uri = format!("{}/v1/receipts", setup.client.base).parse().unwrap();
    for (method, status) in [(Method::OPTIONS, 204), (Method::POST, 400)] {
        let mut request = Request::post(uri.clone(), "", MAX_WAIT);
        request.method = method;
        request.headers.insert("origin", HeaderValue::from_static("https://app.example"));
        let response = transport.send(request).await.unwrap();
        let allowed = response.headers.get("access-control-allow-origin");
        assert_eq!((response.status.as_u16(), allowed), (status, Some(&HeaderValue::from_static("*"))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_has_no_token_where_nobody_asks_and_fits_where_somebody_does() {
    let long = json!({"to": {"users": ["bob"]}, "title": "hello", "content": "long ".repeat(2000)});
    let preview = "/v1/apps/demo/notifications:preview";
    for (setup, asks) in [(Setup::open().await, false), (asking().await, true)] {
        let page = setup.page_of("bob").await;
        let channel = setup.client.ask(Method::POST, preview, &long, 200).await["channels"][0].clone();
        assert!(channel["bytes"].as_u64() <= channel["max_bytes"].as_u64(), "{asks}");
        let (_, answer) = setup.client.submit(&long, "?wait=20s").await;
        assert_eq!(answer["status"]["counts"], json!({"sent": 1}), "the vendor takes it: {answer}");
        let shown = setup.emulator.fcm().inbox(&page).unwrap().remove(0);
        assert_eq!(shown.data["zego"].as_str().unwrap().contains("receipt"), asks);
    }
}

/// A channel that keeps what it was handed.
struct Keeper(Dummy, mpsc::UnboundedSender<Delivery>);

#[async_trait]
impl PushChannel for Keeper {
    fn info(&self) -> &ChannelInfo {
        self.0.info()
    }
    fn render(&self, message: &Message) -> Rendered {
        self.0.render(message)
    }
    async fn send(&self, delivery: &Delivery) -> Report {
        self.1.send(delivery.clone()).unwrap();
        self.0.send(delivery).await
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        self.0.probe().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedder_hears_what_a_device_tells_once_and_nothing_after_it_is_forgotten() {
    let (keep, mut kept) = mpsc::unbounded_channel();
    let (hear, mut heard) = mpsc::unbounded_channel();
    let way = ChannelName::new("way").unwrap();
    let observer = move |event: &Event| {
        if let Event::DeviceEvent { id, event, receipt, .. } = event {
            hear.send((*id, *event, receipt.clone().unwrap())).unwrap();
        }
    };
    let channel = Keeper(Dummy::scripted(way.clone(), Script::default()), keep);
    let gateway = Gateway::builder().channel(channel).device_events("/receipts").observer(observer);
    let gateway = gateway.start().await.unwrap();
    let address = Address { channel: way, kind: TokenKind::Token, token: "t".into() };
    let app = AppId::new("demo").unwrap();
    let asked = Notification::new(app.clone(), Audience::Addresses(vec![address])).title("hello");
    let ticket = gateway.submit(asked).await.unwrap();
    gateway.wait_until_settled(&app, ticket.id, MAX_WAIT).await.unwrap();
    let delivery = kept.recv().await.unwrap();
    let note: Value = serde_json::from_str(&delivery.message.note_for(0)).unwrap();
    let token = note["receipt"].as_str().unwrap().strip_prefix("/receipts#").unwrap();

    assert!(gateway.record_event(token, DeviceEvent::Clicked).await.unwrap());
    assert!(!gateway.record_event(token, DeviceEvent::Clicked).await.unwrap(), "it is no news");
    let (id, event, receipt) = heard.recv().await.unwrap();
    assert_eq!((id, event, receipt.state), (ticket.id, DeviceEvent::Clicked, State::Sent));
    assert!(receipt.events.arrived_at.is_some() && heard.is_empty());
    let forged = gateway.record_event("forged", DeviceEvent::Clicked).await;
    assert!(matches!(forged, Err(DeviceEventError::UnknownToken)));
    let long_after = gateway.now() + Duration::from_secs(100 * 24 * 3600);
    gateway.queue().sweep(long_after).await.unwrap();
    let late = gateway.record_event(token, DeviceEvent::Dismissed).await;
    assert!(matches!(late, Err(DeviceEventError::RetentionEnded)));
    assert!(heard.is_empty());
}
