//! Guards around components of embedders and plugins. A panic in an observer, a presence or a channel fails one call: it
//! is logged and counted, and the gateway goes on. The text of a panic may quote a user, so it is not logged here.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::channel::{ChannelInfo, Probe, PushChannel, Rendered};
use crate::delivery::{Delivery, Message};
use crate::device::{Address, Platform};
use crate::fault::{Fault, Kind};
use crate::ids::{AppId, UserId};
use crate::observe::{Event, Observer};
use crate::presence::{Connection, Presence};
use crate::report::Report;
use crate::timestamp::Timestamp;

/// Component in which a panic is caught.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Component {
    Observer,
    Presence,
    Channel,
    /// Planning of a deferred plan.
    Planner,
    /// Attempt of a delivery, outside its channel.
    Lane,
}

impl Component {
    /// Returns the name used in logs and metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Presence => "presence",
            Self::Channel => "channel",
            Self::Planner => "planner",
            Self::Lane => "lane",
        }
    }
}

/// Runs `call`. `None` means that it panicked.
pub(crate) fn guard<T>(component: Component, call: impl FnOnce() -> T) -> Option<T> {
    // The component is responsible for its own state. It sees the gateway's state through shared references only.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| record_panic(component)).ok()
}

/// Awaits `future`. `None` means that it panicked.
pub(crate) async fn guard_async<T>(component: Component, future: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|_| record_panic(component)).ok()
}

fn record_panic(component: Component) {
    let component = component.as_str();
    metrics::counter!("pushgate_panics_total", "component" => component).increment(1);
    tracing::error!(component, "a component panicked; the call was given up and the gateway goes on");
}

/// Observer whose panics are caught.
pub(crate) struct GuardedObserver(pub(crate) Arc<dyn Observer>);

impl Observer for GuardedObserver {
    fn on_event(&self, event: &Event) {
        guard(Component::Observer, || self.0.on_event(event));
    }
}

/// Presence whose panics are caught. Users whose presence is unknown count as offline, because an extra push is better than
/// a missing one.
pub(crate) struct GuardedPresence(pub(crate) Arc<dyn Presence>);

#[async_trait]
impl Presence for GuardedPresence {
    async fn online_on(&self, app: &AppId, user: &UserId) -> Vec<Platform> {
        let platforms = async { self.0.online_on(app, user).await };
        guard_async(Component::Presence, platforms).await.unwrap_or_default()
    }

    async fn connections(&self, app: &AppId, user: &UserId) -> Vec<Connection> {
        let connections = async { self.0.connections(app, user).await };
        guard_async(Component::Presence, connections).await.unwrap_or_default()
    }

    async fn connections_of(&self, app: &AppId, users: &[UserId]) -> HashMap<UserId, Vec<Connection>> {
        let connections = async { self.0.connections_of(app, users).await };
        guard_async(Component::Presence, connections).await.unwrap_or_default()
    }

    async fn has_connected_since(&self, app: &AppId, user: &UserId, at: Timestamp) -> bool {
        let has_connected = async { self.0.has_connected_since(app, user, at).await };
        guard_async(Component::Presence, has_connected).await.unwrap_or_default()
    }
}

/// Channel whose panics are caught while it plans and probes. The timeout layer catches those of `send`.
pub(crate) struct GuardedChannel(pub(crate) Arc<dyn PushChannel>);

#[async_trait]
impl PushChannel for GuardedChannel {
    fn info(&self) -> &ChannelInfo {
        self.0.info()
    }

    fn admits(&self, address: &Address) -> Result<(), Fault> {
        guard(Component::Channel, || self.0.admits(address))
            .unwrap_or_else(|| Err(defect("checked an address")))
    }

    /// Treats a message that the channel fails to render as one that fits. `send` then fails, and is tried again.
    fn render(&self, message: &Message) -> Rendered {
        let rendered = guard(Component::Channel, || self.0.render(message));
        rendered.unwrap_or(Rendered { body: serde_json::Value::Null, counted: 0 })
    }

    async fn send(&self, delivery: &Delivery) -> Report {
        self.0.send(delivery).await
    }

    async fn probe(&self) -> Result<Probe, Fault> {
        let probe = guard_async(Component::Channel, async { self.0.probe().await }).await;
        probe.unwrap_or_else(|| Err(defect("probed its credentials")))
    }
}

fn defect(action: &str) -> Fault {
    Fault::new(Kind::Bug, format!("the channel panicked while it {action}; please report it to its authors"))
}
