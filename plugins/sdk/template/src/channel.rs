//! The channel: encode, send, decode. Nothing is repeated here: the gateway does that, as the outcomes say.

use pushgate_plugin_sdk::{
    Capability, Channel, Delivery, Fault, Host, Info, Message, Outcome, Probe, Rendered,
};

use crate::config::{Config, SCHEMA};
use crate::{decode, encode};

/// A channel to the vendor.
pub struct Acme {
    config: Config,
    host: Host,
}

impl Channel for Acme {
    type Config = Config;

    const INFO: Info = Info {
        kind: "acme",
        version: env!("CARGO_PKG_VERSION"),
        description: "Sends notifications through Acme.",
        config_schema: Some(SCHEMA),
        // Declare what is true: the gateway plans with it, and `pushgate plugin check` holds you to it.
        capability: Capability::BASIC,
    };

    fn open(config: Config, host: Host) -> Result<Self, String> {
        Ok(Self {
            config: config.checked()?,
            host,
        })
    }

    fn render(&self, message: &Message) -> Rendered {
        let body = encode::body(message);
        let counted = body.to_string().len() as u64;
        Rendered { body, counted }
    }

    async fn send(&self, delivery: &Delivery) -> Vec<Outcome> {
        let body = encode::body(&delivery.message);
        let mut outcomes = Vec::with_capacity(delivery.targets.len());
        for target in &delivery.targets {
            let request = encode::request(&self.config, body.clone(), &target.token);
            outcomes.push(match self.host.http(request).await {
                Ok(response) => decode::outcome(&response),
                Err(error) => Fault::from(error).into(),
            });
        }
        outcomes
    }

    // Ask the vendor something that reaches no user, if it has such a call.
    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe {
            identity: "acme".to_owned(),
            expires_at_ms: None,
        })
    }
}
