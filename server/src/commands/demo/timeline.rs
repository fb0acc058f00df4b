//! Timeline of the demonstration's notification, from the events of the gateway.

use std::sync::Arc;
use std::time::SystemTime;

use pushgate::State;
use pushgate::observe::Event;
use tokio::sync::watch;

/// One step of the notification.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) at_ms: u64,
    pub(super) detail: String,
}

/// Steps so far. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Timeline(Arc<watch::Sender<Vec<Step>>>);

impl Timeline {
    /// Returns an observer that records the events of a gateway.
    pub(super) fn observer(&self) -> impl Fn(&Event) + Send + Sync + use<> {
        let timeline = self.clone();
        move |event| match event {
            Event::Planned { accepted, .. } => {
                timeline.record("planned", format!("for {accepted} of bob's devices"))
            }
            Event::Stored { id, .. } => {
                timeline.record("stored", format!("notification {id} is on stable storage"));
            }
            Event::Receipt { receipt, .. } if receipt.state == State::Sent => {
                let id = receipt.vendor_id.as_deref().unwrap_or("(no id)");
                timeline.record("sent", format!("accepted on channel {} as {id}", receipt.channel));
            }
            _ => {}
        }
    }

    /// Adds a step that was observed outside the gateway.
    pub(super) fn add(&self, step: Step) {
        self.0.send_modify(|steps| steps.push(step));
    }

    /// Waits until this number of devices was sent to. A response of the gateway may precede the event.
    pub(super) async fn wait_for_sent(&self, number: usize) {
        let all = |steps: &Vec<Step>| steps.iter().filter(|step| step.name == "sent").count() >= number;
        // Cannot fail: `self` keeps the sender alive.
        let _ = self.0.subscribe().wait_for(all).await;
    }

    /// Returns all steps in the order of their time.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = self.0.borrow().clone();
        steps.sort_by_key(|step| step.at_ms);
        steps
    }

    fn record(&self, name: &'static str, detail: String) {
        self.add(Step { name, at_ms: now_ms(), detail });
    }
}

/// Returns the current time in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
