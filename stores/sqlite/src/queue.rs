//! The queue: accepted notifications, their deliveries and receipts.

use std::collections::HashSet;

use async_trait::async_trait;
use pushgate::echo::Speaker;
use pushgate::queue::{
    Admission, Admitted, Entry, Finish, Finished, Heard, KeyClaim, Lease, PartFinish, Queue, Taken,
    TakenParts, Want, Which, Withdrawal,
};
use pushgate::{
    AppId, ChannelName, Delivery, Echo, IdempotencyKey, NodeId, NotificationId, Receipt, RequestDigest,
    Secret, Status, StorageError, Timestamp, UserId,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::devices::name;
use crate::{SqliteStore, echoes, json, parts, status, text, texts, withdraw};

/// The most notifications forgotten at once: a sweep never holds up the writer for long.
const SWEEP: u32 = 1000;

#[async_trait]
impl Queue for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StorageError> {
        let doing = "accepting a notification";
        let bodies = texts(doing, admission.entries.iter().map(|entry| &entry.delivery))?;
        self.write(doing, move |c| admit(c, &admission, &bodies)).await
    }

    async fn find_claim(&self, app: &AppId, key: &IdempotencyKey) -> Result<Option<KeyClaim>, StorageError> {
        let (app, key) = (app.clone(), key.clone());
        self.read("reading an idempotency key", move |c| find_claim(c, &app, &key)).await
    }

    async fn take(&self, want: Want) -> Result<Taken, StorageError> {
        self.write("taking deliveries", move |c| take(c, &want)).await
    }

    async fn finish(&self, finish: Finish) -> Result<Finished, StorageError> {
        let doing = "storing outcomes";
        let receipts = texts(doing, &finish.receipts)?;
        self.write(doing, move |c| finished(c, &finish, &receipts)).await
    }

    async fn take_parts(
        &self,
        node: NodeId,
        now: Timestamp,
        most: usize,
    ) -> Result<TakenParts, StorageError> {
        self.write("taking parts to be planned", move |c| parts::take(c, node, now, most)).await
    }

    async fn finish_part(&self, finish: PartFinish) -> Result<Finished, StorageError> {
        let doing = "storing a planned part";
        let bodies = texts(doing, finish.entries.iter().map(|entry| &entry.delivery))?;
        self.write(doing, move |c| parts::finish(c, &finish, &bodies)).await
    }

    async fn withdraw(&self, app: &AppId, which: &Which, at: Timestamp) -> Result<u64, StorageError> {
        let withdrawal = Withdrawal { app: app.clone(), which: which.clone(), at };
        self.write("taking back", move |c| withdraw::withdraw(c, &withdrawal)).await
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

    async fn hear(&self, speaker: Speaker, echo: Echo, at: Timestamp) -> Result<Option<Heard>, StorageError> {
        self.write("keeping what a device told", move |c| echoes::hear(c, speaker, echo, at)).await
    }

    async fn own_key(&self, fresh: &Secret) -> Result<Secret, StorageError> {
        let fresh = fresh.clone();
        self.write("keeping a key", move |c| echoes::own_key(c, &fresh)).await
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
        self.read("reading receipts", move |c| {
            let (after, most) = (after.map_or(-1, i64::from), i64::try_from(most).unwrap_or(i64::MAX));
            let mut receipts: Vec<Receipt> = c
                .prepare_cached(
                    "SELECT body FROM receipts WHERE notification = ?1 AND idx > ?2 ORDER BY idx LIMIT ?3",
                )?
                .query_map(params![id.0.as_bytes(), after, most], |row| json(row.get_ref(0)?.as_str()?))?
                .collect::<rusqlite::Result<_>>()?;
            echoes::add(c, id, &mut receipts)?;
            Ok(receipts)
        })
        .await
    }

    async fn status(&self, app: &AppId, id: NotificationId) -> Result<Option<Status>, StorageError> {
        let app = app.clone();
        self.read("reading a notification", move |c| status::status(c, &app, id)).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StorageError> {
        self.write("forgetting old notifications", move |c| sweep(c, now)).await
    }

    async fn lanes(&self) -> Result<Vec<(AppId, ChannelName)>, StorageError> {
        self.read("reading the lanes", |c| {
            c.prepare_cached("SELECT DISTINCT app, channel FROM deliveries")?
                .query_map([], |row| Ok((name(row, 0, AppId::new)?, name(row, 1, ChannelName::new)?)))?
                .collect()
        })
        .await
    }
}

fn admit(c: &Connection, admission: &Admission, bodies: &[String]) -> rusqlite::Result<Admitted> {
    let idempotency = admission.idempotency.as_ref();
    if let Some(idempotency) = idempotency
        && let Some(claim) = find_claim(c, &admission.app, &idempotency.key)?
    {
        return Ok(Admitted::Known(claim));
    }
    if let Some(withdrawal) = &admission.withdrawal {
        withdraw::withdraw(c, withdrawal)?;
    }
    c.prepare_cached(
        "INSERT INTO notifications (id, app, key, digest, created_at, keep_until, skipped, skips, tag, ask)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        admission.id.0.as_bytes(),
        admission.app.as_str(),
        idempotency.map(|idempotency| idempotency.key.as_str()),
        idempotency.map(|idempotency| idempotency.digest.as_bytes()),
        admission.created_at.as_millis(),
        admission.keep_until.as_millis(),
        text(&admission.skipped.iter().take(Status::MOST).collect::<Vec<_>>())?,
        i64::try_from(admission.skipped.len()).unwrap_or(i64::MAX),
        admission.tag,
        admission.later.as_ref().map(|later| text(&later.ask)).transpose()?,
    ])?;
    admission.entries.iter().zip(bodies).try_for_each(|(entry, body)| enqueue(c, entry, body))?;
    let parts = admission.later.iter().flat_map(|later| &later.parts);
    parts.into_iter().try_for_each(|part| parts::wait(c, admission.id, part))?;
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

pub(crate) fn enqueue(c: &Connection, entry: &Entry, body: &str) -> rusqlite::Result<()> {
    let delivery = &entry.delivery;
    let owner = entry.held_by.map(|node| *node.0.as_bytes());
    c.prepare_cached(
        "INSERT INTO deliveries (id, notification, app, channel, due, owner, epoch, body, tag)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
    ])?;
    Ok(())
}

fn take(c: &Connection, want: &Want) -> rusqlite::Result<Taken> {
    void_leases_of_the_dead(c, want)?;
    let (app, channel, now) = (want.app.as_str(), want.channel.as_str(), want.now.as_millis());
    let most = i64::try_from(want.max).unwrap_or(i64::MAX);
    let found: Vec<(i64, i64, Delivery)> = c
        .prepare_cached(
            "SELECT rowid, epoch, body FROM deliveries
             WHERE app = ?1 AND channel = ?2 AND owner IS NULL AND due <= ?3 ORDER BY due LIMIT ?4",
        )?
        .query_map(params![app, channel, now, most], |row| {
            Ok((row.get(0)?, row.get(1)?, json(row.get_ref(2)?.as_str()?)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut lease = c.prepare_cached("UPDATE deliveries SET owner = ?2, epoch = ?3 WHERE rowid = ?1")?;
    let mut taken = Taken::default();
    for (row, epoch, delivery) in found {
        if delivery.targets.is_empty() {
            // All of it was taken back while somebody held it who has died since.
            c.prepare_cached("DELETE FROM deliveries WHERE rowid = ?1")?.execute([row])?;
            continue;
        }
        lease.execute(params![row, want.node.0.as_bytes(), epoch + 1])?;
        taken.leases.push(Lease { delivery, epoch: (epoch + 1).cast_unsigned() });
    }
    taken.next_due = c
        .prepare_cached("SELECT min(due) FROM deliveries WHERE app = ?1 AND channel = ?2 AND owner IS NULL")?
        .query_row(params![app, channel], |row| row.get::<_, Option<i64>>(0))?
        .map(Timestamp::from_millis);
    Ok(taken)
}

/// What a node held that has not said for too long that it lives is nobody's. Rare: no index is kept for it.
fn void_leases_of_the_dead(c: &Connection, want: &Want) -> rusqlite::Result<()> {
    let dead: Vec<[u8; 16]> = c
        .prepare_cached("SELECT id FROM nodes WHERE alive_until < ?1 AND id <> ?2")?
        .query_map(params![want.now.as_millis(), want.node.0.as_bytes()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    dead.iter().try_for_each(|node| let_go(c, node))
}

/// Everything that the node holds is free, and the node forgotten.
fn let_go(c: &Connection, node: &[u8; 16]) -> rusqlite::Result<()> {
    c.execute("UPDATE deliveries SET owner = NULL WHERE owner = ?1", [node])?;
    c.execute("UPDATE parts SET owner = NULL WHERE owner = ?1", [node])?;
    c.execute("DELETE FROM nodes WHERE id = ?1", [node]).map(|_| ())
}

fn finished(c: &Connection, finish: &Finish, receipts: &[String]) -> rusqlite::Result<Finished> {
    let which =
        params![finish.notification.0.as_bytes(), finish.delivery.0.as_bytes(), finish.epoch.cast_signed()];
    // Read only where something comes again, which is rare.
    let left: Option<Delivery> = if finish.again.is_empty() {
        None
    } else {
        c.prepare_cached("SELECT body FROM deliveries WHERE notification = ?1 AND id = ?2 AND epoch = ?3")?
            .query_row(which, |row| json(row.get_ref(0)?.as_str()?))
            .optional()?
    };
    let mut delete =
        c.prepare_cached("DELETE FROM deliveries WHERE notification = ?1 AND id = ?2 AND epoch = ?3")?;
    if delete.execute(which)? == 0 {
        return Ok(Finished::Fenced);
    }
    let mut write =
        c.prepare_cached("INSERT OR REPLACE INTO receipts (notification, idx, body) VALUES (?1, ?2, ?3)")?;
    for (receipt, body) in finish.receipts.iter().zip(receipts) {
        write.execute(params![finish.notification.0.as_bytes(), receipt.index, body])?;
    }
    for entry in &finish.again {
        let mut entry = entry.clone();
        // What was taken back during the attempt does not come again.
        let left = left.iter().flat_map(|left| &left.targets);
        let left: HashSet<u32> = left.map(|target| target.index).collect();
        entry.delivery.targets.retain(|target| left.contains(&target.index));
        if !entry.delivery.targets.is_empty() {
            enqueue(c, &entry, &text(&entry.delivery)?)?;
        }
    }
    Ok(Finished::Done)
}

fn sweep(c: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let old: Vec<[u8; 16]> = c
        .prepare_cached(
            "SELECT id FROM notifications n WHERE keep_until < ?1
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.notification = n.id)
             AND NOT EXISTS (SELECT 1 FROM parts p WHERE p.notification = n.id) LIMIT ?2",
        )?
        .query_map(params![now.as_millis(), SWEEP], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &old {
        c.prepare_cached("DELETE FROM receipts WHERE notification = ?1")?.execute([id])?;
        c.prepare_cached("DELETE FROM echoes WHERE notification = ?1")?.execute([id])?;
        c.prepare_cached("DELETE FROM acknowledged WHERE notification = ?1")?.execute([id])?;
        c.prepare_cached("DELETE FROM notifications WHERE id = ?1")?.execute([id])?;
    }
    Ok(old.len() as u64)
}
