//! The channel: `a2` works on a runtime of its own, whose futures a plugin may wait for from any thread.

use std::sync::Arc;
use std::time::Duration;

use a2::{Client, Error, Response};
use pushgate_plugin_sdk::{Act, Capability, Channel, Delivery, Fault, Host, Info, Kind, Message, Outcome};
use pushgate_plugin_sdk::{Priority, Probe, Rendered};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::config::{Config, SCHEMA};
use crate::decode::{fault, knows_us, outcome};
use crate::encode::{Encoded, body};

/// How long `a2` waits for Apple. Less than the capability says, so that its own word for it arrives.
pub(crate) const PATIENCE: Duration = Duration::from_secs(9);
/// The longest that Apple keeps a notification.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Provider tokens may change every 20 minutes; whoever is too quick with that is left alone for so long.
const PAUSE: Duration = Duration::from_secs(20 * 60);

/// A channel to Apple.
pub struct A2 {
    config: Config,
    client: Client,
    runtime: Own,
}

/// A runtime that can be dropped anywhere.
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        // The last to let go of the channel may be a task on this very runtime, which must not wait for itself.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Channel for A2 {
    type Config = Config;

    const INFO: Info = Info {
        kind: "a2",
        version: env!("CARGO_PKG_VERSION"),
        description: "Sends to Apple devices through the crate a2.",
        config_schema: Some(SCHEMA),
        capability: Capability {
            max_batch: 100,
            max_bytes: 4096,
            max_ttl: LONGEST_LIFE,
            timeout: Duration::from_secs(10),
            throttle_pause: PAUSE,
            collapse: true,
            priority: true,
            badge: true,
            silent: true,
            image: true,
            ..Capability::BASIC
        },
    };

    fn open(config: Config, _host: Host) -> Result<Self, String> {
        let client = config.client()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("a2").enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime for a2: {error}"))?;
        Ok(Self { config, client, runtime: Own(Some(runtime)) })
    }

    fn render(&self, message: &Message) -> Rendered {
        let body = body(message, self.config.sound.as_deref());
        let counted = body.to_string().len() as u64;
        Rendered { body, counted }
    }

    async fn send(&self, delivery: &Delivery) -> Vec<Outcome> {
        let count = delivery.targets.len();
        let sound = self.config.sound.as_deref();
        let encoded = match Encoded::new(&delivery.message, &self.config.topic, sound) {
            Ok(encoded) => Arc::new(encoded),
            Err(fault) => return vec![fault.into(); count],
        };
        // All are begun before the first is waited for.
        let begun: Vec<_> =
            delivery.targets.iter().map(|target| self.begin(&encoded, target.token.clone())).collect();
        let mut outcomes = Vec::with_capacity(count);
        for one in begun {
            outcomes.push(match one {
                Ok(sending) => ended(sending).await.map_or_else(Outcome::from, outcome),
                Err(fault) => fault.into(),
            });
        }
        outcomes
    }

    // Apple has no call for it: a background push to a device that cannot be is refused, in words that tell whether it knows us.
    async fn probe(&self) -> Result<Probe, Fault> {
        let encoded = Arc::new(Encoded::new(&nothing(), &self.config.topic, None)?);
        let answer = ended(self.begin(&encoded, "0".repeat(64))?).await?;
        match answer {
            answer if knows_us(&answer) => {
                Ok(Probe { identity: self.config.identity(), expires_at_ms: None })
            }
            Ok(_) => Err(Fault::new(Kind::Bug, "an answer that is neither yes nor no")),
            Err(error) => Err(fault(&error)),
        }
    }
}

type Sending = JoinHandle<Result<Response, Error>>;

impl A2 {
    /// Sends to one device, on a2's own runtime.
    fn begin(&self, encoded: &Arc<Encoded>, token: String) -> Result<Sending, Fault> {
        // a2 puts it into the path as it is: anything but hexadecimal could lead elsewhere.
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Fault::new(
                Kind::WrongApp,
                "it is no device token of Apple's: these are hexadecimal",
            ));
        }
        let runtime = self.runtime.0.as_ref();
        let runtime = runtime.ok_or_else(|| Fault::new(Kind::Unreachable, "the channel is being closed"))?;
        let (client, encoded) = (self.client.clone(), Arc::clone(encoded));
        Ok(runtime.spawn(async move { client.send(encoded.push(&token)).await }))
    }
}

async fn ended(sending: Sending) -> Result<Result<Response, Error>, Fault> {
    sending.await.map_err(|error| {
        if error.is_panic() {
            Fault::new(Kind::Bug, "a2 panicked")
        } else {
            Fault::new(Kind::Unreachable, "the channel is being closed")
        }
    })
}

/// A message that says nothing and is kept for nobody.
fn nothing() -> Message {
    Message {
        id: "00000000-0000-0000-0000-000000000000".to_owned(),
        app: String::new(),
        title: String::new(),
        content: String::new(),
        payload: None,
        image: None,
        link: None,
        collapse_key: None,
        thread: None,
        category: None,
        overrides: Some(json!({"zego": null})),
        created_at_ms: 0,
        expires_at_ms: 0,
        ttl_s: 0,
        badge: None,
        priority: Priority::Normal,
        silent: true,
        tag: String::new(),
        act: Act::Show,
    }
}
