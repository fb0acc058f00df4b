//! Channel of Acme: encodes, sends and decodes. It never retries, because the gateway retries by the outcomes.

use pushgate_plugin_sdk::{
    Capability, Channel, Delivery, Fault, Host, Info, Message, Outcome, Probe, Rendered,
};

use crate::config::{Config, SCHEMA};
use crate::{decode, encode};

/// Channel of Acme.
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
        // The gateway relies on the capability, and `pushgate plugin check` tests it.
        capability: Capability::BASIC,
    };

    fn open(config: Config, host: Host) -> Result<Self, String> {
        Ok(Self {
            config: config.validate()?,
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

    // If Acme has a call that checks the credentials without reaching a user, send it here.
    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe {
            identity: "acme".to_owned(),
            expires_at_ms: None,
        })
    }
}
