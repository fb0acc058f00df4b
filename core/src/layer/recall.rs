//! Holds back what must not go out any more: taken back, come too late for its user, or on its way to a device that has
//! changed hands. Where nothing had to wait, nobody is asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::inside;
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
const STRAIGHT: Duration = Duration::from_secs(1);
/// Number of receipts that are read from the queue at once.
const RECEIPTS: usize = 1000;

/// What the lanes of a gateway ask before they send.
pub struct Recall {
    store: Arc<dyn Store>,
    queue: Arc<dyn Queue>,
    presence: Arc<dyn Presence>,
    clock: Arc<dyn Clock>,
    withdrawals: Mutex<Withdrawals>,
}

impl Recall {
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
        let waited = self.clock.now().since(message.created_at) > STRAIGHT || delivery.attempt > 1;
        if !waited {
            return Ok(taken_back);
        }
        let ids: Vec<DeviceId> = delivery.targets.iter().filter_map(|target| target.device.clone()).collect();
        let devices = self.store.devices(&message.app, &ids).await?;
        let devices: HashMap<_, _> = devices.iter().map(|device| (&device.id, device)).collect();
        let mut verdicts = Vec::with_capacity(taken_back.len());
        for (target, taken_back) in delivery.targets.iter().zip(taken_back) {
            let device = target.device.as_ref().map(|id| devices.get(id));
            verdicts.push(match (taken_back, device) {
                (Verdict::Goes, Some(Some(device))) if device.user == target.user => {
                    self.late(delivery, target, device).await
                }
                (Verdict::Goes, Some(_)) => Verdict::Stays("its device is somebody else's by now"),
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
                Verdict::Stays("it was taken back")
            } else {
                Verdict::Goes
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
            let receipts = self.queue.receipts(id, after, RECEIPTS).await?;
            revoked.extend(receipts.iter().filter(|r| r.state == State::Revoked).map(|r| r.index));
            after = receipts.last().map(|receipt| receipt.index);
            if receipts.len() < RECEIPTS || after >= Some(last) {
                return Ok(revoked);
            }
        }
    }

    /// What a device gets that was its user's then and still is.
    async fn late(&self, delivery: &Delivery, target: &Target, device: &Device) -> Verdict {
        let message = &delivery.message;
        if let Some(user) = device.user.as_ref().filter(|_| message.when == When::Offline) {
            if self.presence.came_since(&message.app, user, message.created_at).await {
                return Verdict::Stays("its user has come online meanwhile");
            }
            let connections = self.presence.connections(&message.app, user).await;
            if connections.iter().any(|connection| connection.is_of(device)) {
                return Verdict::Stays("its device has come online meanwhile");
            }
        }
        if device.addresses.contains(&target.address) {
            return Verdict::Goes;
        }
        let alike = |a: &&Address| a.channel == target.address.channel && a.kind == target.address.kind;
        match device.addresses.iter().find(alike) {
            Some(address) => Verdict::GoesTo(address.clone()),
            None => Verdict::Stays("its device is no longer reached there"),
        }
    }
}

/// What a target gets.
enum Verdict {
    /// What was planned.
    Goes,
    /// The same, at the token that has taken the other's place.
    GoesTo(Address),
    /// Nothing, and why.
    Stays(&'static str),
}

/// The layer.
pub struct Recalled {
    inside: Arc<dyn PushChannel>,
    recall: Arc<Recall>,
}

impl Recalled {
    /// Asks before each attempt.
    pub fn new(inside: Arc<dyn PushChannel>, recall: Arc<Recall>) -> Self {
        Self { inside, recall }
    }
}

#[async_trait]
impl PushChannel for Recalled {
    inside!();

    async fn send(&self, delivery: &Delivery) -> Report {
        let verdicts = match self.recall.verdicts(delivery).await {
            Ok(verdicts) => verdicts,
            Err(error) => {
                tracing::error!(app = %delivery.message.app, %error, "whose a device is cannot be read");
                let fault = Fault::new(Kind::Unreachable, "storage cannot say whose the devices are");
                return Report::all_failed(delivery.targets.len(), &fault);
            }
        };
        if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Goes)) {
            return self.inside.send(delivery).await;
        }
        let mut rest = Delivery { targets: Vec::new(), ..delivery.clone() };
        for (target, verdict) in delivery.targets.iter().zip(&verdicts) {
            match verdict {
                Verdict::Goes => rest.targets.push(target.clone()),
                Verdict::GoesTo(address) => {
                    rest.targets.push(Target { address: address.clone(), ..target.clone() });
                }
                Verdict::Stays(_) => {}
            }
        }
        let sent =
            if rest.targets.is_empty() { Vec::new() } else { self.inside.send(&rest).await.into_outcomes() };
        let mut sent = sent.into_iter();
        let outcome = |verdict: &Verdict| match verdict {
            Verdict::Stays(reason) => Some(Outcome::Failed(Fault::new(Kind::Revoked, *reason))),
            Verdict::Goes | Verdict::GoesTo(_) => sent.next(),
        };
        Report::new(delivery.targets.len(), verdicts.iter().filter_map(outcome).collect())
    }
}
