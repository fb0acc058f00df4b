//! When what happened to the notification of the demonstration, as an observer of the gateway sees it.

use std::sync::Arc;
use std::time::SystemTime;

use pushgate::State;
use pushgate::observe::Event;
use tokio::sync::watch;

/// One thing that happened.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) at_ms: u64,
    pub(super) what: String,
}

/// What happened so far.
#[derive(Clone, Default)]
pub(super) struct Diary(Arc<watch::Sender<Vec<Step>>>);

impl Diary {
    pub(super) fn observer(&self) -> impl Fn(&Event) + Send + Sync + use<> {
        let diary = self.clone();
        move |event| match event {
            Event::Planned { accepted, .. } => {
                diary.note("planned", format!("for {accepted} of bob's devices"))
            }
            Event::Stored { id, .. } => {
                diary.note("stored", format!("notification {id} is on stable storage"));
            }
            Event::Receipt { receipt, .. } if receipt.state == State::Sent => {
                let id = receipt.vendor_id.as_deref().unwrap_or("(no id)");
                diary.note("sent", format!("taken on channel {} as {id}", receipt.channel));
            }
            _ => {}
        }
    }

    /// Adds what was seen elsewhere.
    pub(super) fn add(&self, step: Step) {
        self.0.send_modify(|steps| steps.push(step));
    }

    /// Waits until so many devices were sent to: whoever asks the gateway may know it before its observers do.
    pub(super) async fn sent(&self, number: usize) {
        let all = |steps: &Vec<Step>| steps.iter().filter(|step| step.name == "sent").count() >= number;
        // The diary itself sends, so that it does not end before it comes true.
        let _ = self.0.subscribe().wait_for(all).await;
    }

    /// Everything, in the order in which it happened.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = self.0.borrow().clone();
        steps.sort_by_key(|step| step.at_ms);
        steps
    }

    fn note(&self, name: &'static str, what: String) {
        self.add(Step { name, at_ms: now_ms(), what });
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
