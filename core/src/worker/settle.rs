//! What becomes of each outcome: a receipt, a pruned address, another try, or giving up. One match on the kind's row.
//! Everything is written by one `Queue::finish`, so that a crash leaves either all of it or none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Lane;
use super::alarms::Cause;
use crate::delivery::{Delivery, Target};
use crate::echo::Echoes;
use crate::fault::{Fault, Kind, Level, Retry};
use crate::observe::Event;
use crate::queue::{Entry, Finish, Finished, Lease};
use crate::receipt::{Receipt, State};
use crate::report::{Outcome, Report};
use crate::schedule::{NextStep, Times, judged};
use crate::store::Replacement;
use crate::words::{DeliveryId, Timestamp};

/// How long storage is left alone after it failed.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// What is written at the end of an attempt.
struct Ledger {
    /// When the attempt began.
    began: Timestamp,
    /// When its report came.
    now: Timestamp,
    jitter: f64,
    receipts: Vec<Receipt>,
    again: BTreeMap<Timestamp, Vec<Target>>,
}

impl Lane {
    pub(super) async fn settle(&self, lease: &Lease, report: Report, began: Timestamp) {
        let Lease { delivery, epoch } = lease;
        let now = self.shop.clock.now();
        let jitter = (self.shop.jitter)();
        let mut ledger = Ledger {
            began,
            now,
            jitter,
            receipts: Vec::with_capacity(delivery.targets.len()),
            again: BTreeMap::new(),
        };
        self.record_successes(&delivery.targets, report.outcomes(), now).await;
        for (target, outcome) in delivery.targets.iter().zip(report.into_outcomes()) {
            self.judge(delivery, target, outcome, &mut ledger).await;
        }
        let soonest = ledger.again.keys().next().copied();
        let finish = Finish {
            delivery: delivery.id,
            notification: delivery.message.id,
            app: self.app.clone(),
            epoch: *epoch,
            receipts: ledger.receipts.clone(),
            again: ledger.again.into_iter().map(|(due, targets)| again(delivery, due, targets)).collect(),
        };
        if self.store(finish).await == Finished::Fenced {
            tracing::warn!(app = %self.app, channel = %self.name, notification = %delivery.message.id, "another node has taken this delivery over; its word counts");
            return;
        }
        for receipt in ledger.receipts {
            self.shop.tell(&Event::Receipt { id: delivery.message.id, app: self.app.clone(), receipt });
        }
        if soonest.is_some() {
            self.nudge();
        }
        (self.shop.settled)(delivery.message.id);
    }

    /// Stores an outcome, as often as it takes: while it is not stored, nobody else may send the delivery, and we must not
    /// send it again. Ends with the process; then whoever takes the lease sends it once more, under the same id.
    async fn store(&self, finish: Finish) -> Finished {
        loop {
            match self.shop.queue.finish(finish.clone()).await {
                Ok(finished) => return finished,
                Err(error) => {
                    tracing::error!(app = %self.app, channel = %self.name, notification = %finish.notification, %error, "outcome cannot be stored; trying again");
                    self.shop.clock.sleep_until(self.shop.clock.now() + STORE_AGAIN).await;
                }
            }
        }
    }

    async fn judge(&self, delivery: &Delivery, target: &Target, outcome: Outcome, ledger: &mut Ledger) {
        let (state, vendor_id, fault, next_at) = match outcome {
            Outcome::Accepted { vendor_id } => (State::Sent, vendor_id, None, None),
            Outcome::Replaced { vendor_id, token } => {
                self.replace(target, &token, ledger.now).await;
                (State::Sent, vendor_id, None, None)
            }
            Outcome::Failed(fault) => {
                let mut fault = judged(fault, delivery.attempt);
                if let Some(note) = self.act_on(target, &fault, ledger).await {
                    fault.detail = format!("{}; {note}", fault.detail);
                }
                let (state, next_at) = self.verdict(delivery, &fault, ledger);
                (state, None, Some(fault), next_at)
            }
        };
        if let Some(due) = next_at {
            ledger.again.entry(due).or_default().push(target.clone());
        }
        ledger.receipts.push(Receipt {
            index: target.index,
            device: target.device.clone(),
            user: target.user.clone(),
            channel: self.name.clone(),
            state,
            vendor_id,
            fault,
            attempts: delivery.attempt,
            at: ledger.now,
            next_at,
            echoes: Echoes::default(),
        });
    }

    /// Returns the state that follows a fault, and the time of the next attempt if there is one.
    fn verdict(&self, delivery: &Delivery, fault: &Fault, ledger: &Ledger) -> (State, Option<Timestamp>) {
        let message = &delivery.message;
        let times =
            Times { now: ledger.now, created_at: message.created_at, expires_at: message.expires_at() };
        // Zero time to live is one try, whatever comes of it; only a bearer of ours that aged may be renewed for it.
        let once = message.ttl.is_zero() && fault.row().retry != Retry::Once;
        match self.schedule.next(fault, delivery.attempt, times, ledger.jitter) {
            NextStep::RetryAt(at) if !once => (State::Queued, Some(at)),
            NextStep::Expire if !once || fault.kind == Kind::Expired => (State::Expired, None),
            _ if fault.kind == Kind::Revoked => (State::Revoked, None),
            _ => (State::Failed, None),
        }
    }

    /// Does what a fault asks for beside another try. Returns a note for the receipt where a dead address is kept.
    async fn act_on(&self, target: &Target, fault: &Fault, ledger: &Ledger) -> Option<&'static str> {
        if fault.kind == Kind::TokenGone {
            return self.forget_dead(target, fault, ledger.began).await;
        }
        if fault.row().level == Level::Error || fault.kind == Kind::WrongApp {
            self.open_alarm(Cause::Fault(fault.kind), fault, ledger.now);
        }
        None
    }

    async fn replace(&self, target: &Target, token: &crate::Secret, now: Timestamp) {
        let old = target.address.clone();
        let replacement = Replacement { old, new: token.clone(), at: now, user: None };
        if let Err(error) = self.shop.store.replace(&self.app, replacement).await {
            tracing::error!(app = %self.app, channel = %self.name, %error, "new token cannot be stored");
        }
    }
}

fn again(delivery: &Delivery, due: Timestamp, targets: Vec<Target>) -> Entry {
    Entry {
        delivery: Delivery {
            id: DeliveryId::new(),
            channel: delivery.channel.clone(),
            message: std::sync::Arc::clone(&delivery.message),
            targets,
            attempt: delivery.attempt + 1,
        },
        due,
        held_by: None,
    }
}
