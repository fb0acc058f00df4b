//! Every accepted delivery reaches a final status at most a minute after its time to live, whether or not a lane takes it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pushgate::app::App;
use pushgate::observe::Event;
use pushgate::{
    AppId, Clock, Fault, Gateway, Kind, Notification, NotificationId, Platform, SkipReason, State, Status,
};

use crate::simulation::{Simulation, demo};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Another gateway on the same storage, as after a restart with another configuration, and the states that it tells of.
async fn restarted(simulation: &Simulation, app: AppId) -> (Gateway, Arc<Mutex<Vec<State>>>) {
    simulation.gateway.shutdown(Duration::ZERO).await;
    let states = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&states);
    let observer = move |event: &Event| {
        if let Event::Receipt { receipt, .. } = event {
            told.lock().push(receipt.state);
        }
    };
    let clock: Arc<dyn Clock> = simulation.clock.clone();
    let builder = Gateway::builder().devices(Arc::clone(simulation.gateway.store()));
    let builder = builder.queue(Arc::clone(simulation.gateway.queue())).clock(clock).jitter(|| 0.0);
    (builder.app(app, App::default()).observer(observer).start().await.unwrap(), states)
}

async fn status(gateway: &Gateway, id: NotificationId) -> Status {
    gateway.status(&demo(), id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_delivery_whose_channel_or_app_was_removed_is_kept_until_it_expires() {
    for app in [demo(), AppId::new("another").unwrap()] {
        let simulation = Simulation::open().await;
        simulation.register("d", "bob", Platform::Web).await;
        simulation.fail_for(24 * HOUR, Fault::new(Kind::VendorDown, "down"));
        let ticket = simulation.submit(Simulation::to("bob").ttl(HOUR)).await;
        simulation.status(ticket.id, |status| status.receipts[0].attempts == 1).await;
        let (gateway, states) = restarted(&simulation, app).await;
        simulation.advance(HOUR - SECOND, 10 * SECOND).await;
        assert_eq!(status(&gateway, ticket.id).await.receipts[0].state, State::Queued, "it may come back");
        simulation.advance(MINUTE, SECOND).await;
        let receipt = status(&gateway, ticket.id).await.receipts[0].clone();
        assert_eq!((receipt.state, receipt.fault.unwrap().kind), (State::Expired, Kind::Expired));
        assert_eq!(*states.lock(), [State::Expired], "observers are told, once");
    }
}

#[tokio::test]
async fn a_paused_lane_settles_what_expires_in_it_within_a_minute() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    simulation
        .fail_for(SECOND, Fault::new(Kind::Throttled, "for long").of_lane().retry_after(Some(10 * HOUR)));
    let long = simulation.submit(Simulation::to("bob").ttl(24 * HOUR)).await;
    simulation.status(long.id, |status| status.receipts[0].attempts == 1).await;
    let mut short = Vec::new();
    // More than may be in flight at once, so that some wait for the others.
    for _ in 0..120 {
        short.push(simulation.submit(Simulation::to("bob").ttl(5 * MINUTE)).await.id);
    }
    simulation.advance(5 * MINUTE - SECOND, SECOND).await;
    assert_eq!(status(&simulation.gateway, short[0]).await.receipts[0].state, State::Queued);
    simulation.advance(MINUTE, SECOND).await;
    for id in short {
        assert_eq!(status(&simulation.gateway, id).await.receipts[0].state, State::Expired);
    }
    assert_eq!(status(&simulation.gateway, long.id).await.receipts[0].state, State::Queued);
    assert_eq!(simulation.sent().len(), 1, "the pause is kept");
}

#[tokio::test]
async fn what_is_planned_later_for_a_removed_app_ends_with_its_time_to_live() {
    let simulation = Simulation::open().await;
    simulation.register("d", "bob", Platform::Web).await;
    let hour = simulation.clock.now() + MINUTE;
    let asked = Notification { send_at: Some(hour), ..Simulation::to("bob").ttl(5 * MINUTE) };
    let ticket = simulation.submit(asked).await;
    let (gateway, _) = restarted(&simulation, AppId::new("another").unwrap()).await;
    simulation.advance(6 * MINUTE - SECOND, SECOND).await;
    assert!(!status(&gateway, ticket.id).await.is_settled(), "the app may come back");
    simulation.advance(MINUTE, SECOND).await;
    let status = status(&gateway, ticket.id).await;
    assert!(status.is_settled());
    assert_eq!(status.skipped[0].reason, SkipReason::NotComposed);
}
