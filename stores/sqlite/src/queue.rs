//! Queue: accepted notifications, their deliveries and receipts.

use std::collections::HashSet;

use async_trait::async_trait;
use pushgate::device_event::EventClaims;
use pushgate::queue::{
    Admission, Admitted, BatchCompletion, BatchLease, Completion, Entry, Finished, KeyClaim, Lease,
    LeaseRequest, LeasedBatches, LeasedDeliveries, QuarantineListener, Quarantined, Queue, RecordedEvent,
    WithdrawFilter, Withdrawal,
};
use pushgate::{
    AppId, ChannelName, Delivery, DeviceEvent, IdempotencyKey, NodeId, NotificationId, Receipt,
    RequestDigest, Secret, Status, StorageError, Timestamp, UserId,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::devices::name;
use crate::quarantine::{Findings, Source, decode};
use crate::{SqliteStore, counts, echoes, expiry, parts, quarantine, status, sweep, text, texts, withdraw};

#[async_trait]
impl Queue for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError> {
        let doing = "accepting a notification";
        let bodies = texts(doing, admission.entries.iter().map(|entry| &entry.delivery))?;
        self.write_rows(doing, move |c, findings| admit(c, &admission, &bodies, findings)).await
    }

    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError> {
        let (app, key) = (app.clone(), key.clone());
        self.read("reading an idempotency key", move |c| find_claim(c, &app, &key)).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<LeasedDeliveries, StorageError> {
        self.write_rows("taking deliveries", move |c, findings| take(c, &request, findings)).await
    }

    async fn lease_expired(
        &self,
        node: NodeId,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<Lease>, StorageError> {
        let doing = "taking expired deliveries";
        self.write_rows(doing, move |c, findings| expiry::lease_expired(c, node, now, max, findings)).await
    }

    async fn count_waiting(&self, app: &AppId, channel: &ChannelName) -> Result<u64, StorageError> {
        let (app, channel) = (app.clone(), channel.clone());
        self.read("counting deliveries", move |c| expiry::count_waiting(c, &app, &channel)).await
    }

    async fn postpone_batch(&self, lease: &BatchLease, due: Timestamp) -> Result<Finished, StorageError> {
        let lease = lease.clone();
        self.write("postponing a part", move |c| expiry::postpone_batch(c, &lease, due)).await
    }

    async fn finish(&self, finish: Completion) -> Result<Finished, StorageError> {
        let doing = "storing outcomes";
        let receipts = texts(doing, &finish.receipts)?;
        self.write(doing, move |c| finished(c, &finish, &receipts)).await
    }

    async fn lease_batches(
        &self,
        node: NodeId,
        now: Timestamp,
        most: usize,
    ) -> Result<LeasedBatches, StorageError> {
        let doing = "taking parts to be planned";
        self.write_rows(doing, move |c, findings| parts::take(c, node, now, most, findings)).await
    }

    async fn finish_batch(&self, finish: BatchCompletion) -> Result<Finished, StorageError> {
        let doing = "storing a planned part";
        let bodies = texts(doing, finish.entries.iter().map(|entry| &entry.delivery))?;
        self.write_rows(doing, move |c, findings| parts::finish(c, &finish, &bodies, findings)).await
    }

    async fn withdraw(
        &self,
        app: &AppId,
        filter: &WithdrawFilter,
        at: Timestamp,
    ) -> Result<u64, StorageError> {
        let withdrawal = Withdrawal { app: app.clone(), filter: filter.clone(), at };
        let doing = "taking back";
        self.write_rows(doing, move |c, findings| withdraw::withdraw(c, &withdrawal, findings)).await
    }

    async fn acknowledge(
        &self,
        app: &AppId,
        id: NotificationId,
        user: &UserId,
    ) -> Result<bool, StorageError> {
        let (app, user) = (app.clone(), user.clone());
        self.write("acknowledging", move |c| parts::acknowledge(c, &app, id, &user)).await
    }

    async fn record_event(
        &self,
        claims: EventClaims,
        event: DeviceEvent,
        at: Timestamp,
    ) -> Result<Option<RecordedEvent>, StorageError> {
        let doing = "keeping what a device told";
        self.write_rows(doing, move |c, findings| echoes::record_event(c, claims, event, at, findings)).await
    }

    async fn installation_secret(&self, fresh: &Secret) -> Result<Secret, StorageError> {
        let fresh = fresh.clone();
        self.write("keeping a key", move |c| echoes::installation_secret(c, &fresh)).await
    }

    async fn renew(&self, node: NodeId, until: Timestamp) -> Result<(), StorageError> {
        self.write("saying that this node lives", move |c| {
            c.prepare_cached("INSERT OR REPLACE INTO nodes (id, alive_until) VALUES (?1, ?2)")?
                .execute(params![node.0.as_bytes(), until.as_millis()])
                .map(|_| ())
        })
        .await
    }

    async fn release(&self, node: NodeId) -> Result<(), StorageError> {
        self.write("giving leases back", move |c| let_go(c, node.0.as_bytes())).await
    }

    async fn receipts(
        &self,
        id: NotificationId,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<Receipt>, StorageError> {
        self.read_rows("reading receipts", move |c, findings| {
            let mut receipts = status::receipts(c, id, after, most, findings)?;
            echoes::add(c, id, &mut receipts)?;
            Ok(receipts)
        })
        .await
    }

    async fn status_page(
        &self,
        app: &AppId,
        id: NotificationId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Option<Status>, StorageError> {
        let app = app.clone();
        let page = status::Page { after, limit: limit.min(Status::MAX_PAGE) };
        self.read_rows("reading a notification", move |c, findings| {
            status::status(c, &app, id, page, findings)
        })
        .await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError> {
        self.write("forgetting old notifications", move |c| sweep::sweep(c, now)).await
    }

    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError> {
        self.read_rows("reading the lanes", lanes).await
    }

    async fn quarantined(&self, after: Option<u64>, limit: usize) -> Result<Vec<Quarantined>, StorageError> {
        self.read("listing the quarantine", move |c| quarantine::list(c, after, limit)).await
    }

    fn on_quarantine(&self, listener: QuarantineListener) {
        // A gateway says it once, at its start.
        let _ = self.listener.set(listener);
    }
}

/// Decodes a delivery.
pub(crate) fn decode_delivery(body: rusqlite::types::ValueRef<'_>) -> Result<Delivery, String> {
    decode(body)
}

fn lanes(c: &Connection, findings: &mut Findings) -> rusqlite::Result<Vec<(AppId, ChannelName)>> {
    let mut lanes = Vec::new();
    let mut names =
        c.prepare_cached("SELECT app, channel, min(rowid) FROM deliveries GROUP BY app, channel")?;
    let mut names = names.query([])?;
    while let Some(row) = names.next()? {
        let lane = name(row, 0, AppId::new).and_then(|app| Ok((app, name(row, 1, ChannelName::new)?)));
        let row = row.get(2)?;
        let lane = lane.map_err(|_| "its app or channel has no valid name".to_owned());
        lanes.extend(findings.check(lane, || Source::Delivery { row }));
    }
    Ok(lanes)
}

fn admit(
    c: &Connection,
    admission: &Admission,
    bodies: &[String],
    findings: &mut Findings,
) -> rusqlite::Result<Admitted> {
    let idempotency = admission.idempotency.as_ref();
    if let Some(idempotency) = idempotency
        && let Some(claim) = find_claim(c, &admission.app, &idempotency.key)?
    {
        return Ok(Admitted::Known(claim));
    }
    if let Some(withdrawal) = &admission.withdrawal {
        withdraw::withdraw(c, withdrawal, findings)?;
    }
    c.prepare_cached(
        "INSERT INTO notifications
         (id, app, key, digest, created_at, keep_until, skipped, skips, tag, ask, recipients)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        admission.id.0.as_bytes(),
        admission.app.as_str(),
        idempotency.map(|idempotency| idempotency.key.as_str()),
        idempotency.map(|idempotency| idempotency.digest.as_bytes()),
        admission.created_at.as_millis(),
        admission.keep_until.as_millis(),
        text(&admission.skipped.iter().take(Status::MAX_PAGE).collect::<Vec<_>>())?,
        i64::try_from(admission.skipped.len()).unwrap_or(i64::MAX),
        admission.tag,
        admission.deferred_plan.as_ref().map(|plan| text(&plan.request)).transpose()?,
        i64::try_from(recipients(&admission.entries)).unwrap_or(i64::MAX),
    ])?;
    admission.entries.iter().zip(bodies).try_for_each(|(entry, body)| enqueue(c, entry, body))?;
    let batches = admission.deferred_plan.iter().flat_map(|plan| &plan.batches);
    batches.into_iter().try_for_each(|batch| parts::wait(c, admission.id, batch))?;
    Ok(Admitted::New)
}

fn find_claim(c: &Connection, app: &AppId, key: &IdempotencyKey) -> rusqlite::Result<Option<KeyClaim>> {
    c.prepare_cached("SELECT id, digest FROM notifications WHERE app = ?1 AND key = ?2")?
        .query_row([app.as_str(), key.as_str()], |row| {
            let id = NotificationId(uuid::Uuid::from_bytes(row.get(0)?));
            let digest = row.get::<_, Option<[u8; 32]>>(1)?.map(RequestDigest::from_bytes);
            Ok(KeyClaim { id, digest })
        })
        .optional()
}

/// Returns how many recipients these deliveries have.
pub(crate) fn recipients(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.delivery.targets.len()).sum()
}

pub(crate) fn enqueue(c: &Connection, entry: &Entry, body: &str) -> rusqlite::Result<()> {
    let delivery = &entry.delivery;
    let owner = entry.held_by.map(|node| *node.0.as_bytes());
    c.prepare_cached(
        "INSERT INTO deliveries (id, notification, app, channel, due, owner, epoch, body, tag, recipients, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        delivery.id.0.as_bytes(),
        delivery.message.id.0.as_bytes(),
        delivery.message.app.as_str(),
        delivery.channel.as_str(),
        entry.due.as_millis(),
        owner,
        i64::from(owner.is_some()),
        body,
        delivery.message.collapse_key,
        i64::try_from(delivery.targets.len()).unwrap_or(i64::MAX),
        delivery.message.expires_at().as_millis(),
    ])?;
    Ok(())
}

fn take(c: &Connection, want: &LeaseRequest, findings: &mut Findings) -> rusqlite::Result<LeasedDeliveries> {
    void_leases_of_the_dead(c, want)?;
    let (app, channel, now) = (want.app.as_str(), want.channel.as_str(), want.now.as_millis());
    let most = i64::try_from(want.max).unwrap_or(i64::MAX);
    let sql = "SELECT rowid, epoch, body FROM deliveries
               WHERE app = ?1 AND channel = ?2 AND owner IS NULL AND due <= ?3 ORDER BY due LIMIT ?4";
    let mut taken = LeasedDeliveries::default();
    for free in find_free(c, sql, params![app, channel, now, most], findings)? {
        if free.delivery.targets.is_empty() {
            // All recipients were withdrawn during a lease whose node has ended since.
            c.prepare_cached("DELETE FROM deliveries WHERE rowid = ?1")?.execute([free.row])?;
            continue;
        }
        taken.leases.push(free.lease(c, want.node)?);
    }
    taken.next_due = c
        .prepare_cached("SELECT min(due) FROM deliveries WHERE app = ?1 AND channel = ?2 AND owner IS NULL")?
        .query_row(params![app, channel], |row| row.get::<_, Option<i64>>(0))?
        .map(Timestamp::from_millis);
    Ok(taken)
}

/// Delivery without a lease.
pub(crate) struct FreeDelivery {
    row: i64,
    epoch: i64,
    delivery: Delivery,
}

impl FreeDelivery {
    /// Leases the delivery to the node, with the next fencing token.
    pub(crate) fn lease(self, c: &Connection, node: NodeId) -> rusqlite::Result<Lease> {
        let epoch = self.epoch + 1;
        c.prepare_cached("UPDATE deliveries SET owner = ?2, epoch = ?3 WHERE rowid = ?1")?
            .execute(params![self.row, node.0.as_bytes(), epoch])?;
        Ok(Lease { delivery: self.delivery, epoch: epoch.cast_unsigned() })
    }
}

/// Runs a query for the columns rowid, epoch and body of deliveries. Moves those that cannot be decoded to the quarantine.
pub(crate) fn find_free(
    c: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    findings: &mut Findings,
) -> rusqlite::Result<Vec<FreeDelivery>> {
    let free = c
        .prepare_cached(sql)?
        .query_map(params, |row| {
            let (id, epoch, delivery) = (row.get(0)?, row.get(1)?, decode_delivery(row.get_ref(2)?));
            let delivery = findings.check(delivery, || Source::Delivery { row: id });
            Ok(delivery.map(|delivery| FreeDelivery { row: id, epoch, delivery }))
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    findings.set_aside(c)?;
    Ok(free)
}

/// Releases the leases of nodes whose heartbeat has expired. No index exists for this rare query.
fn void_leases_of_the_dead(c: &Connection, want: &LeaseRequest) -> rusqlite::Result<()> {
    let dead: Vec<[u8; 16]> = c
        .prepare_cached("SELECT id FROM nodes WHERE alive_until < ?1 AND id <> ?2")?
        .query_map(params![want.now.as_millis(), want.node.0.as_bytes()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    dead.iter().try_for_each(|node| let_go(c, node))
}

/// Releases all leases of the node, and deletes the node.
fn let_go(c: &Connection, node: &[u8; 16]) -> rusqlite::Result<()> {
    c.execute("UPDATE deliveries SET owner = NULL WHERE owner = ?1", [node])?;
    c.execute("UPDATE parts SET owner = NULL WHERE owner = ?1", [node])?;
    c.execute("DELETE FROM nodes WHERE id = ?1", [node]).map(|_| ())
}

fn finished(c: &Connection, finish: &Completion, receipts: &[String]) -> rusqlite::Result<Finished> {
    let which =
        params![finish.notification.0.as_bytes(), finish.delivery.0.as_bytes(), finish.epoch.cast_signed()];
    // Read only where something comes again, which is rare. A row that cannot be read leaves with this, and what is in memory holds.
    let left: Option<Delivery> = if finish.again.is_empty() {
        None
    } else {
        c.prepare_cached("SELECT body FROM deliveries WHERE notification = ?1 AND id = ?2 AND epoch = ?3")?
            .query_row(which, |row| Ok(decode_delivery(row.get_ref(0)?).ok()))
            .optional()?
            .flatten()
    };
    let mut delete =
        c.prepare_cached("DELETE FROM deliveries WHERE notification = ?1 AND id = ?2 AND epoch = ?3")?;
    if delete.execute(which)? == 0 {
        return Ok(Finished::Fenced);
    }
    let bodies = finish.receipts.iter().zip(receipts.iter().map(String::as_str));
    counts::write_bodies(c, finish.notification.0.as_bytes(), bodies)?;
    for entry in &finish.again {
        let mut entry = entry.clone();
        // What was taken back during the attempt does not come again.
        if let Some(left) = &left {
            let left: HashSet<u32> = left.targets.iter().map(|target| target.index).collect();
            entry.delivery.targets.retain(|target| left.contains(&target.index));
        }
        if !entry.delivery.targets.is_empty() {
            enqueue(c, &entry, &text(&entry.delivery)?)?;
        }
    }
    Ok(Finished::Done)
}
