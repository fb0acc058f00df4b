//! Layer that checks each recipient again before an attempt.
//!
//! It discards a push that was withdrawn, whose user has come online meanwhile, or whose device belongs to another user by now.
//! A first attempt right after submission needs no check of the device.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::delegate_to_inner;
use super::withdrawals::Withdrawals;
use crate::channel::PushChannel;
use crate::clock::Clock;
use crate::delivery::{Delivery, Target};
use crate::device::{Address, Device};
use crate::fault::{Fault, Kind};
use crate::ids::DeviceId;
use crate::notification::When;
use crate::presence::Presence;
use crate::queue::{Queue, Withdrawal};
use crate::receipt::State;
use crate::report::{Outcome, Report};
use crate::store::{StorageError, Store};

/// Maximum age of a message whose first attempt is not checked against the device store: planning has just done it.
const MAX_UNCHECKED_AGE: Duration = Duration::from_secs(1);
/// Number of receipts read from the queue by one query.
const RECEIPT_PAGE_SIZE: usize = 1000;

/// Checks of recipients before an attempt, shared by the lanes of a gateway.
pub struct Revalidator {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    presence: Arc<dyn Presence>,
    clock: Arc<dyn Clock>,
    withdrawals: Mutex<Withdrawals>,
}

impl Revalidator {
    /// Creates a revalidator without withdrawals.
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        presence: Arc<dyn Presence>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, queue, presence, clock, withdrawals: Mutex::default() }
    }

    /// Withdraws deliveries in memory. Called after the queue has committed the withdrawal.
    pub fn withdraw(&self, withdrawal: Withdrawal) {
        self.withdrawals.lock().insert(withdrawal);
    }

    /// Returns a verdict for each target of the delivery, in their order.
    async fn verdicts(&self, delivery: &Delivery) -> Result<Vec<Verdict>, StorageError> {
        let message = &delivery.message;
        let withdrawn = self.check_withdrawals(delivery).await?;
        let needs_check =
            self.clock.now().since(message.created_at) > MAX_UNCHECKED_AGE || delivery.attempt > 1;
        if !needs_check {
            return Ok(withdrawn);
        }
        let ids: Vec<DeviceId> = delivery.targets.iter().filter_map(|target| target.device.clone()).collect();
        let devices = self.store.devices(&message.app, &ids).await?;
        let devices: HashMap<_, _> = devices.iter().map(|device| (&device.id, device)).collect();
        let mut verdicts = Vec::with_capacity(withdrawn.len());
        for (target, verdict) in delivery.targets.iter().zip(withdrawn) {
            let device = target.device.as_ref().map(|id| devices.get(id));
            verdicts.push(match (verdict, device) {
                (Verdict::Send, Some(Some(device))) if device.user == target.user => {
                    self.check_waited(delivery, target, device).await
                }
                (Verdict::Send, Some(_)) => Verdict::Discard("its device belongs to another user by now"),
                (verdict, _) => verdict,
            });
        }
        Ok(verdicts)
    }

    /// Returns a verdict for each target that considers withdrawals only.
    async fn check_withdrawals(&self, delivery: &Delivery) -> Result<Vec<Verdict>, StorageError> {
        let revoked = if self.withdrawals.lock().may_have_forgotten(&delivery.message) {
            self.revoked(delivery).await?
        } else {
            BTreeSet::new()
        };
        let withdrawals = self.withdrawals.lock();
        let verdict_of = |target: &Target| {
            if revoked.contains(&target.index) || withdrawals.contains(&delivery.message, target) {
                Verdict::Discard("it was withdrawn")
            } else {
                Verdict::Send
            }
        };
        Ok(delivery.targets.iter().map(verdict_of).collect())
    }

    /// Reads from the queue which targets of the delivery are revoked, by their index.
    async fn revoked(&self, delivery: &Delivery) -> Result<BTreeSet<u32>, StorageError> {
        let (id, mut revoked) = (delivery.message.id, BTreeSet::new());
        let indexes = || delivery.targets.iter().map(|target| target.index);
        let (Some(first), Some(last)) = (indexes().min(), indexes().max()) else { return Ok(revoked) };
        let mut after = first.checked_sub(1);
        loop {
            let receipts = self.queue.receipts(id, after, RECEIPT_PAGE_SIZE).await?;
            revoked.extend(receipts.iter().filter(|r| r.state == State::Revoked).map(|r| r.index));
            after = receipts.last().map(|receipt| receipt.index);
            if receipts.len() < RECEIPT_PAGE_SIZE || after >= Some(last) {
                return Ok(revoked);
            }
        }
    }

    /// Checks a target that had to wait and whose device still belongs to the same user.
    async fn check_waited(&self, delivery: &Delivery, target: &Target, device: &Device) -> Verdict {
        let message = &delivery.message;
        if let Some(user) = device.user.as_ref().filter(|_| message.when == When::Offline) {
            if self.presence.has_connected_since(&message.app, user, message.created_at).await {
                return Verdict::Discard("its user has come online meanwhile");
            }
            let connections = self.presence.connections(&message.app, user).await;
            if connections.iter().any(|connection| connection.is_of(device)) {
                return Verdict::Discard("its device has come online meanwhile");
            }
        }
        if device.addresses.contains(&target.address) {
            return Verdict::Send;
        }
        let is_same_kind =
            |a: &&Address| a.channel == target.address.channel && a.kind == target.address.kind;
        match device.addresses.iter().find(is_same_kind) {
            Some(address) => Verdict::SendTo(address.clone()),
            None => Verdict::Discard("its device no longer has an address of this channel and kind"),
        }
    }
}

/// Verdict on one target.
enum Verdict {
    /// Send as planned.
    Send,
    /// Send to this address, which has replaced the planned one.
    SendTo(Address),
    /// Do not send, for this reason.
    Discard(&'static str),
}

/// Layer that checks each recipient again before an attempt.
pub struct Revalidate {
    inner: Arc<dyn PushChannel>,
    revalidator: Arc<Revalidator>,
}

impl Revalidate {
    /// Wraps a channel.
    pub fn new(inner: Arc<dyn PushChannel>, revalidator: Arc<Revalidator>) -> Self {
        Self { inner, revalidator }
    }
}

#[async_trait]
impl PushChannel for Revalidate {
    delegate_to_inner!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let verdicts = match self.revalidator.verdicts(delivery).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                tracing::error!(app = %delivery.message.app, %error, "devices or withdrawals cannot be read; the delivery is tried again");
                let fault = Fault::new(Kind::Unreachable, "storage failed while the recipients were checked");
                return Report::all_failed(delivery.targets.len(), &fault);
            }
        };
        if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Send)) {
            return self.inner.send(delivery).await;
        }
        let mut remaining = Delivery { targets: Vec::new(), ..delivery.clone() };
        for (target, verdict) in delivery.targets.iter().zip(&verdicts) {
            match verdict {
                Verdict::Send => remaining.targets.push(target.clone()),
                Verdict::SendTo(address) => {
                    remaining.targets.push(Target { address: address.clone(), ..target.clone() });
                }
                Verdict::Discard(_) => {}
            }
        }
        let outcomes = if remaining.targets.is_empty() {
            Vec::new()
        } else {
            self.inner.send(&remaining).await.into_outcomes()
        };
        let mut outcomes = outcomes.into_iter();
        let outcome = |verdict: &Verdict| match verdict {
            Verdict::Discard(reason) => Some(Outcome::Failed(Fault::new(Kind::Revoked, *reason))),
            Verdict::Send | Verdict::SendTo(_) => outcomes.next(),
        };
        Report::new(delivery.targets.len(), verdicts.iter().filter_map(outcome).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::TokenKind;
    use crate::ids::{AppId, ChannelName, DeliveryId, NodeId, NotificationId};
    use crate::memory::{MemoryQueue, MemoryStore};
    use crate::presence::NobodyOnline;
    use crate::queue::{Admission, Entry, WithdrawFilter};
    use crate::timestamp::Timestamp;

    const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// Clock that always returns `T0`.
    struct FixedClock;

    #[async_trait]
    impl Clock for FixedClock {
        fn now(&self) -> Timestamp {
            T0
        }

        async fn sleep_until(&self, _at: Timestamp) {}
    }

    /// Stores a delivery in the queue as held by this node, and returns it.
    async fn enqueue_held(queue: &MemoryQueue, app: &AppId) -> Delivery {
        let channel = ChannelName::new("way").unwrap();
        let address =
            |token: &str| Address { channel: channel.clone(), kind: TokenKind::Token, token: token.into() };
        let message = Arc::new(crate::Message::new(NotificationId::new(), app.clone(), T0));
        let targets = vec![Target::bare(3, address("a")), Target::bare(7, address("b"))];
        let delivery =
            Delivery { id: DeliveryId::new(), channel: channel.clone(), message, targets, attempt: 1 };
        let entry = Entry { delivery: delivery.clone(), due: T0, held_by: Some(NodeId::new()) };
        let admission = Admission {
            id: delivery.message.id,
            app: app.clone(),
            idempotency: None,
            created_at: T0,
            keep_until: T0,
            skipped: Vec::new(),
            tag: None,
            entries: vec![entry],
            deferred_plan: None,
            withdrawal: None,
        };
        queue.admit(admission).await.unwrap();
        delivery
    }

    async fn count_discarded(revalidator: &Revalidator, delivery: &Delivery) -> usize {
        let verdicts = revalidator.verdicts(delivery).await.unwrap();
        verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Discard(_))).count()
    }

    #[tokio::test]
    async fn a_withdrawn_delivery_in_memory_is_discarded_even_after_its_withdrawal_was_forgotten() {
        let (queue, app) = (Arc::new(MemoryQueue::default()), AppId::new("demo").unwrap());
        let revalidator = Revalidator::new(
            Arc::new(MemoryStore::default()),
            queue.clone(),
            Arc::new(NobodyOnline),
            Arc::new(FixedClock),
        );
        let (withdrawn, other) = (enqueue_held(&queue, &app).await, enqueue_held(&queue, &app).await);
        let filter = WithdrawFilter::Id(withdrawn.message.id);
        queue.withdraw(&app, &filter, T0).await.unwrap();
        revalidator.withdraw(Withdrawal { app: app.clone(), filter, at: T0 });
        assert_eq!(
            (count_discarded(&revalidator, &withdrawn).await, count_discarded(&revalidator, &other).await),
            (2, 0)
        );
        let much_later = T0 + Duration::from_secs(24 * 3600);
        revalidator.withdraw(Withdrawal {
            app,
            filter: WithdrawFilter::Id(NotificationId::new()),
            at: much_later,
        });
        assert_eq!(
            (count_discarded(&revalidator, &withdrawn).await, count_discarded(&revalidator, &other).await),
            (2, 0)
        );
    }
}
