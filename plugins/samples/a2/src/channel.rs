//! Channel to APNs through `a2`. The client runs on its own tokio runtime, and the plugin waits for the join handles.

use std::sync::Arc;
use std::time::Duration;

use a2::{Client, Error, Response};
use pushgate_plugin_sdk::{Act, Capability, Channel, Delivery, Fault, Host, Info, Kind, Message, Outcome};
use pushgate_plugin_sdk::{Priority, Probe, Rendered};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::config::{Config, SCHEMA};
use crate::decode::{fault, outcome, proves_credentials};
use crate::encode::{Encoded, body};

/// Timeout of `a2`. Less than the capability's timeout, so that the plugin reports `a2`'s own error.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(9);
/// Maximum time that APNs stores a notification.
const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// Pause after a throttle. APNs refuses provider tokens that change more often than every 20 minutes.
const THROTTLE_PAUSE: Duration = Duration::from_secs(20 * 60);

/// Channel to APNs.
pub struct A2 {
    config: Config,
    client: Client,
    runtime: OwnRuntime,
}

/// Runtime that may be dropped on any thread.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // A task of this runtime may drop the channel. It must not wait for itself, as the default `drop` does.
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
            max_ttl: MAX_TTL,
            timeout: Duration::from_secs(10),
            throttle_pause: THROTTLE_PAUSE,
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
        Ok(Self { config, client, runtime: OwnRuntime(Some(runtime)) })
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
        // Starts all sends before waiting for the first, so that they run concurrently.
        let tasks: Vec<_> =
            delivery.targets.iter().map(|target| self.start_send(&encoded, target.token.clone())).collect();
        let mut outcomes = Vec::with_capacity(count);
        for task in tasks {
            outcomes.push(match task {
                Ok(task) => join(task).await.map_or_else(Outcome::from, outcome),
                Err(fault) => fault.into(),
            });
        }
        outcomes
    }

    // APNs has no call that checks credentials. It refuses a background push to an impossible device, and the reason shows
    // whether it accepts the credentials.
    async fn probe(&self) -> Result<Probe, Fault> {
        let encoded = Arc::new(Encoded::new(&probe_message(), &self.config.topic, None)?);
        let result = join(self.start_send(&encoded, "0".repeat(64))?).await?;
        match result {
            result if proves_credentials(&result) => {
                Ok(Probe { identity: self.config.identity(), expires_at_ms: None })
            }
            Ok(_) => Err(Fault::new(Kind::Bug, "the response to the probe is unexpected")),
            Err(error) => Err(fault(&error)),
        }
    }
}

type SendTask = JoinHandle<Result<Response, Error>>;

impl A2 {
    /// Starts a send to one device on the runtime of `a2`.
    fn start_send(&self, encoded: &Arc<Encoded>, token: String) -> Result<SendTask, Fault> {
        // `a2` copies the token into the path, where other characters could change the URL.
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Fault::new(
                Kind::WrongApp,
                "the token is not an APNs device token, which is hexadecimal",
            ));
        }
        let runtime = self.runtime.0.as_ref();
        let runtime = runtime.ok_or_else(|| Fault::new(Kind::Unreachable, "the channel is closing"))?;
        let (client, encoded) = (self.client.clone(), Arc::clone(encoded));
        Ok(runtime.spawn(async move { client.send(encoded.push(&token)).await }))
    }
}

async fn join(task: SendTask) -> Result<Result<Response, Error>, Fault> {
    task.await.map_err(|error| {
        if error.is_panic() {
            Fault::new(Kind::Bug, "a2 panicked")
        } else {
            Fault::new(Kind::Unreachable, "the channel is closing")
        }
    })
}

/// Returns an empty background message that APNs does not store.
fn probe_message() -> Message {
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
