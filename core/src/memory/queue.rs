//! Queue of accepted notifications in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::stored_notification::StoredNotification;
use crate::delivery::{Delivery, Target};
use crate::device_event::{DeviceEvent, EventClaims};
use crate::ids::{AppId, ChannelName, DeliveryId, IdempotencyKey, NodeId, NotificationId, UserId};
use crate::queue::{
    Admission, Admitted, AudienceBatch, BatchCompletion, BatchLease, Completion, Entry, Finished,
    Idempotency, KeyClaim, Lease, LeaseRequest, LeasedBatches, LeasedDeliveries, Queue, RecordedEvent,
    WithdrawFilter, Withdrawal,
};
use crate::receipt::{Progress, Receipt, State, Status};
use crate::secret::Secret;
use crate::store::StorageError;
use crate::timestamp::Timestamp;

/// Queue in memory.
#[derive(Default)]
pub struct MemoryQueue(Mutex<QueueState>);

#[derive(Default)]
struct QueueState {
    notifications: HashMap<NotificationId, StoredNotification>,
    keys: HashMap<(AppId, IdempotencyKey), KeyClaim>,
    waiting: HashMap<DeliveryId, Waiting>,
    lanes: BTreeMap<(AppId, ChannelName), BTreeSet<(Timestamp, DeliveryId)>>,
    batches: BTreeMap<(NotificationId, u32), WaitingBatch>,
    heartbeats: HashMap<NodeId, Timestamp>,
    key: Option<Secret>,
}

struct WaitingBatch {
    batch: AudienceBatch,
    owner: Option<NodeId>,
    epoch: u64,
}

struct Waiting {
    delivery: Delivery,
    due: Timestamp,
    owner: Option<NodeId>,
    epoch: u64,
}

impl QueueState {
    fn enqueue(&mut self, entry: Entry) {
        let Entry { delivery, due, held_by } = entry;
        let lane = (delivery.message.app.clone(), delivery.channel.clone());
        self.lanes.entry(lane).or_default().insert((due, delivery.id));
        if let Some(stored) = self.notifications.get_mut(&delivery.message.id) {
            stored.open.insert(delivery.id);
        }
        let epoch = u64::from(held_by.is_some());
        self.waiting.insert(delivery.id, Waiting { delivery, due, owner: held_by, epoch });
    }

    fn insert_batches(&mut self, id: NotificationId, batches: Vec<AudienceBatch>) {
        for batch in batches {
            self.batches.insert((id, batch.place), WaitingBatch { batch, owner: None, epoch: 0 });
        }
    }

    /// Applies a withdrawal. Returns the number of withdrawn recipients and batches.
    fn withdraw(&mut self, withdrawal: &Withdrawal) -> u64 {
        let Withdrawal { app, filter, at } = withdrawal;
        let ids: Vec<_> = self.waiting.keys().copied().collect();
        let mut count = 0;
        for id in ids {
            count += self.withdraw_targets(id, app, filter, *at);
        }
        if let WithdrawFilter::Id(id) = filter
            && let Some(stored) = self.notifications.get_mut(id).filter(|stored| stored.app == *app)
        {
            stored.revoked_at.get_or_insert(*at);
            let before = self.batches.len();
            self.batches.retain(|(notification, _), _| notification != id);
            count += (before - self.batches.len()) as u64;
        }
        count
    }

    /// Withdraws the selected targets of one delivery. Returns their number.
    fn withdraw_targets(
        &mut self,
        id: DeliveryId,
        app: &AppId,
        filter: &WithdrawFilter,
        at: Timestamp,
    ) -> u64 {
        let Some(waiting) = self.waiting.get_mut(&id) else { return 0 };
        let message = Arc::clone(&waiting.delivery.message);
        if message.app != *app {
            return 0;
        }
        let withdrawn: Vec<Target> =
            waiting.delivery.targets.extract_if(.., |t| filter.matches(&message, t)).collect();
        // A leased delivery stays without targets until its attempt or its lease ends.
        let is_obsolete = waiting.delivery.targets.is_empty() && waiting.owner.is_none();
        let receipts: Vec<_> =
            withdrawn.iter().map(|target| Receipt::withdrawn(&waiting.delivery, target, at)).collect();
        if is_obsolete {
            self.dequeue(id);
        }
        if let Some(stored) = self.notifications.get_mut(&message.id) {
            stored.receipts.extend(receipts.into_iter().map(|receipt| (receipt.index, receipt)));
        }
        withdrawn.len() as u64
    }

    fn dequeue(&mut self, id: DeliveryId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        let lane = (waiting.delivery.message.app.clone(), waiting.delivery.channel.clone());
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.remove(&(waiting.due, id));
            if queue.is_empty() {
                self.lanes.remove(&lane);
            }
        }
        if let Some(stored) = self.notifications.get_mut(&waiting.delivery.message.id) {
            stored.open.remove(&id);
        }
        Some(waiting)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError> {
        let mut state = self.0.lock();
        if let Some(Idempotency { key, digest }) = &admission.idempotency {
            let key = (admission.app.clone(), key.clone());
            if let Some(claim) = state.keys.get(&key) {
                return Ok(Admitted::Known(*claim));
            }
            state.keys.insert(key, KeyClaim { id: admission.id, digest: Some(*digest) });
        }
        if let Some(withdrawal) = &admission.withdrawal {
            state.withdraw(withdrawal);
        }
        let stored = StoredNotification {
            app: admission.app,
            key: admission.idempotency.map(|idempotency| idempotency.key),
            created_at: admission.created_at,
            keep_until: admission.keep_until,
            revoked_at: None,
            tag: admission.tag,
            request: admission.deferred_plan.as_ref().map(|plan| plan.request.clone()),
            planned_batches: 0,
            skips: 0,
            skipped: Vec::new(),
            acknowledged: BTreeSet::new(),
            receipts: BTreeMap::new(),
            events: BTreeMap::new(),
            open: BTreeSet::new(),
        };
        let stored = state.notifications.entry(admission.id).insert_entry(stored).into_mut();
        stored.add_skipped(admission.skipped);
        state.insert_batches(
            admission.id,
            admission.deferred_plan.map(|plan| plan.batches).unwrap_or_default(),
        );
        for entry in admission.entries {
            state.enqueue(entry);
        }
        Ok(Admitted::New)
    }

    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError> {
        Ok(self.0.lock().keys.get(&(app.clone(), key.clone())).copied())
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeasedDeliveries, StorageError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        let mut taken = LeasedDeliveries::default();
        let queue = state.lanes.get(&(request.app, request.channel)).cloned().unwrap_or_default();
        for (due, id) in &queue {
            let heartbeats = &state.heartbeats;
            let is_alive = |node: NodeId| {
                node == request.node || heartbeats.get(&node).is_some_and(|t| *t >= request.now)
            };
            let Some(waiting) = state.waiting.get_mut(id) else { continue };
            if waiting.delivery.targets.is_empty() && !waiting.owner.is_some_and(is_alive) {
                state.dequeue(*id);
                continue;
            }
            if waiting.owner.is_some_and(is_alive) {
                continue;
            }
            if *due > request.now || taken.leases.len() == request.max {
                taken.next_due = Some(*due);
                break;
            }
            waiting.owner = Some(request.node);
            waiting.epoch += 1;
            taken.leases.push(Lease { delivery: waiting.delivery.clone(), epoch: waiting.epoch });
        }
        Ok(taken)
    }

    async fn lease_expired(
        &self,
        node: NodeId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Lease>, StorageError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        let heartbeats = &state.heartbeats;
        let is_alive =
            |owner: NodeId| owner == node || heartbeats.get(&owner).is_some_and(|until| *until >= now);
        let is_expired = |waiting: &&mut Waiting| {
            waiting.delivery.message.expires_at() <= now && !waiting.owner.is_some_and(is_alive)
        };
        let mut leases = Vec::new();
        for waiting in state.waiting.values_mut().filter(is_expired).take(max) {
            waiting.owner = Some(node);
            waiting.epoch += 1;
            leases.push(Lease { delivery: waiting.delivery.clone(), epoch: waiting.epoch });
        }
        Ok(leases)
    }

    async fn count_waiting(&self, app: &AppId, channel: &ChannelName) -> Result<u64, StorageError> {
        let state = self.0.lock();
        let is_waiting = |waiting: &&Waiting| {
            waiting.owner.is_none()
                && waiting.delivery.message.app == *app
                && waiting.delivery.channel == *channel
        };
        Ok(state.waiting.values().filter(is_waiting).count() as u64)
    }

    async fn finish(&self, finish: Completion) -> Result<Finished, StorageError> {
        let mut state = self.0.lock();
        if state.waiting.get(&finish.delivery).is_none_or(|waiting| waiting.epoch != finish.epoch) {
            return Ok(Finished::Fenced);
        }
        let targets =
            state.dequeue(finish.delivery).map(|waiting| waiting.delivery.targets).unwrap_or_default();
        if let Some(stored) = state.notifications.get_mut(&finish.notification) {
            stored.receipts.extend(finish.receipts.into_iter().map(|receipt| (receipt.index, receipt)));
        }
        for mut entry in finish.again {
            // Targets that were withdrawn during the attempt are not retried.
            entry.delivery.targets.retain(|retry| targets.iter().any(|target| target.index == retry.index));
            if !entry.delivery.targets.is_empty() {
                state.enqueue(entry);
            }
        }
        Ok(Finished::Done)
    }

    async fn lease_batches(
        &self,
        node: NodeId,
        now: Timestamp,
        limit: usize,
    ) -> Result<LeasedBatches, StorageError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        let is_alive =
            |owner: NodeId| owner == node || state.heartbeats.get(&owner).is_some_and(|t| *t >= now);
        let mut free: Vec<_> =
            state.batches.iter_mut().filter(|(_, waiting)| !waiting.owner.is_some_and(is_alive)).collect();
        free.sort_by_key(|(key, waiting)| (waiting.batch.due, **key));
        let mut taken = LeasedBatches::default();
        for ((id, _), waiting) in free {
            if waiting.batch.due > now || taken.leases.len() == limit {
                taken.next_due = Some(waiting.batch.due);
                break;
            }
            let Some(stored) = state.notifications.get(id) else { continue };
            let Some(request) = stored.request.clone() else { continue };
            waiting.owner = Some(node);
            waiting.epoch += 1;
            taken.leases.push(BatchLease {
                notification: *id,
                created_at: stored.created_at,
                request,
                batch: waiting.batch.clone(),
                acknowledged: stored.acknowledged.iter().cloned().collect(),
                epoch: waiting.epoch,
            });
        }
        Ok(taken)
    }

    async fn finish_batch(&self, finish: BatchCompletion) -> Result<Finished, StorageError> {
        let mut state = self.0.lock();
        let key = (finish.notification, finish.place);
        if state.batches.get(&key).is_none_or(|waiting| waiting.epoch != finish.epoch) {
            return Ok(Finished::Fenced);
        }
        state.batches.remove(&key);
        if let Some(withdrawal) = &finish.withdrawal {
            state.withdraw(withdrawal);
        }
        if let Some(stored) = state.notifications.get_mut(&finish.notification) {
            stored.planned_batches += 1;
            stored.add_skipped(finish.skipped);
        }
        for entry in finish.entries {
            state.enqueue(entry);
        }
        state.insert_batches(finish.notification, finish.next);
        Ok(Finished::Done)
    }

    async fn postpone_batch(&self, lease: &BatchLease, due: Timestamp) -> Result<Finished, StorageError> {
        let mut state = self.0.lock();
        let batch = state.batches.get_mut(&(lease.notification, lease.batch.place));
        let Some(waiting) = batch.filter(|waiting| waiting.epoch == lease.epoch) else {
            return Ok(Finished::Fenced);
        };
        waiting.owner = None;
        waiting.batch.due = due;
        Ok(Finished::Done)
    }

    async fn withdraw(
        &self,
        app: &AppId,
        filter: &WithdrawFilter,
        at: Timestamp,
    ) -> Result<u64, StorageError> {
        let withdrawal = Withdrawal { app: app.clone(), filter: filter.clone(), at };
        Ok(self.0.lock().withdraw(&withdrawal))
    }

    async fn acknowledge(
        &self,
        app: &AppId,
        id: NotificationId,
        user: &UserId,
    ) -> Result<bool, StorageError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        let waits = state.batches.keys().any(|(notification, _)| *notification == id);
        let stored = state.notifications.get_mut(&id).filter(|stored| stored.app == *app && waits);
        Ok(stored.map(|stored| stored.acknowledged.insert(user.clone())).is_some())
    }

    async fn record_event(
        &self,
        claims: EventClaims,
        event: DeviceEvent,
        at: Timestamp,
    ) -> Result<Option<RecordedEvent>, StorageError> {
        let mut state = self.0.lock();
        let Some(stored) = state.notifications.get_mut(&claims.notification) else { return Ok(None) };
        let events = stored.events.entry(claims.index).or_default();
        let is_first = events.record(event, at);
        let receipt = stored.receipts.get(&claims.index).cloned();
        let receipt = receipt.map(|receipt| Receipt { events: *events, ..receipt });
        Ok(Some(RecordedEvent { app: stored.app.clone(), receipt, is_first }))
    }

    async fn installation_secret(&self, fresh: &Secret) -> Result<Secret, StorageError> {
        Ok(self.0.lock().key.get_or_insert_with(|| fresh.clone()).clone())
    }

    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError> {
        self.0.lock().heartbeats.insert(node, until);
        Ok(())
    }

    async fn release(&self, node: NodeId) -> Result<(), StorageError> {
        let mut state = self.0.lock();
        state.heartbeats.remove(&node);
        for waiting in state.waiting.values_mut().filter(|waiting| waiting.owner == Some(node)) {
            waiting.owner = None;
        }
        for waiting in state.batches.values_mut().filter(|waiting| waiting.owner == Some(node)) {
            waiting.owner = None;
        }
        Ok(())
    }

    async fn receipts(
        &self,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Receipt>, StorageError> {
        let state = self.0.lock();
        let Some(stored) = state.notifications.get(&id) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = stored.receipts.range((from, Bound::Unbounded)).take(limit);
        Ok(page
            .map(|(index, receipt)| Receipt { events: stored.events_of(*index), ..receipt.clone() })
            .collect())
    }

    async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError> {
        let state = self.0.lock();
        let Some(stored) = state.notifications.get(&id).filter(|stored| stored.app == *app) else {
            return Ok(None);
        };
        let limit = limit.min(Status::MAX_PAGE);
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut tried = stored.receipts.range(behind).skip(limit.saturating_sub(1)).map(|(index, _)| *index);
        let next = tried.next().filter(|_| limit > 0);
        let mut receipts = stored.receipts.clone();
        for waiting in stored.open.iter().filter_map(|id| state.waiting.get(id)) {
            for target in &waiting.delivery.targets {
                let untried = || Receipt::untried(&waiting.delivery, target, stored.created_at, waiting.due);
                receipts.entry(target.index).or_insert_with(untried);
            }
        }
        let mut counts: BTreeMap<State, u64> = BTreeMap::new();
        for receipt in receipts.values() {
            *counts.entry(receipt.state).or_default() += 1;
        }
        let open = state.batches.keys().filter(|(notification, _)| *notification == id).count() as u64;
        let progress = Progress { done: stored.planned_batches, open };
        Ok(Some(Status {
            id,
            created_at: stored.created_at,
            revoked_at: stored.revoked_at,
            tag: stored.tag.clone(),
            progress: stored.request.is_some().then_some(progress),
            counts,
            events: DeviceEvent::ALL.into_iter().filter_map(|event| stored.count_events(event)).collect(),
            skips: stored.skips,
            skipped: stored.skipped.clone(),
            receipts: receipts
                .into_iter()
                // Recipients without an attempt are on the first page only.
                .filter(|(index, _)| {
                    after.is_none_or(|after| *index > after && stored.receipts.contains_key(index))
                })
                .take(limit)
                .map(|(index, receipt)| Receipt { events: stored.events_of(index), ..receipt })
                .collect(),
            next,
        }))
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError> {
        let mut state = self.0.lock();
        let state = &mut *state;
        let before = state.notifications.len();
        let batches = &state.batches;
        state.notifications.retain(|id, stored| {
            let planned = batches.range((*id, 0)..=(*id, u32::MAX)).next().is_none();
            let stays = stored.keep_until >= now || !stored.open.is_empty() || !planned;
            if !stays && let Some(key) = stored.key.take() {
                state.keys.remove(&(stored.app.clone(), key));
            }
            stays
        });
        Ok((before - state.notifications.len()) as u64)
    }

    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError> {
        Ok(self.0.lock().lanes.keys().cloned().collect())
    }
}
