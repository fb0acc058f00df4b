//! Holds back what must not go out any more: taken back, come too late for its user, or on its way to a device that has
//! changed hands. Where nothing had to wait, nobody is asked.

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
use crate::notification::When;
use crate::presence::Presence;
use crate::queue::{Queue, Withdrawal};
use crate::receipt::State;
use crate::report::{Outcome, Report};
use crate::store::{StorageError, Store};
use crate::words::DeviceId;

/// What is sent within this time of being asked for went straight through: what was true then still is.
const MAX_UNCHECKED_AGE: Duration = Duration::from_secs(1);
/// Number of receipts that are read from the queue at once.
const RECEIPT_PAGE_SIZE: usize = 1000;

/// What the lanes of a gateway ask before they send.
pub struct Revalidator {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    presence: Arc<dyn Presence>,
    clock: Arc<dyn Clock>,
    withdrawals: Mutex<Withdrawals>,
}

impl Revalidator {
    /// Nothing is withdrawn yet.
    pub fn new(
        store: Arc<dyn Store>,
        queue: Arc<dyn Queue>,
        presence: Arc<dyn Presence>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, queue, presence, clock, withdrawals: Mutex::default() }
    }

    /// Holds back the deliveries in memory that the queue has withdrawn. Called after the queue has committed the withdrawal.
    pub fn withdraw(&self, withdrawal: Withdrawal) {
        self.withdrawals.lock().insert(withdrawal);
    }

    /// What each target gets now.
    async fn verdicts(&self, delivery: &Delivery) -> Result<Vec<Verdict>, StorageError> {
        let message = &delivery.message;
        let taken_back = self.taken_back(delivery).await?;
        let needs_check =
            self.clock.now().since(message.created_at) > MAX_UNCHECKED_AGE || delivery.attempt > 1;
        if !needs_check {
            return Ok(taken_back);
        }
        let ids: Vec<DeviceId> = delivery.targets.iter().filter_map(|target| target.device.clone()).collect();
        let devices = self.store.devices(&message.app, &ids).await?;
        let devices: HashMap<_, _> = devices.iter().map(|device| (&device.id, device)).collect();
        let mut verdicts = Vec::with_capacity(taken_back.len());
        for (target, taken_back) in delivery.targets.iter().zip(taken_back) {
            let device = target.device.as_ref().map(|id| devices.get(id));
            verdicts.push(match (taken_back, device) {
                (Verdict::Send, Some(Some(device))) if device.user == target.user => {
                    self.check_waited(delivery, target, device).await
                }
                (Verdict::Send, Some(_)) => Verdict::Discard("its device is somebody else's by now"),
                (verdict, _) => verdict,
            });
        }
        Ok(verdicts)
    }

    async fn taken_back(&self, delivery: &Delivery) -> Result<Vec<Verdict>, StorageError> {
        let revoked = if self.withdrawals.lock().may_have_forgotten(&delivery.message) {
            self.revoked(delivery).await?
        } else {
            BTreeSet::new()
        };
        let withdrawals = self.withdrawals.lock();
        let taken_back = |target: &Target| {
            if revoked.contains(&target.index) || withdrawals.contains(&delivery.message, target) {
                Verdict::Discard("it was taken back")
            } else {
                Verdict::Send
            }
        };
        Ok(delivery.targets.iter().map(taken_back).collect())
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

    /// What a device gets that was its user's then and still is.
    async fn check_waited(&self, delivery: &Delivery, target: &Target, device: &Device) -> Verdict {
        let message = &delivery.message;
        if let Some(user) = device.user.as_ref().filter(|_| message.when == When::Offline) {
            if self.presence.came_since(&message.app, user, message.created_at).await {
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
            None => Verdict::Discard("its device is no longer reached there"),
        }
    }
}

/// What a target gets.
enum Verdict {
    /// What was planned.
    Send,
    /// The same, at the token that has taken the other's place.
    SendTo(Address),
    /// Nothing, and why.
    Discard(&'static str),
}

/// The layer.
pub struct Revalidate {
    inner: Arc<dyn PushChannel>,
    revalidator: Arc<Revalidator>,
}

impl Revalidate {
    /// Asks before each attempt.
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
                tracing::error!(app = %delivery.message.app, %error, "whose a device is cannot be read");
                let fault = Fault::new(Kind::Unreachable, "storage cannot say whose the devices are");
                return Report::all_failed(delivery.targets.len(), &fault);
            }
        };
        if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Send)) {
            return self.inner.send(delivery).await;
        }
        let mut sent_delivery = Delivery { targets: Vec::new(), ..delivery.clone() };
        for (target, verdict) in delivery.targets.iter().zip(&verdicts) {
            match verdict {
                Verdict::Send => sent_delivery.targets.push(target.clone()),
                Verdict::SendTo(address) => {
                    sent_delivery.targets.push(Target { address: address.clone(), ..target.clone() });
                }
                Verdict::Discard(_) => {}
            }
        }
        let outcomes = if sent_delivery.targets.is_empty() {
            Vec::new()
        } else {
            self.inner.send(&sent_delivery).await.into_outcomes()
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
    use crate::memory::{MemoryQueue, MemoryStore};
    use crate::presence::NobodyOnline;
    use crate::queue::{Admission, Entry, Which};
    use crate::words::{AppId, ChannelName, DeliveryId, NodeId, NotificationId, Timestamp};

    const T0: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    /// A clock that stands still.
    struct FixedClock;

    #[async_trait]
    impl Clock for FixedClock {
        fn now(&self) -> Timestamp {
            T0
        }

        async fn sleep_until(&self, _at: Timestamp) {}
    }

    /// A delivery that this process holds, of a queue that keeps it.
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
            later: None,
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
    async fn a_withdrawn_delivery_in_memory_is_held_back_after_its_withdrawal_was_forgotten_too() {
        let (queue, app) = (Arc::new(MemoryQueue::default()), AppId::new("demo").unwrap());
        let revalidator = Revalidator::new(
            Arc::new(MemoryStore::default()),
            queue.clone(),
            Arc::new(NobodyOnline),
            Arc::new(FixedClock),
        );
        let (withdrawn, other) = (enqueue_held(&queue, &app).await, enqueue_held(&queue, &app).await);
        let which = Which::Id(withdrawn.message.id);
        queue.withdraw(&app, &which, T0).await.unwrap();
        revalidator.withdraw(Withdrawal { app: app.clone(), which, at: T0 });
        assert_eq!(
            (count_discarded(&revalidator, &withdrawn).await, count_discarded(&revalidator, &other).await),
            (2, 0)
        );
        let much_later = T0 + Duration::from_secs(24 * 3600);
        revalidator.withdraw(Withdrawal { app, which: Which::Id(NotificationId::new()), at: much_later });
        assert_eq!(
            (count_discarded(&revalidator, &withdrawn).await, count_discarded(&revalidator, &other).await),
            (2, 0)
        );
    }
}
