//! The Web Push services as an application server sees them: first the rules without a network, then the same over TLS.

mod rules;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;

use super::app_server::AppServer;
use super::{PushResponse, Subscription, WebPush, WebPushService};
use crate::push_crypto::UserAgentPublicKeys;
use crate::service::{PushService as _, ServerAction, next_action};
use crate::wire::{HttpRequest, HttpResponse, Peer};

/// Push request that every service accepts. Tests change one part of it.
struct Request {
    method: http::Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    fn valid(subscription: &Subscription, app_server: &AppServer, text: &str) -> Self {
        let origin = subscription.endpoint.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        Self {
            method: http::Method::POST,
            url: subscription.endpoint.clone(),
            headers: vec![
                ("ttl", "60".to_owned()),
                ("content-encoding", "aes128gcm".to_owned()),
                ("authorization", app_server.authorization_for(&origin)),
            ],
            body: encrypted(subscription, text),
        }
    }

    /// Replaces a header, or removes it if the value is `None`.
    fn with_header(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.retain(|(old, _)| *old != name);
        self.headers.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    fn to_http(&self) -> http::Request<Vec<u8>> {
        let mut request = http::Request::builder().method(self.method.clone()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone()).unwrap()
    }

    /// Returns the response without a network.
    fn send(&self, web_push: &WebPush) -> PushResponse {
        let (head, body) = self.to_http().into_parts();
        respond(web_push, &head, &body)
    }
}

fn respond(web_push: &WebPush, head: &Parts, body: &[u8]) -> PushResponse {
    let request = HttpRequest { head: head.clone(), body: body.to_vec().into(), peer: Peer::default() };
    assert!(web_push.handles(&request), "the request is for a Web Push service");
    match next_action(web_push, &request) {
        ServerAction::Respond(HttpResponse { status, headers, body }) => {
            PushResponse { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
        }
        other => panic!("{other:?}"),
    }
}

fn encrypted(subscription: &Subscription, text: &str) -> Vec<u8> {
    let public = URL_SAFE_NO_PAD.decode(&subscription.keys.p256dh).unwrap();
    let auth = URL_SAFE_NO_PAD.decode(&subscription.keys.auth).unwrap().try_into().unwrap();
    UserAgentPublicKeys { public, auth }.encrypt(text.as_bytes()).unwrap()
}

/// Services with one virtual browser, and the application server that it has subscribed for.
struct TestSetup {
    web_push: WebPush,
    app_server: AppServer,
    subscription: Subscription,
}

fn subscribed(service: WebPushService) -> TestSetup {
    let (web_push, app_server) = (WebPush::default(), AppServer::new());
    let subscription = web_push.subscribe(service, &app_server.application_server_key()).unwrap();
    TestSetup { web_push, app_server, subscription }
}
