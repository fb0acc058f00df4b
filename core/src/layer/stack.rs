//! Order of the layers around every channel, innermost first, with a reason for each. No other place knows this order.

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
use crate::ids::AppId;

/// Returns the channel wrapped in its layers.
#[must_use]
pub fn stack(
    app: &AppId,
    installed: &Installed,
    gate: &Arc<Gate>,
    clock: &Arc<dyn Clock>,
    revalidator: &Arc<Revalidator>,
) -> Arc<dyn PushChannel> {
    let channel = Arc::clone(&installed.channel);
    // innermost: the channel's timeout applies to the request to the push service, not to the waiting before it
    let channel = Arc::new(Timeout::new(channel));
    // after every wait: discards a push that was withdrawn, is no longer needed, or would reach another user
    let channel = Arc::new(Revalidate::new(channel, Arc::clone(revalidator)));
    // after every wait: discards a push that has expired meanwhile or can never be sent
    let channel = Arc::new(Guard::new(channel, Arc::clone(clock)));
    // inside concurrency: deliveries keep their slots during a pause, so that no other delivery overtakes them
    let channel = Arc::new(Throttle::new(channel, Arc::clone(gate), Arc::clone(clock)));
    // a burst of one app on a channel waits here in order of arrival
    let channel =
        Arc::new(Concurrency::new(channel, installed.concurrency, Arc::clone(gate), Arc::clone(clock)));
    // outside the waits: metrics include the time that a delivery waits
    let channel = Arc::new(Meter::new(channel, app.clone()));
    // outermost: the faults of all inner layers are logged too
    Arc::new(Trace::new(channel))
}
