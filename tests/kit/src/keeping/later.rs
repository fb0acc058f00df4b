//! Checks for deferred batches and withdrawals in a queue.

use std::sync::Arc;
use std::time::Duration;

use pushgate::queue::{
    Admission, Admitted, AudienceBatch, BatchCompletion, BatchLease, DeferredPlan, Entry, Finished, Lease,
    LeaseRequest, Stage, WithdrawFilter, Withdrawal,
};
use pushgate::receipt::Progress;
use pushgate::{
    AppId, Audience, Delivery, DeliveryId, DeviceId, Message, NodeId, Notification, NotificationId, Queue,
    Skip, SkipReason, State, Timestamp, UserId,
};

use super::queue::{admission, delivery, finish};
use super::{T0, app, channel, user};

fn part(place: u32, due: Timestamp) -> AudienceBatch {
    let audience = Audience::Users(vec![user(&format!("u{place}"))]);
    AudienceBatch { place, due, audience, after: None, stage: Stage::Fresh }
}

fn postponed(app: &AppId, batches: Vec<AudienceBatch>) -> Admission {
    let request = Notification::new(app.clone(), Audience::All).title("t");
    Admission { deferred_plan: Some(DeferredPlan { request, batches }), ..admission(app, None, &[]) }
}

fn done(lease: &BatchLease, entries: Vec<Entry>, next: Vec<AudienceBatch>) -> BatchCompletion {
    let skip = Skip { user: None, device: None, reason: SkipReason::NoDevice };
    BatchCompletion {
        notification: lease.notification,
        place: lease.batch.place,
        epoch: lease.epoch,
        entries,
        skipped: vec![skip],
        next,
        withdrawal: None,
    }
}

/// Leases the due batches of this notification, because other checks may have left some of theirs.
async fn take(queue: &dyn Queue, node: NodeId, now: Timestamp, id: NotificationId) -> Vec<BatchLease> {
    let taken = queue.lease_batches(node, now, 1000).await.expect("take");
    taken.leases.into_iter().filter(|lease| lease.notification == id).collect()
}

fn entry(app: &AppId, id: NotificationId, index: u32) -> Entry {
    Entry { delivery: delivery(app, id, &[index]), due: T0, held_by: None }
}

pub(super) async fn promises(queue: &dyn Queue) {
    a_part_is_taken_when_it_is_due_and_once(queue).await;
    a_part_leaves_together_with_what_was_planned_of_it(queue).await;
    a_dead_nodes_parts_are_taken_over_and_its_word_is_fenced(queue).await;
    who_has_acknowledged_is_told_with_the_part(queue).await;
    what_is_taken_back_is_not_taken_any_more(queue).await;
    a_tag_takes_back_its_users_targets_and_no_others(queue).await;
    what_is_taken_back_while_it_is_held_does_not_come_again(queue).await;
    an_admission_withdraws_and_a_replay_of_it_does_not(queue).await;
    a_part_withdraws_with_the_end_of_its_lease_and_not_when_it_is_fenced(queue).await;
    receipts_come_in_pages(queue).await;
}

async fn a_part_is_taken_when_it_is_due_and_once(queue: &dyn Queue) {
    let (app, node, later) = (app("part-due"), NodeId::new(), T0 + Duration::from_secs(9));
    let asked = postponed(&app, vec![part(0, later), part(1, T0)]);
    let (id, request) = (asked.id, asked.deferred_plan.clone().expect("deferred plan").request);
    queue.admit(asked).await.expect("admit");
    let taken = take(queue, node, T0, id).await;
    assert_eq!((taken.len(), &taken[0].batch), (1, &part(1, T0)));
    assert_eq!((&taken[0].request, taken[0].created_at), (&request, T0));
    assert_eq!(take(queue, node, T0, id).await, [], "it is ours already");
    let next = queue.lease_batches(node, T0, 0).await.expect("take").next_due;
    assert!(next.is_some_and(|next| next <= later));
    assert_eq!(take(queue, node, later, id).await.len(), 1);
}

async fn a_part_leaves_together_with_what_was_planned_of_it(queue: &dyn Queue) {
    let (app, node) = (app("part-done"), NodeId::new());
    let asked = postponed(&app, vec![part(0, T0)]);
    let id = asked.id;
    queue.admit(asked).await.expect("admit");
    let lease = take(queue, node, T0, id).await.remove(0);
    let stale = BatchCompletion { epoch: 99, ..done(&lease, vec![entry(&app, id, 0)], Vec::new()) };
    assert_eq!(queue.finish_batch(stale).await.expect("finish"), Finished::Fenced);
    let finish = done(&lease, vec![entry(&app, id, 0)], vec![part(1, T0)]);
    assert_eq!(queue.finish_batch(finish.clone()).await.expect("finish"), Finished::Done);
    assert_eq!(queue.finish_batch(finish).await.expect("finish"), Finished::Fenced, "once");
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    assert_eq!(status.progress, Some(Progress { done: 1, open: 1 }));
    assert_eq!((status.skips, status.skipped.len()), (1, 1));
    assert_eq!(status.counts.get(&State::Queued), Some(&1));
    assert!(!status.is_settled());
    assert_eq!(take(queue, node, T0, id).await[0].batch, part(1, T0));
    queue.sweep(T0 + Duration::from_secs(99)).await.expect("sweep");
    assert!(queue.status(&app, id).await.expect("read").is_some(), "a part is open");
}

async fn a_dead_nodes_parts_are_taken_over_and_its_word_is_fenced(queue: &dyn Queue) {
    let (app, mine, other) = (app("part-dead"), NodeId::new(), NodeId::new());
    queue.renew(mine, T0).await.expect("renew");
    let asked = postponed(&app, vec![part(0, T0)]);
    let id = asked.id;
    queue.admit(asked).await.expect("admit");
    let first = take(queue, mine, T0, id).await.remove(0);
    assert_eq!(take(queue, other, T0, id).await, []);
    let second = take(queue, other, T0 + Duration::from_secs(1), id).await.remove(0);
    let late = queue.finish_batch(done(&first, vec![entry(&app, id, 0)], Vec::new())).await;
    assert_eq!(late.expect("finish"), Finished::Fenced);
    queue.release(other).await.expect("release");
    let third = take(queue, mine, T0 + Duration::from_secs(1), id).await.remove(0);
    assert!(third.epoch > second.epoch);
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    assert_eq!(status.counts.len(), 0, "nothing of it was planned twice");
}

async fn who_has_acknowledged_is_told_with_the_part(queue: &dyn Queue) {
    let (app, node, bob) = (app("part-ack"), NodeId::new(), user("bob"));
    let asked = postponed(&app, vec![part(0, T0)]);
    let id = asked.id;
    queue.admit(asked).await.expect("admit");
    let stranger = self::app("part-ack-stranger");
    assert!(!queue.acknowledge(&stranger, id, &bob).await.expect("ack"));
    assert!(queue.acknowledge(&app, id, &bob).await.expect("ack"));
    assert!(queue.acknowledge(&app, id, &bob).await.expect("ack"), "twice is as once");
    let lease = take(queue, node, T0, id).await.remove(0);
    assert_eq!(lease.acknowledged, std::slice::from_ref(&bob));
    queue.finish_batch(done(&lease, Vec::new(), Vec::new())).await.expect("finish");
    assert!(!queue.acknowledge(&app, id, &bob).await.expect("ack"), "nobody waits for it any more");
}

async fn what_is_taken_back_is_not_taken_any_more(queue: &dyn Queue) {
    let (app, node) = (app("withdraw"), NodeId::new());
    let mut asked = postponed(&app, vec![part(0, T0)]);
    let id = asked.id;
    asked.entries = vec![entry(&app, id, 0)];
    queue.admit(asked).await.expect("admit");
    let other = admission(&app, None, &[(T0, None)]);
    queue.admit(other.clone()).await.expect("admit");
    let stranger = self::app("withdraw-stranger");
    assert_eq!(queue.withdraw(&stranger, &WithdrawFilter::Id(id), T0).await.expect("withdraw"), 0);
    assert_eq!(queue.status(&app, id).await.expect("read").expect("kept").revoked_at, None);
    assert_eq!(queue.withdraw(&app, &WithdrawFilter::Id(id), T0).await.expect("withdraw"), 2);
    let again = T0 + Duration::from_secs(1);
    assert_eq!(queue.withdraw(&app, &WithdrawFilter::Id(id), again).await.expect("withdraw"), 0);
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    assert_eq!(status.revoked_at, Some(T0), "the first time counts");
    assert_eq!(status.receipts[0].state, State::Revoked);
    assert!(status.is_settled());
    assert_eq!(take(queue, node, T0, id).await, []);
    let want = LeaseRequest { node, app: app.clone(), channel: channel(), now: T0, max: 100 };
    let left = queue.lease(want).await.expect("take").leases;
    let ids: Vec<_> = left.iter().map(|lease| lease.delivery.message.id).collect();
    assert_eq!(ids, [other.id], "another notification is left alone");
}

/// Returns a delivery with a collapse key to these users.
fn ring(app: &AppId, id: NotificationId, users: &[&str]) -> Delivery {
    let indexes: Vec<u32> = (0..).take(users.len()).collect();
    let mut delivery = delivery(app, id, &indexes);
    let message = Message { collapse_key: Some("call".to_owned()), ..(*delivery.message).clone() };
    delivery.message = Arc::new(message);
    for (target, name) in delivery.targets.iter_mut().zip(users) {
        target.user = Some(user(name));
        target.device = DeviceId::new(name).ok();
    }
    delivery
}

fn rung(app: &AppId, users: &[&str], held_by: Option<NodeId>) -> (NotificationId, Admission) {
    let mut asked = admission(app, None, &[]);
    asked.entries = vec![Entry { delivery: ring(app, asked.id, users), due: T0, held_by }];
    (asked.id, asked)
}

fn tag(users: &[&str]) -> WithdrawFilter {
    let users: Vec<UserId> = users.iter().map(|name| user(name)).collect();
    WithdrawFilter::Tag { tag: "call".to_owned(), users, before: NotificationId::new() }
}

async fn a_tag_takes_back_its_users_targets_and_no_others(queue: &dyn Queue) {
    let (app, node) = (app("tag"), NodeId::new());
    let early = tag(&["ann", "bob"]);
    let (id, asked) = rung(&app, &["ann", "bob"], None);
    queue.admit(asked).await.expect("admit");
    queue.admit(admission(&app, None, &[(T0, None)])).await.expect("admit");
    assert_eq!(queue.withdraw(&app, &early, T0).await.expect("withdraw"), 0, "it was asked for later");
    assert_eq!(queue.withdraw(&app, &tag(&["ann"]), T0).await.expect("withdraw"), 1);
    let want = LeaseRequest { node, app: app.clone(), channel: channel(), now: T0, max: 100 };
    let leases: Vec<Lease> = queue.lease(want).await.expect("take").leases;
    let ring = leases.iter().find(|lease| lease.delivery.message.id == id).expect("bob's still rings");
    let users: Vec<_> = ring.delivery.targets.iter().filter_map(|target| target.user.clone()).collect();
    assert_eq!((users, leases.len()), (vec![user("bob")], 2));
    let status = queue.status(&app, id).await.expect("read").expect("kept");
    let states: Vec<_> = status.receipts.iter().map(|receipt| receipt.state).collect();
    assert_eq!(states, [State::Revoked, State::Queued]);
}

async fn what_is_taken_back_while_it_is_held_does_not_come_again(queue: &dyn Queue) {
    let (app, node, other) = (app("held"), NodeId::new(), NodeId::new());
    queue.renew(node, T0).await.expect("renew");
    let (_, first) = rung(&app, &["ann"], Some(node));
    let (_, second) = rung(&app, &["ann"], Some(node));
    let held = first.entries[0].delivery.clone();
    queue.admit(first).await.expect("admit");
    queue.admit(second).await.expect("admit");
    assert_eq!(queue.withdraw(&app, &tag(&["ann"]), T0).await.expect("withdraw"), 2);
    // The attempt of one ends, and would be made again.
    let again = Entry {
        delivery: Delivery { id: DeliveryId::new(), attempt: 2, ..held.clone() },
        due: T0,
        held_by: None,
    };
    let ended = queue.finish(finish(&held, 1, vec![again])).await;
    assert_eq!(ended.expect("finish"), Finished::Done);
    // Whoever held the other is dead.
    let later = T0 + Duration::from_secs(1);
    let want = LeaseRequest { node: other, app: app.clone(), channel: channel(), now: later, max: 100 };
    assert_eq!(queue.lease(want).await.expect("take").leases, []);
    assert!(!queue.lanes().await.expect("lanes").contains(&(app, channel())), "nothing is left behind");
}

/// Returns the withdrawal for these users and the collapse key of [`ring`].
fn withdrawal(app: &AppId, users: &[&str]) -> Option<Withdrawal> {
    Some(Withdrawal { app: app.clone(), filter: tag(users), at: T0 })
}

/// Returns the state of the first recipient of a notification.
async fn state(queue: &dyn Queue, app: &AppId, id: NotificationId) -> State {
    queue.status(app, id).await.expect("read").expect("kept").receipts[0].state
}

async fn an_admission_withdraws_and_a_replay_of_it_does_not(queue: &dyn Queue) {
    let app = app("withdrawing");
    let (earlier, asked) = rung(&app, &["ann"], None);
    queue.admit(asked).await.expect("admit");
    let removal =
        || Admission { withdrawal: withdrawal(&app, &["ann"]), ..admission(&app, Some("removal"), &[]) };
    assert_eq!(queue.admit(removal()).await.expect("admit"), Admitted::New);
    assert_eq!(state(queue, &app, earlier).await, State::Revoked);
    let (later, asked) = rung(&app, &["ann"], None);
    queue.admit(asked).await.expect("admit");
    assert!(matches!(queue.admit(removal()).await.expect("admit"), Admitted::Known(_)));
    assert_eq!(state(queue, &app, later).await, State::Queued, "a replay has no effect");
}

async fn a_part_withdraws_with_the_end_of_its_lease_and_not_when_it_is_fenced(queue: &dyn Queue) {
    let (app, node) = (app("part-withdrawing"), NodeId::new());
    let (ringing, asked) = rung(&app, &["ann"], None);
    queue.admit(asked).await.expect("admit");
    let removal = postponed(&app, vec![part(0, T0)]);
    let id = removal.id;
    queue.admit(removal).await.expect("admit");
    let lease = take(queue, node, T0, id).await.remove(0);
    let finish =
        BatchCompletion { withdrawal: withdrawal(&app, &["ann"]), ..done(&lease, Vec::new(), Vec::new()) };
    let stale = BatchCompletion { epoch: 99, ..finish.clone() };
    assert_eq!(queue.finish_batch(stale).await.expect("finish"), Finished::Fenced);
    assert_eq!(state(queue, &app, ringing).await, State::Queued);
    assert_eq!(queue.finish_batch(finish).await.expect("finish"), Finished::Done);
    assert_eq!(state(queue, &app, ringing).await, State::Revoked);
}

async fn receipts_come_in_pages(queue: &dyn Queue) {
    let (app, node) = (app("receipt-pages"), NodeId::new());
    let asked = admission(&app, None, &[(T0, Some(node)), (T0, Some(node)), (T0, Some(node))]);
    let id = asked.id;
    queue.admit(asked.clone()).await.expect("admit");
    for entry in &asked.entries[..2] {
        queue.finish(finish(&entry.delivery, 1, Vec::new())).await.expect("finish");
    }
    let page = async |after| {
        let receipts = queue.receipts(id, after, 1).await.expect("read");
        receipts.iter().map(|receipt| receipt.index).collect::<Vec<_>>()
    };
    assert_eq!((page(None).await, page(Some(0)).await, page(Some(1)).await), (vec![0], vec![1], vec![]));
}
