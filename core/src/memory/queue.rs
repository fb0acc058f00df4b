//! Accepted notifications in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::delivery::Delivery;
use crate::queue::{Admission, Admitted, Entry, Finish, Finished, Idempotency, Lease, Queue, Taken, Want};
use crate::receipt::{Receipt, Skip, State, Status};
use crate::store::StorageError;
use crate::words::{AppId, ChannelName, DeliveryId, IdempotencyKey, NodeId, NotificationId, Timestamp};

/// Keeps accepted notifications in memory.
#[derive(Default)]
pub struct MemoryQueue(Mutex<Desk>);

#[derive(Default)]
struct Desk {
    notifications: HashMap<NotificationId, Kept>,
    keys: HashMap<(AppId, IdempotencyKey), (NotificationId, u64)>,
    waiting: HashMap<DeliveryId, Waiting>,
    lanes: BTreeMap<(AppId, ChannelName), BTreeSet<(Timestamp, DeliveryId)>>,
    alive: HashMap<NodeId, Timestamp>,
}

struct Kept {
    app: AppId,
    key: Option<IdempotencyKey>,
    created_at: Timestamp,
    keep_until: Timestamp,
    skipped: Vec<Skip>,
    receipts: BTreeMap<u32, Receipt>,
    open: BTreeSet<DeliveryId>,
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
        if let Some(Idempotency { key, fingerprint }) = &admission.idempotency {
            let key = (admission.app.clone(), key.clone());
            if let Some((id, fingerprint)) = desk.keys.get(&key) {
                return Ok(Admitted::Known { id: *id, fingerprint: *fingerprint });
            }
            desk.keys.insert(key, (admission.id, *fingerprint));
        }
        let kept = Kept {
            app: admission.app,
            key: admission.idempotency.map(|idempotency| idempotency.key),
            created_at: admission.created_at,
            keep_until: admission.keep_until,
            skipped: admission.skipped,
            receipts: BTreeMap::new(),
            open: BTreeSet::new(),
        };
        desk.notifications.insert(admission.id, kept);
        for entry in admission.entries {
            desk.enqueue(entry);
        }
        Ok(Admitted::New)
    }

    async fn take(&self, want: Want) -> Result<Taken, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let mut taken = Taken::default();
        let Some(queue) = desk.lanes.get(&(want.app, want.channel)) else { return Ok(taken) };
        for (due, id) in queue {
            let Some(waiting) = desk.waiting.get_mut(id) else { continue };
            let lives =
                |node: NodeId| node == want.node || desk.alive.get(&node).is_some_and(|t| *t >= want.now);
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

    async fn finish(&self, finish: Finish) -> Result<Finished, StorageError> {
        let mut desk = self.0.lock();
        if desk.waiting.get(&finish.delivery).is_none_or(|waiting| waiting.epoch != finish.epoch) {
            return Ok(Finished::Fenced);
        }
        desk.dequeue(finish.delivery);
        if let Some(kept) = desk.notifications.get_mut(&finish.notification) {
            kept.receipts.extend(finish.receipts.into_iter().map(|receipt| (receipt.index, receipt)));
        }
        for entry in finish.again {
            desk.enqueue(entry);
        }
        Ok(Finished::Done)
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
        Ok(())
    }

    async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError> {
        let desk = self.0.lock();
        let Some(kept) = desk.notifications.get(&id).filter(|kept| kept.app == *app) else { return Ok(None) };
        let mut receipts = kept.receipts.clone();
        for waiting in kept.open.iter().filter_map(|id| desk.waiting.get(id)) {
            for target in &waiting.delivery.targets {
                receipts.entry(target.index).or_insert_with(|| Receipt {
                    index: target.index,
                    device: target.device.clone(),
                    user: target.user.clone(),
                    channel: waiting.delivery.channel.clone(),
                    state: State::Queued,
                    vendor_id: None,
                    fault: None,
                    attempts: 0,
                    at: kept.created_at,
                    next_at: Some(waiting.due),
                });
            }
        }
        let (created_at, skipped) = (kept.created_at, kept.skipped.clone());
        Ok(Some(Status { id, created_at, skipped, receipts: receipts.into_values().collect() }))
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError> {
        let mut desk = self.0.lock();
        let desk = &mut *desk;
        let before = desk.notifications.len();
        desk.notifications.retain(|_, kept| {
            let stays = kept.keep_until >= now || !kept.open.is_empty();
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
