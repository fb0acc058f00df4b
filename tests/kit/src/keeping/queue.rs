//! Checks for queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pushgate::device_event::EventClaims;
use pushgate::queue::{
    Admission, Admitted, Completion, Entry, Finished, Idempotency, KeyClaim, LeaseRequest,
};
use pushgate::{
    AppId, Delivery, DeliveryId, DeviceEvent, DeviceEvents, IdempotencyKey, Message, NodeId, NotificationId,
    Queue, Receipt, RequestDigest, State, Target, Timestamp,
};

use super::{T0, address, app, channel};

/// Digest of the requests with an idempotency key.
const DIGEST: RequestDigest = RequestDigest::from_bytes([0xff; 32]);

pub(super) fn delivery(app: &AppId, id: NotificationId, indexes: &[u32]) -> Delivery {
    let message = Message {
        title: "t".into(),
        content: "c".into(),
        ttl: Duration::from_secs(60),
        ..Message::new(id, app.clone(), T0)
    };
    let target = |index: &u32| Target::bare(*index, address("t"));
    Delivery {
        id: DeliveryId::new(),
        channel: channel(),
        message: Arc::new(message),
        targets: indexes.iter().map(target).collect(),
        attempt: 1,
    }
}

pub(super) fn admission(app: &AppId, key: Option<&str>, due: &[(Timestamp, Option<NodeId>)]) -> Admission {
    let id = NotificationId::new();
    let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let entry = |(at, (due, held_by)): (usize, &(Timestamp, Option<NodeId>))| Entry {
        delivery: delivery(app, id, &[index(at)]),
        due: *due,
        held_by: *held_by,
    };
    Admission {
        id,
        app: app.clone(),
        idempotency: key
            .map(|key| Idempotency { key: IdempotencyKey::new(key).expect("a valid key"), digest: DIGEST }),
        created_at: T0,
        keep_until: T0,
        skipped: Vec::new(),
        tag: None,
        deferred_plan: None,
        withdrawal: None,
        entries: due.iter().enumerate().map(entry).collect(),
    }
}

fn want(app: &AppId, node: NodeId, now: Timestamp) -> LeaseRequest {
    LeaseRequest { node, app: app.clone(), channel: channel(), now, max: 100 }
}

pub(super) fn finish(delivery: &Delivery, epoch: u64, again: Vec<Entry>) -> Completion {
    let receipt = |target: &Target| Receipt {
        index: target.index,
        device: None,
        user: None,
        channel: channel(),
        state: State::Sent,
        vendor_id: Some("v".to_owned()),
        fault: None,
        attempts: 1,
        at: T0,
        next_at: None,
        events: DeviceEvents::default(),
    };
    Completion {
        delivery: delivery.id,
        notification: delivery.message.id,
        app: delivery.message.app.clone(),
        epoch,
        receipts: delivery.targets.iter().map(receipt).collect(),
        again,
    }
}

/// Checks every promise of [`Queue`].
///
/// # Panics
/// Panics if one is broken.
pub async fn queue(queue: &dyn Queue) {
    a_key_is_claimed_once(queue).await;
    take_gives_what_is_due_earliest_first(queue).await;
    a_living_nodes_leases_are_not_taken_and_a_dead_ones_are(queue).await;
    a_stale_lease_is_fenced(queue).await;
    status_lists_untried_targets_as_queued(queue).await;
    a_finished_notification_is_kept_until_its_time(queue).await;
    what_a_device_tells_is_kept_once_and_outlives_every_attempt(queue).await;
    an_installation_has_one_key_for_ever(queue).await;
    super::later::promises(queue).await;
    super::expiry::promises(queue).await;
}

async fn a_key_is_claimed_once(queue: &dyn Queue) {
    let app = app("keys");
    let key = IdempotencyKey::new("k").expect("a valid key");
    assert_eq!(queue.find_claim(&app, &key).await.expect("find"), None, "it is free");
    let first = admission(&app, Some("k"), &[(T0, None)]);
    let id = first.id;
    assert_eq!(queue.admit(first).await.expect("admit"), Admitted::New);
    let claim = queue.find_claim(&app, &key).await.expect("find");
    assert_eq!(claim, Some(KeyClaim { id, digest: Some(DIGEST) }));
    let stranger = self::app("keys-stranger");
    assert_eq!(queue.find_claim(&stranger, &key).await.expect("find"), None, "another app's key");
    let second = admission(&app, Some("k"), &[(T0, None)]);
    let unstored = second.id;
    let claim = KeyClaim { id, digest: Some(DIGEST) };
    assert_eq!(queue.admit(second).await.expect("admit"), Admitted::Known(claim));
    assert_eq!(queue.status(&app, unstored).await.expect("read"), None, "nothing of it is stored");
    let taken = queue.lease(want(&app, NodeId::new(), T0)).await.expect("take");
    assert_eq!(taken.leases.len(), 1);
}

async fn take_gives_what_is_due_earliest_first(queue: &dyn Queue) {
    let (app, node) = (app("order"), NodeId::new());
    let at = |s| T0 + Duration::from_secs(s);
    let asked = admission(&app, None, &[(at(2), None), (at(1), None), (at(9), None)]);
    queue.admit(asked).await.expect("admit");
    assert!(queue.lanes().await.expect("lanes").contains(&(app.clone(), channel())));
    let none = queue.lease(want(&app, node, T0)).await.expect("take");
    assert_eq!((none.leases.len(), none.next_due), (0, Some(at(1))));
    let taken = queue.lease(want(&app, node, at(5))).await.expect("take");
    let order: Vec<_> = taken.leases.iter().map(|lease| lease.delivery.targets[0].index).collect();
    assert_eq!((order, taken.next_due), (vec![1, 0], Some(at(9))));
    assert_eq!(queue.lease(want(&app, node, at(5))).await.expect("take").leases, [], "they are ours already");
}

async fn a_living_nodes_leases_are_not_taken_and_a_dead_ones_are(queue: &dyn Queue) {
    let (app, mine, other) = (app("nodes"), NodeId::new(), NodeId::new());
    queue.renew(mine, T0).await.expect("renew");
    queue.admit(admission(&app, None, &[(T0, Some(mine))])).await.expect("admit");
    assert_eq!(queue.lease(want(&app, other, T0)).await.expect("take").leases, []);
    let later = T0 + Duration::from_secs(1);
    let taken = queue.lease(want(&app, other, later)).await.expect("take");
    assert_eq!(taken.leases.len(), 1, "its owner is dead");
    assert!(taken.leases[0].epoch > 1);
    let delivery = &taken.leases[0].delivery;
    assert_eq!(queue.finish(finish(delivery, 1, Vec::new())).await.expect("finish"), Finished::Fenced);
    queue.release(other).await.expect("release");
    let again = queue.lease(want(&app, mine, later)).await.expect("take");
    assert_eq!(again.leases.len(), 1, "given back");
    assert!(again.leases[0].epoch > taken.leases[0].epoch);
}

async fn a_stale_lease_is_fenced(queue: &dyn Queue) {
    let (app, node) = (app("fence"), NodeId::new());
    let asked = admission(&app, None, &[(T0, Some(node))]);
    let (id, delivery) = (asked.id, asked.entries[0].delivery.clone());
    queue.admit(asked).await.expect("admit");
    let again = Entry { delivery: self::delivery(&app, id, &[0]), due: T0, held_by: None };
    let stale = finish(&delivery, 7, vec![again]);
    assert_eq!(queue.finish(stale).await.expect("finish"), Finished::Fenced);
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    assert_eq!(status.receipts[0].state, State::Queued, "nothing was written");
    assert_eq!(queue.finish(finish(&delivery, 1, Vec::new())).await.expect("finish"), Finished::Done);
    assert_eq!(queue.finish(finish(&delivery, 1, Vec::new())).await.expect("finish"), Finished::Fenced);
}

async fn status_lists_untried_targets_as_queued(queue: &dyn Queue) {
    let (app, node) = (app("status"), NodeId::new());
    let asked = admission(&app, None, &[(T0, Some(node)), (T0, Some(node))]);
    let (id, first) = (asked.id, asked.entries[0].delivery.clone());
    queue.admit(asked).await.expect("admit");
    queue.finish(finish(&first, 1, Vec::new())).await.expect("finish");
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    let states: Vec<_> = status.receipts.iter().map(|receipt| (receipt.index, receipt.state)).collect();
    assert_eq!(states, [(0, State::Sent), (1, State::Queued)]);
    let stranger = self::app("stranger");
    assert_eq!(queue.status(&stranger, id).await.expect("read"), None, "another app's notification");
}

async fn a_finished_notification_is_kept_until_its_time(queue: &dyn Queue) {
    let (app, node) = (app("sweep"), NodeId::new());
    let asked = admission(&app, Some("k"), &[(T0, Some(node))]);
    let (id, delivery) = (asked.id, asked.entries[0].delivery.clone());
    queue.admit(asked).await.expect("admit");
    let later = T0 + Duration::from_secs(1);
    queue.sweep(later).await.expect("sweep");
    assert!(queue.status(&app, id).await.expect("read").is_some(), "it is not finished");
    queue.finish(finish(&delivery, 1, Vec::new())).await.expect("finish");
    queue.sweep(T0).await.expect("sweep");
    assert!(queue.status(&app, id).await.expect("read").is_some(), "its time has not come");
    assert!(queue.sweep(later).await.expect("sweep") > 0);
    assert!(queue.status(&app, id).await.expect("read").is_none());
    let again = admission(&app, Some("k"), &[(T0, None)]);
    assert_eq!(queue.admit(again).await.expect("admit"), Admitted::New, "the key is free again");
}

async fn what_a_device_tells_is_kept_once_and_outlives_every_attempt(queue: &dyn Queue) {
    let (app, node) = (app("echoes"), NodeId::new());
    let asked = admission(&app, None, &[(T0, Some(node)), (T0, Some(node))]);
    let (id, first) = (asked.id, asked.entries[0].delivery.clone());
    queue.admit(asked.clone()).await.expect("admit");
    let at = |seconds| T0 + Duration::from_secs(seconds);
    let claims = |index| EventClaims { notification: id, index };
    let hear = async |index, event, at| {
        queue.record_event(claims(index), event, at).await.expect("hear").expect("kept")
    };
    let early = hear(0, DeviceEvent::Arrived, at(1)).await;
    assert_eq!(
        (early.is_first, &early.app, early.receipt),
        (true, &app, None),
        "before its attempt has ended"
    );
    queue.finish(finish(&first, 1, Vec::new())).await.expect("finish");
    assert!(!hear(0, DeviceEvent::Arrived, at(2)).await.is_first);
    let clicked = hear(0, DeviceEvent::Clicked, at(3)).await;
    let echoes = DeviceEvents { arrived_at: Some(at(1)), clicked_at: Some(at(3)), dismissed_at: None };
    assert_eq!((clicked.is_first, clicked.receipt.map(|receipt| receipt.events)), (true, Some(echoes)));
    assert!(hear(1, DeviceEvent::Arrived, at(4)).await.is_first, "another device speaks for itself");
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    assert_eq!(status.events, BTreeMap::from([(DeviceEvent::Arrived, 2), (DeviceEvent::Clicked, 1)]));
    let other = DeviceEvents { arrived_at: Some(at(4)), ..DeviceEvents::default() };
    let told: Vec<_> = status.receipts.iter().map(|receipt| receipt.events).collect();
    assert_eq!(told, [echoes, other], "of one that was sent and of one that was not yet");
    assert_eq!(queue.receipts(id, None, 9).await.expect("read")[0].events, echoes);
    queue.finish(finish(&asked.entries[1].delivery, 1, Vec::new())).await.expect("finish");
    queue.sweep(at(9)).await.expect("sweep");
    assert_eq!(
        queue.record_event(claims(0), DeviceEvent::Clicked, at(9)).await.expect("hear"),
        None,
        "too late"
    );
}

async fn an_installation_has_one_key_for_ever(queue: &dyn Queue) {
    let first = queue.installation_secret(&"one".into()).await.expect("read");
    assert_eq!(queue.installation_secret(&"another".into()).await.expect("read"), first);
}
