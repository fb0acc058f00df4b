//! Checks for expired deliveries in a queue.

use std::time::Duration;

use pushgate::queue::{Admission, AudienceBatch, DeferredPlan, Finished, Lease, Stage};
use pushgate::{AppId, Audience, NodeId, Notification, Queue, Timestamp};

use super::queue::{admission, finish};
use super::{T0, app, channel, user};

/// Time to live of the deliveries of [`admission`].
const TTL: Duration = Duration::from_secs(60);

pub(super) async fn promises(queue: &dyn Queue) {
    what_expired_and_nobody_holds_is_taken_once_and_settled(queue).await;
    what_a_living_node_holds_is_left_to_it(queue).await;
    a_postponed_part_is_due_again_at_that_time(queue).await;
}

/// Leases the expired deliveries of this app, because other checks may have left some of their apps.
async fn taken(queue: &dyn Queue, app: &AppId, node: NodeId, now: Timestamp) -> Vec<Lease> {
    let leases = queue.lease_expired(node, now, 1000).await.expect("take");
    leases.into_iter().filter(|lease| lease.delivery.message.app == *app).collect()
}

async fn what_expired_and_nobody_holds_is_taken_once_and_settled(queue: &dyn Queue) {
    let (app, node) = (app("expiry"), NodeId::new());
    let later = T0 + Duration::from_secs(3600);
    let asked = admission(&app, None, &[(T0, None), (later, None)]);
    let id = asked.id;
    queue.admit(asked).await.expect("admit");
    assert_eq!(queue.count_waiting(&app, &channel()).await.expect("count"), 2);
    assert_eq!(
        taken(queue, &app, node, T0 + TTL - Duration::from_millis(1)).await,
        [],
        "not before its time"
    );
    let leases = taken(queue, &app, node, T0 + TTL).await;
    assert_eq!(leases.len(), 2, "also what is not due yet");
    assert_eq!(taken(queue, &app, node, T0 + TTL).await, [], "they are ours already");
    assert_eq!(queue.count_waiting(&app, &channel()).await.expect("count"), 0);
    for lease in leases {
        let ended = finish(&lease.delivery, lease.epoch, Vec::new());
        assert_eq!(queue.finish(ended).await.expect("finish"), Finished::Done);
    }
    assert!(queue.status(&app, id).await.expect("read").expect("kept").is_settled());
}

async fn what_a_living_node_holds_is_left_to_it(queue: &dyn Queue) {
    let (app, mine, other) = (app("held"), NodeId::new(), NodeId::new());
    let expired = T0 + TTL;
    queue.renew(mine, expired).await.expect("renew");
    queue.admit(admission(&app, None, &[(T0, Some(mine))])).await.expect("admit");
    assert_eq!(taken(queue, &app, other, expired).await, [], "its attempt may be under way");
    assert_eq!(taken(queue, &app, mine, expired).await, [], "even our own");
    queue.release(mine).await.expect("release");
    assert_eq!(taken(queue, &app, other, expired).await.len(), 1, "given back");
}

async fn a_postponed_part_is_due_again_at_that_time(queue: &dyn Queue) {
    let (app, node) = (app("postponed"), NodeId::new());
    let audience = Audience::Users(vec![user("bob")]);
    let request = Notification::new(app.clone(), Audience::Users(Vec::new()));
    let part = AudienceBatch { place: 0, due: T0, audience, after: None, stage: Stage::Fresh };
    let deferred_plan = Some(DeferredPlan { request, batches: vec![part] });
    let asked = Admission { deferred_plan, ..admission(&app, None, &[]) };
    let id = asked.id;
    queue.admit(asked).await.expect("admit");
    let take = async |now| {
        let taken = queue.lease_batches(node, now, 1000).await.expect("take");
        taken.leases.into_iter().find(|lease| lease.notification == id)
    };
    let first = take(T0).await.expect("due");
    let later = T0 + TTL;
    assert_eq!(queue.postpone_batch(&first, later).await.expect("postpone"), Finished::Done);
    assert_eq!(take(later - Duration::from_millis(1)).await, None);
    let second = take(later).await.expect("due again");
    assert!(second.epoch > first.epoch);
    assert_eq!((second.batch.due, &second.batch.audience), (later, &first.batch.audience));
    assert_eq!(queue.postpone_batch(&first, later).await.expect("postpone"), Finished::Fenced);
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    assert_eq!(
        status.progress.map(|progress| (progress.done, progress.open)),
        Some((0, 1)),
        "it is not planned"
    );
}
