//! Settles an attempt: turns each outcome into a receipt, and where needed a retry, a pruned address or an alarm.
//!
//! The receipts and retries are written by one `Queue::finish`, so that a crash leaves either all of them or none.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Lane;
use super::alarms::Cause;
use crate::delivery::{Delivery, Target};
use crate::device_event::DeviceEvents;
use crate::fault::{Fault, Kind, Level, Retry};
use crate::ids::DeliveryId;
use crate::observe::Event;
use crate::queue::{Completion, Entry, Finished, Lease};
use crate::receipt::{Receipt, State};
use crate::report::{Outcome, Report};
use crate::schedule::{NextStep, Times, escalate_auth_expired};
use crate::store::Replacement;
use crate::timestamp::Timestamp;

/// Delay before a failed storage operation is tried again.
const STORAGE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Results of an attempt, collected before they are stored.
struct AttemptResults {
    /// Start of the attempt.
    started_at: Timestamp,
    /// Time of the channel's report.
    now: Timestamp,
    /// Random number in 0..1 for the delays of the retries.
    jitter: f64,
    receipts: Vec<Receipt>,
    /// Targets to try again, by due time.
    retries: BTreeMap<Timestamp, Vec<Target>>,
}

impl Lane {
    /// Stores the results of an attempt, and notifies observers and waiting callers.
    pub(super) async fn settle(&self, lease: &Lease, report: Report, started_at: Timestamp) {
        let Lease { delivery, epoch } = lease;
        let now = self.context.clock.now();
        let jitter = (self.context.jitter)();
        let mut results = AttemptResults {
            started_at,
            now,
            jitter,
            receipts: Vec::with_capacity(delivery.targets.len()),
            retries: BTreeMap::new(),
        };
        self.record_successes(&delivery.targets, report.outcomes(), now).await;
        for (target, outcome) in delivery.targets.iter().zip(report.into_outcomes()) {
            self.settle_target(delivery, target, outcome, &mut results).await;
        }
        let earliest_retry = results.retries.keys().next().copied();
        let finish = Completion {
            delivery: delivery.id,
            notification: delivery.message.id,
            app: self.app.clone(),
            epoch: *epoch,
            receipts: results.receipts.clone(),
            again: results
                .retries
                .into_iter()
                .map(|(due, targets)| retry_entry(delivery, due, targets))
                .collect(),
        };
        if self.finish_until_stored(finish).await == Finished::Fenced {
            tracing::warn!(app = %self.app, channel = %self.name, notification = %delivery.message.id, "another node has leased this delivery; its result counts, and this one is dropped");
            return;
        }
        for receipt in results.receipts {
            self.context.notify_observers(&Event::Receipt {
                id: delivery.message.id,
                app: self.app.clone(),
                receipt,
            });
        }
        if earliest_retry.is_some() {
            self.notify_backlog();
        }
        (self.context.notify_settled)(delivery.message.id);
    }

    /// Stores the results of an attempt, and retries until storage succeeds.
    ///
    /// Until then nobody may send the delivery again. If the process ends first, the node that leases the delivery sends it once
    /// more, under the same id.
    async fn finish_until_stored(&self, finish: Completion) -> Finished {
        loop {
            match self.context.queue.finish(finish.clone()).await {
                Ok(finished) => return finished,
                Err(error) => {
                    tracing::error!(app = %self.app, channel = %self.name, notification = %finish.notification, %error, "the results of an attempt cannot be stored; trying again");
                    self.context.clock.sleep_until(self.context.clock.now() + STORAGE_RETRY_DELAY).await;
                }
            }
        }
    }

    /// Adds the receipt of one target to the results, and its retry if there is one.
    async fn settle_target(
        &self,
        delivery: &Delivery,
        target: &Target,
        outcome: Outcome,
        results: &mut AttemptResults,
    ) {
        let (state, vendor_id, fault, next_at) = match outcome {
            Outcome::Accepted { vendor_id } => (State::Sent, vendor_id, None, None),
            Outcome::Replaced { vendor_id, token } => {
                self.replace_token(target, &token, results.now).await;
                (State::Sent, vendor_id, None, None)
            }
            Outcome::Failed(fault) => {
                let mut fault = escalate_auth_expired(fault, delivery.attempt);
                if let Some(note) = self.apply_fault(target, &fault, results).await {
                    fault.detail = format!("{}; {note}", fault.detail);
                }
                let (state, next_at) = self.next_state(delivery, &fault, results);
                (state, None, Some(fault), next_at)
            }
        };
        if let Some(due) = next_at {
            results.retries.entry(due).or_default().push(target.clone());
        }
        results.receipts.push(Receipt {
            index: target.index,
            device: target.device.clone(),
            user: target.user.clone(),
            channel: self.name.clone(),
            state,
            vendor_id,
            fault,
            attempts: delivery.attempt,
            at: results.now,
            next_at,
            events: DeviceEvents::default(),
        });
    }

    /// Returns the state that follows a fault, and the time of the next attempt if there is one.
    fn next_state(
        &self,
        delivery: &Delivery,
        fault: &Fault,
        results: &AttemptResults,
    ) -> (State, Option<Timestamp>) {
        let message = &delivery.message;
        let times =
            Times { now: results.now, created_at: message.created_at, expires_at: message.expires_at() };
        // A time to live of zero allows a single attempt. The only exception is a retry with a renewed bearer token.
        let is_single_attempt = message.ttl.is_zero() && fault.info().retry != Retry::Once;
        match self.schedule.next(fault, delivery.attempt, times, results.jitter) {
            NextStep::RetryAt(at) if !is_single_attempt => (State::Queued, Some(at)),
            NextStep::Expire if !is_single_attempt || fault.kind == Kind::Expired => (State::Expired, None),
            _ if fault.kind == Kind::Revoked => (State::Revoked, None),
            _ => (State::Failed, None),
        }
    }

    /// Applies the effects of a fault other than a retry: pruning and alarms. Returns a note for the receipt if a dead address
    /// is kept.
    async fn apply_fault(
        &self,
        target: &Target,
        fault: &Fault,
        results: &AttemptResults,
    ) -> Option<&'static str> {
        if fault.kind == Kind::TokenGone {
            return self.prune_or_hold_back(target, fault, results.started_at).await;
        }
        if fault.info().level == Level::Error || fault.kind == Kind::WrongApp {
            self.open_alarm(Cause::Fault(fault.kind), fault, results.now);
        }
        None
    }

    /// Stores the token by which the push service replaced the target's token.
    async fn replace_token(&self, target: &Target, token: &crate::Secret, now: Timestamp) {
        let old = target.address.clone();
        let replacement = Replacement { old, new: token.clone(), at: now, user: None };
        if let Err(error) = self.context.store.replace(&self.app, replacement).await {
            tracing::error!(app = %self.app, channel = %self.name, %error, "new token cannot be stored; the old one stays registered");
        }
    }
}

/// Returns the queue entry of the next attempt.
fn retry_entry(delivery: &Delivery, due: Timestamp, targets: Vec<Target>) -> Entry {
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
