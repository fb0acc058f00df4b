//! Accepted notifications in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::delivery::{Delivery, Target};
use crate::echo::{Echo, Echoes, Speaker};
use crate::notification::Notification;
use crate::queue::{
    Admission, Admitted, Entry, Finish, Finished, Heard, Idempotency, KeyClaim, Lease, Part, PartFinish,
    PartLease, Queue, Taken, TakenParts, Want, Which, Withdrawal,
};
use crate::receipt::{Progress, Receipt, Skip, State, Status};
use crate::store::StorageError;
use crate::words::{
    AppId, ChannelName, DeliveryId, IdempotencyKey, NodeId, NotificationId, Secret, Timestamp, UserId,
};

/// Keeps accepted notifications in memory.
#[derive(Default)]
pub struct MemoryQueue(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    notifications: HashMap<NotificationId, Kept>,
    keys: HashMap<(AppId, IdempotencyKey), KeyClaim>,
    waiting: HashMap<DeliveryId, Waiting>,
    lanes: BTreeMap<(AppId, ChannelName), BTreeSet<(Timestamp, DeliveryId)>>,
    parts: BTreeMap<(NotificationId, u32), WaitingPart>,
    alive: HashMap<NodeId, Timestamp>,
    key: Option<Secret>,
}

struct Kept {
    app: AppId,
    key: Option<IdempotencyKey>,
    created_at: Timestamp,
    keep_until: Timestamp,
    revoked_at: Option<Timestamp>,
    tag: Option<String>,
    ask: Option<Notification>,
    parts_done: u64,
    skips: u64,
    skipped: Vec<Skip>,
    acknowledged: BTreeSet<UserId>,
    receipts: BTreeMap<u32, Receipt>,
    echoes: BTreeMap<u32, Echoes>,
    open: BTreeSet<DeliveryId>,
}

impl Kept {
    fn echoes_of(&self, index: u32) -> Echoes {
        self.echoes.get(&index).copied().unwrap_or_default()
    }

    /// How many targets told this, unless none did.
    fn told(&self, echo: Echo) -> Option<(Echo, u64)> {
        let number = self.echoes.values().filter(|echoes| echoes.at(echo).is_some()).count() as u64;
        (number > 0).then_some((echo, number))
    }

    fn skip(&mut self, skipped: Vec<Skip>) {
        self.skips += skipped.len() as u64;
        let room = Status::MOST.saturating_sub(self.skipped.len());
        self.skipped.extend(skipped.into_iter().take(room));
    }
}

struct WaitingPart {
    part: Part,
    owner: Option<NodeId>,
    epoch: u64,
}

struct Waiting {
    delivery: Delivery,
    due: Timestamp,
    owner: Option<NodeId>,
    epoch: u64,
}

impl Desk {
    fn enqueue(&mut self, entry: Entry) {
        let Entry { delivery, due, held_by } = entry;
        let lane = (delivery.message.app.clone(), delivery.channel.clone());
        self.lanes.entry(lane).or_default().insert((due, delivery.id));
        if let Some(kept) = self.notifications.get_mut(&delivery.message.id) {
            kept.open.insert(delivery.id);
        }
        let epoch = u64::from(held_by.is_some());
        self.waiting.insert(delivery.id, Waiting { delivery, due, owner: held_by, epoch });
    }

    fn wait(&mut self, id: NotificationId, parts: Vec<Part>) {
        for part in parts {
            self.parts.insert((id, part.place), WaitingPart { part, owner: None, epoch: 0 });
        }
    }

    /// Withdraws what is meant. Returns the number of addresses and parts.
    fn withdraw(&mut self, withdrawal: &Withdrawal) -> u64 {
        let Withdrawal { app, which, at } = withdrawal;
        let ids: Vec<_> = self.waiting.keys().copied().collect();
        let mut count = 0;
        for id in ids {
            count += self.take_back(id, app, which, *at);
        }
        if let Which::Id(id) = which
            && let Some(kept) = self.notifications.get_mut(id).filter(|kept| kept.app == *app)
        {
            kept.revoked_at.get_or_insert(*at);
            let before = self.parts.len();
            self.parts.retain(|(of, _), _| of != id);
            count += (before - self.parts.len()) as u64;
        }
        count
    }

    /// Takes back what `which` means of one delivery. How many targets.
    fn take_back(&mut self, id: DeliveryId, app: &AppId, which: &Which, at: Timestamp) -> u64 {
        let Some(waiting) = self.waiting.get_mut(&id) else { return 0 };
        let message = Arc::clone(&waiting.delivery.message);
        if message.app != *app {
            return 0;
        }
        let taken: Vec<Target> =
            waiting.delivery.targets.extract_if(.., |t| which.takes(&message, t)).collect();
        // One that is held stays, empty, until its attempt ends or its holder dies.
        let gone = waiting.delivery.targets.is_empty() && waiting.owner.is_none();
        let receipts: Vec<_> =
            taken.iter().map(|target| Receipt::withdrawn(&waiting.delivery, target, at)).collect();
        if gone {
            self.dequeue(id);
        }
        if let Some(kept) = self.notifications.get_mut(&message.id) {
            kept.receipts.extend(receipts.into_iter().map(|receipt| (receipt.index, receipt)));
        }
        taken.len() as u64
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
        if let Some(kept) = self.notifications.get_mut(&waiting.delivery.message.id) {
            kept.open.remove(&id);
        }
        Some(waiting)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError> {
        let mut desk = self.0.lock();
        if let Some(Idempotency { key, digest }) = &admission.idempotency {
            let key = (admission.app.clone(), key.clone());
            if let Some(claim) = desk.keys.get(&key) {
                return Ok(Admitted::Known(*claim));
            }
            desk.keys.insert(key, KeyClaim { id: admission.id, digest: Some(*digest) });
        }
        if let Some(withdrawal) = &admission.withdrawal {
            desk.withdraw(withdrawal);
        }
        let kept = Kept {
            app: admission.app,
            key: admission.idempotency.map(|idempotency| idempotency.key),
            created_at: admission.created_at,
            keep_until: admission.keep_until,
            revoked_at: None,
            tag: admission.tag,
            ask: admission.later.as_ref().map(|later| later.ask.clone()),
            parts_done: 0,
            skips: 0,
            skipped: Vec::new(),
            acknowledged: BTreeSet::new(),
            receipts: BTreeMap::new(),
            echoes: BTreeMap::new(),
            open: BTreeSet::new(),
        };
        let kept = desk.notifications.entry(admission.id).insert_entry(kept).into_mut();
        kept.skip(admission.skipped);
        desk.wait(admission.id, admission.later.map(|later| later.parts).unwrap_or_default());
        for entry in admission.entries {
            desk.enqueue(entry);
        }
        Ok(Admitted::New)
    }

    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError> {
        Ok(self.0.lock().keys.get(&(app.clone(), key.clone())).copied())
    }

    async fn take(&self, want: Want) -> Result<Taken, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let mut taken = Taken::default();
        let queue = desk.lanes.get(&(want.app, want.channel)).cloned().unwrap_or_default();
        for (due, id) in &queue {
            let alive = &desk.alive;
            let lives = |node: NodeId| node == want.node || alive.get(&node).is_some_and(|t| *t >= want.now);
            let Some(waiting) = desk.waiting.get_mut(id) else { continue };
            if waiting.delivery.targets.is_empty() && !waiting.owner.is_some_and(lives) {
                desk.dequeue(*id);
                continue;
            }
            if waiting.owner.is_some_and(lives) {
                continue;
            }
            if *due > want.now || taken.leases.len() == want.max {
                taken.next_due = Some(*due);
                break;
            }
            waiting.owner = Some(want.node);
            waiting.epoch += 1;
            taken.leases.push(Lease { delivery: waiting.delivery.clone(), epoch: waiting.epoch });
        }
        Ok(taken)
    }

    async fn take_expired(
        &self,
        node: NodeId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Lease>, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let alive = &desk.alive;
        let lives = |owner: NodeId| owner == node || alive.get(&owner).is_some_and(|until| *until >= now);
        let is_expired = |waiting: &&mut Waiting| {
            waiting.delivery.message.expires_at() <= now && !waiting.owner.is_some_and(lives)
        };
        let mut leases = Vec::new();
        for waiting in desk.waiting.values_mut().filter(is_expired).take(max) {
            waiting.owner = Some(node);
            waiting.epoch += 1;
            leases.push(Lease { delivery: waiting.delivery.clone(), epoch: waiting.epoch });
        }
        Ok(leases)
    }

    async fn count_waiting(&self, app: &AppId, channel: &ChannelName) -> Result<u64, StorageError> {
        let desk = self.0.lock();
        let is_waiting = |waiting: &&Waiting| {
            waiting.owner.is_none()
                && waiting.delivery.message.app == *app
                && waiting.delivery.channel == *channel
        };
        Ok(desk.waiting.values().filter(is_waiting).count() as u64)
    }

    async fn finish(&self, finish: Finish) -> Result<Finished, StorageError> {
        let mut desk = self.0.lock();
        if desk.waiting.get(&finish.delivery).is_none_or(|waiting| waiting.epoch != finish.epoch) {
            return Ok(Finished::Fenced);
        }
        let left = desk.dequeue(finish.delivery).map(|waiting| waiting.delivery.targets).unwrap_or_default();
        if let Some(kept) = desk.notifications.get_mut(&finish.notification) {
            kept.receipts.extend(finish.receipts.into_iter().map(|receipt| (receipt.index, receipt)));
        }
        for mut entry in finish.again {
            // What was taken back during the attempt does not come again.
            entry.delivery.targets.retain(|target| left.iter().any(|still| still.index == target.index));
            if !entry.delivery.targets.is_empty() {
                desk.enqueue(entry);
            }
        }
        Ok(Finished::Done)
    }

    async fn take_parts(
        &self,
        node: NodeId,
        now: Timestamp,
        most: usize,
    ) -> Result<TakenParts, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let lives = |owner: NodeId| owner == node || desk.alive.get(&owner).is_some_and(|t| *t >= now);
        let mut free: Vec<_> =
            desk.parts.iter_mut().filter(|(_, waiting)| !waiting.owner.is_some_and(lives)).collect();
        free.sort_by_key(|(key, waiting)| (waiting.part.due, **key));
        let mut taken = TakenParts::default();
        for ((id, _), waiting) in free {
            if waiting.part.due > now || taken.leases.len() == most {
                taken.next_due = Some(waiting.part.due);
                break;
            }
            let Some(kept) = desk.notifications.get(id) else { continue };
            let Some(ask) = kept.ask.clone() else { continue };
            waiting.owner = Some(node);
            waiting.epoch += 1;
            taken.leases.push(PartLease {
                notification: *id,
                created_at: kept.created_at,
                ask,
                part: waiting.part.clone(),
                acknowledged: kept.acknowledged.iter().cloned().collect(),
                epoch: waiting.epoch,
            });
        }
        Ok(taken)
    }

    async fn finish_part(&self, finish: PartFinish) -> Result<Finished, StorageError> {
        let mut desk = self.0.lock();
        let key = (finish.notification, finish.place);
        if desk.parts.get(&key).is_none_or(|waiting| waiting.epoch != finish.epoch) {
            return Ok(Finished::Fenced);
        }
        desk.parts.remove(&key);
        if let Some(withdrawal) = &finish.withdrawal {
            desk.withdraw(withdrawal);
        }
        if let Some(kept) = desk.notifications.get_mut(&finish.notification) {
            kept.parts_done += 1;
            kept.skip(finish.skipped);
        }
        for entry in finish.entries {
            desk.enqueue(entry);
        }
        desk.wait(finish.notification, finish.next);
        Ok(Finished::Done)
    }

    async fn postpone_part(&self, lease: &PartLease, due: Timestamp) -> Result<Finished, StorageError> {
        let mut desk = self.0.lock();
        let part = desk.parts.get_mut(&(lease.notification, lease.part.place));
        let Some(waiting) = part.filter(|waiting| waiting.epoch == lease.epoch) else {
            return Ok(Finished::Fenced);
        };
        waiting.owner = None;
        waiting.part.due = due;
        Ok(Finished::Done)
    }

    async fn withdraw(&self, app: &AppId, which: &Which, at: Timestamp) -> Result<u64, StorageError> {
        let withdrawal = Withdrawal { app: app.clone(), which: which.clone(), at };
        Ok(self.0.lock().withdraw(&withdrawal))
    }

    async fn acknowledge(
        &self,
        app: &AppId,
        id: NotificationId,
        user: &UserId,
    ) -> Result<bool, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let waits = desk.parts.keys().any(|(of, _)| *of == id);
        let kept = desk.notifications.get_mut(&id).filter(|kept| kept.app == *app && waits);
        Ok(kept.map(|kept| kept.acknowledged.insert(user.clone())).is_some())
    }

    async fn hear(&self, speaker: Speaker, echo: Echo, at: Timestamp) -> Result<Option<Heard>, StorageError> {
        let mut desk = self.0.lock();
        let Some(kept) = desk.notifications.get_mut(&speaker.notification) else { return Ok(None) };
        let echoes = kept.echoes.entry(speaker.index).or_default();
        let is_news = echoes.hear(echo, at);
        let receipt = kept.receipts.get(&speaker.index).cloned();
        let receipt = receipt.map(|receipt| Receipt { echoes: *echoes, ..receipt });
        Ok(Some(Heard { app: kept.app.clone(), receipt, is_news }))
    }

    async fn own_key(&self, fresh: &Secret) -> Result<Secret, StorageError> {
        Ok(self.0.lock().key.get_or_insert_with(|| fresh.clone()).clone())
    }

    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError> {
        self.0.lock().alive.insert(node, until);
        Ok(())
    }

    async fn release(&self, node: NodeId) -> Result<(), StorageError> {
        let mut desk = self.0.lock();
        desk.alive.remove(&node);
        for waiting in desk.waiting.values_mut().filter(|waiting| waiting.owner == Some(node)) {
            waiting.owner = None;
        }
        for waiting in desk.parts.values_mut().filter(|waiting| waiting.owner == Some(node)) {
            waiting.owner = None;
        }
        Ok(())
    }

    async fn receipts(
        &self,
        id: NotificationId,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<Receipt>, StorageError> {
        let desk = self.0.lock();
        let Some(kept) = desk.notifications.get(&id) else { return Ok(Vec::new()) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = kept.receipts.range((from, Bound::Unbounded)).take(most);
        Ok(page.map(|(index, one)| Receipt { echoes: kept.echoes_of(*index), ..one.clone() }).collect())
    }

    async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError> {
        let desk = self.0.lock();
        let Some(kept) = desk.notifications.get(&id).filter(|kept| kept.app == *app) else { return Ok(None) };
        let limit = limit.min(Status::MOST);
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut tried = kept.receipts.range(behind).skip(limit.saturating_sub(1)).map(|(index, _)| *index);
        let next = tried.next().filter(|_| limit > 0);
        let mut receipts = kept.receipts.clone();
        for waiting in kept.open.iter().filter_map(|id| desk.waiting.get(id)) {
            for target in &waiting.delivery.targets {
                let untried = || Receipt::untried(&waiting.delivery, target, kept.created_at, waiting.due);
                receipts.entry(target.index).or_insert_with(untried);
            }
        }
        let mut counts: BTreeMap<State, u64> = BTreeMap::new();
        for receipt in receipts.values() {
            *counts.entry(receipt.state).or_default() += 1;
        }
        let open = desk.parts.keys().filter(|(of, _)| *of == id).count() as u64;
        let progress = Progress { done: kept.parts_done, open };
        Ok(Some(Status {
            id,
            created_at: kept.created_at,
            revoked_at: kept.revoked_at,
            tag: kept.tag.clone(),
            progress: kept.ask.is_some().then_some(progress),
            counts,
            echoes: Echo::ALL.into_iter().filter_map(|echo| kept.told(echo)).collect(),
            skips: kept.skips,
            skipped: kept.skipped.clone(),
            receipts: receipts
                .into_iter()
                // Those that were not tried yet stand on the first page only.
                .filter(|(index, _)| {
                    after.is_none_or(|after| *index > after && kept.receipts.contains_key(index))
                })
                .take(limit)
                .map(|(index, one)| Receipt { echoes: kept.echoes_of(index), ..one })
                .collect(),
            next,
        }))
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let before = desk.notifications.len();
        let parts = &desk.parts;
        desk.notifications.retain(|id, kept| {
            let planned = parts.range((*id, 0)..=(*id, u32::MAX)).next().is_none();
            let stays = kept.keep_until >= now || !kept.open.is_empty() || !planned;
            if !stays && let Some(key) = kept.key.take() {
                desk.keys.remove(&(kept.app.clone(), key));
            }
            stays
        });
        Ok((before - desk.notifications.len()) as u64)
    }

    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError> {
        Ok(self.0.lock().lanes.keys().cloned().collect())
    }
}
