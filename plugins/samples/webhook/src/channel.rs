//! Webhook channel: encodes and signs each message, sends one request for each address, and decodes the responses.

use std::time::Duration;

use futures_util::future::join_all;
use pushgate_plugin_sdk::{
    Capability, Channel, Delivery, Fault, Host, Info, Message, Outcome, Probe, Rendered, Target,
};

use crate::config::{Config, SCHEMA};
use crate::decode;
use crate::encode::{Signer, addressed, body};

/// Channel to one webhook endpoint.
pub struct Webhook {
    url: String,
    signer: Signer,
    host: Host,
}

impl Channel for Webhook {
    type Config = Config;

    const INFO: Info = Info {
        kind: "webhook",
        version: env!("CARGO_PKG_VERSION"),
        description: "POSTs each notification to a server of your own, signed as Standard Webhooks describes.",
        config_schema: Some(SCHEMA),
        capability: Capability {
            max_batch: 16,
            max_bytes: 64 * 1024,
            timeout: Duration::from_secs(15),
            collapse: true,
            priority: true,
            badge: true,
            silent: true,
            image: true,
            ..Capability::BASIC
        },
    };

    fn open(config: Config, host: Host) -> Result<Self, String> {
        let signer = Signer::new(&config.key()?);
        Ok(Self { url: config.url, signer, host })
    }

    fn render(&self, message: &Message) -> Rendered {
        let body = body(message);
        let counted = body.len() as u64;
        Rendered { body: serde_json::from_str(&body).unwrap_or_default(), counted }
    }

    async fn send(&self, delivery: &Delivery) -> Vec<Outcome> {
        let body = body(&delivery.message);
        let send = |target| self.send_one(&delivery.message.id, target, addressed(&body, &target.token));
        join_all(delivery.targets.iter().map(send)).await
    }

    // Standard Webhooks has no call that checks a signature. `open` has checked that the secret can sign.
    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe { identity: format!("a signer for {}", host_of(&self.url)), expires_at_ms: None })
    }
}

impl Webhook {
    async fn send_one(&self, message: &str, target: &Target, body: String) -> Outcome {
        let id = format!("{message}.{}", target.index);
        let request = self.signer.request(&self.url, &id, self.host.now_ms().div_euclid(1000), body);
        match self.host.http(request).await {
            Ok(response) => decode::outcome(&response),
            Err(error) => Fault::from(error).into(),
        }
    }
}

/// Returns the host of a URL. The path is left out, because it may contain a secret.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}
