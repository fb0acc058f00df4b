//! The services as an application server meets them: rules without a wire, then the wire itself.

mod rules;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;

use super::sender::Sender;
use super::{Answer, Service, Subscription, WebPush};
use crate::push_crypto::Recipient;
use crate::rig::{Met, Site as _, meet};
use crate::wire::{Asked, Peer, Reply};

/// A request that every service takes, to be spoilt in one point.
struct Request {
    method: http::Method,
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Request {
    fn good(subscription: &Subscription, sender: &Sender, text: &str) -> Self {
        let origin = subscription.endpoint.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        Self {
            method: http::Method::POST,
            url: subscription.endpoint.clone(),
            headers: vec![
                ("ttl", "60".to_owned()),
                ("content-encoding", "aes128gcm".to_owned()),
                ("authorization", sender.good_for(&origin)),
            ],
            body: encrypted(subscription, text),
        }
    }

    /// With a header replaced; none takes it away.
    fn header(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.retain(|(old, _)| *old != name);
        self.headers.extend(value.map(|value| (name, value.to_owned())));
        self
    }

    fn http(&self) -> http::Request<Vec<u8>> {
        let mut request = http::Request::builder().method(self.method.clone()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request.body(self.body.clone()).unwrap()
    }

    /// The answer without a wire.
    fn ask(&self, webpush: &WebPush) -> Answer {
        let (head, body) = self.http().into_parts();
        answered(webpush, &head, &body)
    }
}

fn answered(webpush: &WebPush, head: &Parts, body: &[u8]) -> Answer {
    let asked = Asked { head: head.clone(), body: body.to_vec().into(), peer: Peer::default() };
    assert!(webpush.claims(&asked), "a Web Push service");
    match meet(webpush, &asked) {
        Met::Answer(Reply { status, headers, body }) => {
            Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
        }
        other => panic!("{other:?}"),
    }
}

fn encrypted(subscription: &Subscription, text: &str) -> Vec<u8> {
    let public = URL_SAFE_NO_PAD.decode(&subscription.keys.p256dh).unwrap();
    let auth = URL_SAFE_NO_PAD.decode(&subscription.keys.auth).unwrap().try_into().unwrap();
    Recipient { public, auth }.encrypt(text.as_bytes()).unwrap()
}

fn subscribed(service: Service) -> (WebPush, Sender, Subscription) {
    let (webpush, sender) = (WebPush::default(), Sender::new());
    let subscription = webpush.subscribe(service, &sender.application_server_key()).unwrap();
    (webpush, sender, subscription)
}
