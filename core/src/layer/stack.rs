//! The layers around every channel, outermost first, each with its reason. This is the only place that knows their order.

use std::sync::Arc;

use super::concurrency::Concurrency;
use super::gate::Gate;
use super::guard::Guard;
use super::meter::Meter;
use super::revalidate::{Revalidate, Revalidator};
use super::throttle::Throttle;
use super::timeout::Timeout;
use super::trace::Trace;
use crate::app::Installed;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::words::AppId;

/// A channel in its layers.
#[must_use]
pub fn stack(
    app: &AppId,
    installed: &Installed,
    gate: &Arc<Gate>,
    clock: &Arc<dyn Clock>,
    revalidator: &Arc<Revalidator>,
) -> Arc<dyn PushChannel> {
    let channel = Arc::clone(&installed.channel);
    // innermost: the vendor's time alone is measured against the channel's timeout, not the time spent waiting for a turn
    let channel = Arc::new(Timeout::new(channel));
    // after every wait: what was taken back, came too late for its user, or would reach another one, does not go out
    let channel = Arc::new(Revalidate::new(channel, Arc::clone(revalidator)));
    // after every wait and before every attempt: what has expired meanwhile, or can never be sent, does not go out
    let channel = Arc::new(Guard::new(channel, Arc::clone(clock)));
    // inside concurrency: those whose turn it is wait out the vendor's pause, and nobody overtakes them
    let channel = Arc::new(Throttle::new(channel, Arc::clone(gate), Arc::clone(clock)));
    // one app's flood on a channel waits here in order of arrival
    let channel =
        Arc::new(Concurrency::new(channel, installed.concurrency, Arc::clone(gate), Arc::clone(clock)));
    // outside the waits: what is counted and traced is what the notification went through
    let channel = Arc::new(Meter::new(channel, app.clone()));
    // outermost: every fault of the layers below is told, too
    Arc::new(Trace::new(channel))
}
