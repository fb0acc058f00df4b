//! Retries go on until the time to live ends, and wait as long as the push service asks. On a clock that the test moves.

use std::time::Duration;

use pushgate::{Fault, Kind, Notification, Platform, State, Status};

use crate::simulation::Simulation;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn states(status: &Status) -> Vec<State> {
    status.receipts.iter().map(|receipt| receipt.state).collect()
}

async fn with_devices(number: usize) -> Simulation {
    let simulation = Simulation::open().await;
    for i in 0..number {
        simulation.register(&format!("d{i}"), "bob", Platform::Web).await;
    }
    simulation
}

#[tokio::test]
async fn an_outage_of_61_minutes_or_of_ten_hours_loses_nothing() {
    for (outage, ttl) in [(61 * MINUTE, None), (10 * HOUR, Some(3 * DAY))] {
        let simulation = with_devices(3).await;
        simulation.fail_for(outage, Fault::new(Kind::VendorDown, "an outage"));
        let ticket = simulation.submit(Notification { ttl, ..Simulation::to("bob") }).await;
        simulation.advance(outage - SECOND, 10 * SECOND).await;
        let status = simulation.status(ticket.id, |status| status.receipts[0].attempts > 1).await;
        assert_eq!(states(&status), [State::Queued; 3], "before {outage:?} are over");
        let next = status.receipts[0].next_at.unwrap();
        assert!(next.since(simulation.clock.now()) <= 10 * MINUTE, "the delays have a maximum");
        simulation.advance(10 * MINUTE + 10 * SECOND, 10 * SECOND).await;
        let status = simulation.status(ticket.id, Status::is_settled).await;
        assert_eq!(states(&status), [State::Sent; 3], "after {outage:?}");
        let most = 20 + outage.as_secs() / 400;
        assert!(u64::from(status.receipts[0].attempts) <= most, "{} attempts", status.receipts[0].attempts);
    }
}

#[tokio::test]
async fn a_push_service_that_asks_for_an_hour_gets_it_and_only_what_it_means_waits() {
    for is_lane in [false, true] {
        let simulation = with_devices(1).await;
        let fault = Fault::new(Kind::Throttled, "too fast").retry_after(Some(HOUR));
        simulation.fail_for(SECOND, if is_lane { fault.of_lane() } else { fault });
        let first = simulation.submit(Simulation::to("bob").ttl(DAY)).await;
        let failed = simulation.status(first.id, |status| status.receipts[0].attempts == 1).await;
        assert_eq!(failed.receipts[0].state, State::Queued);
        assert!(failed.receipts[0].next_at.unwrap() >= simulation.clock.now() + HOUR);
        simulation.advance(MINUTE, SECOND).await;
        let second = simulation.submit(Simulation::to("bob").ttl(DAY)).await;
        simulation.advance(57 * MINUTE, 10 * SECOND).await;
        let other = if is_lane { State::Queued } else { State::Sent };
        assert_eq!(states(&simulation.status(second.id, |_| true).await), [other], "of the lane: {is_lane}");
        assert_eq!(states(&simulation.status(first.id, |_| true).await), [State::Queued]);
        simulation.advance(10 * MINUTE, 10 * SECOND).await;
        for id in [first.id, second.id] {
            assert_eq!(states(&simulation.status(id, Status::is_settled).await), [State::Sent]);
        }
        assert_eq!(simulation.sent().len(), 3, "nothing was sent in between");
    }
}

#[tokio::test]
async fn what_cannot_wait_so_long_has_expired_and_keeps_the_reason() {
    let simulation = with_devices(1).await;
    simulation.fail_for(SECOND, Fault::new(Kind::VendorDown, "down").retry_after(Some(HOUR)));
    let ticket = simulation.submit(Simulation::to("bob").ttl(HOUR)).await;
    let status = simulation.status(ticket.id, Status::is_settled).await;
    assert_eq!(states(&status), [State::Expired]);
    assert_eq!(status.receipts[0].fault.as_ref().unwrap().kind, Kind::VendorDown);
}

#[tokio::test]
async fn no_delay_that_a_channel_asks_for_closes_a_lane_for_longer_than_a_day() {
    for asked in [Duration::MAX, Duration::from_millis(u64::MAX)] {
        let simulation = with_devices(1).await;
        let fault = Fault { retry_after: Some(asked), ..Fault::new(Kind::Throttled, "for ever").of_lane() };
        simulation.fail_for(SECOND, fault);
        let ticket = simulation.submit(Simulation::to("bob").ttl(3 * DAY)).await;
        simulation.status(ticket.id, |status| status.receipts[0].attempts == 1).await;
        simulation.advance(23 * HOUR, 5 * MINUTE).await;
        assert_eq!(states(&simulation.status(ticket.id, |_| true).await), [State::Queued]);
        simulation.advance(3 * HOUR, 5 * MINUTE).await;
        assert_eq!(states(&simulation.status(ticket.id, Status::is_settled).await), [State::Sent]);
    }
}
