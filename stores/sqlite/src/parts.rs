//! Batches of audiences whose planning is deferred. They are leased and fenced like deliveries.

use pushgate::queue::{AudienceBatch, BatchCompletion, BatchLease, Finished, LeasedBatches};
use pushgate::{AppId, NodeId, Notification, NotificationId, Skip, Status, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::devices::name;
use crate::quarantine::{Findings, Source, decode};
use crate::queue::{enqueue, recipients};
use crate::{counts, text, withdraw};

/// Condition for batches without a valid lease. ?1 is the requesting node, which has its own batches in memory.
const FREE: &str = "(p.owner IS NULL OR
    (p.owner <> ?1 AND p.owner NOT IN (SELECT id FROM nodes WHERE alive_until >= ?2)))";

pub(crate) fn wait(c: &Connection, id: NotificationId, part: &AudienceBatch) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT INTO parts (notification, place, due, epoch, body) VALUES (?1, ?2, ?3, 0, ?4)")?
        .execute(params![id.0.as_bytes(), part.place, part.due.as_millis(), text(part)?])
        .map(|_| ())
}

pub(crate) fn take(
    c: &Connection,
    node: NodeId,
    now: Timestamp,
    limit: usize,
    findings: &mut Findings,
) -> rusqlite::Result<LeasedBatches> {
    let (node, at) = (node.0.as_bytes(), now.as_millis());
    let sql = format!(
        "SELECT p.notification, p.epoch, p.body, n.created_at, n.ask, p.place
         FROM parts p LEFT JOIN notifications n ON n.id = p.notification
         WHERE {FREE} AND p.due <= ?2 ORDER BY p.due, p.notification, p.place LIMIT ?3"
    );
    let mut leases: Vec<BatchLease> = c
        .prepare_cached(&sql)?
        .query_map(params![node, at, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            let (notification, place) = (row.get(0)?, row.get(5)?);
            let source = || Source::Part { notification, place };
            let request = decode::<Notification>(row.get_ref(4)?);
            let request = request.map_err(|reason| format!("what was asked for: {reason}"));
            let Some(request) = findings.check(request, source) else { return Ok(None) };
            let Some(batch) = findings.check(decode::<AudienceBatch>(row.get_ref(2)?), source) else {
                return Ok(None);
            };
            Ok(Some(BatchLease {
                notification: NotificationId(uuid::Uuid::from_bytes(notification)),
                created_at: Timestamp::from_millis(row.get(3)?),
                request,
                batch,
                acknowledged: Vec::new(),
                epoch: (row.get::<_, i64>(1)? + 1).cast_unsigned(),
            }))
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    findings.set_aside(c)?;
    for lease in &mut leases {
        let id = lease.notification.0.as_bytes();
        c.prepare_cached("UPDATE parts SET owner = ?3, epoch = ?4 WHERE notification = ?1 AND place = ?2")?
            .execute(params![id, lease.batch.place, node, lease.epoch.cast_signed()])?;
        lease.acknowledged = c
            .prepare_cached("SELECT user FROM acknowledged WHERE notification = ?1 ORDER BY user")?
            // An invalid name belongs to no user.
            .query_map([id], |row| Ok(name(row, 0, UserId::new).ok()))?
            .filter_map(Result::transpose)
            .collect::<rusqlite::Result<_>>()?;
    }
    let next_due = c
        .prepare_cached(&format!("SELECT min(p.due) FROM parts p WHERE {FREE}"))?
        .query_row(params![node, at], |row| row.get::<_, Option<i64>>(0))?;
    Ok(LeasedBatches { leases, next_due: next_due.map(Timestamp::from_millis) })
}

pub(crate) fn finish(
    c: &Connection,
    finish: &BatchCompletion,
    bodies: &[String],
    findings: &mut Findings,
) -> rusqlite::Result<Finished> {
    let id = finish.notification.0.as_bytes();
    let gone = c
        .prepare_cached("DELETE FROM parts WHERE notification = ?1 AND place = ?2 AND epoch = ?3")?
        .execute(params![id, finish.place, finish.epoch.cast_signed()])?;
    if gone == 0 {
        return Ok(Finished::Fenced);
    }
    if let Some(withdrawal) = &finish.withdrawal {
        withdraw::withdraw(c, withdrawal, findings)?;
    }
    finish.entries.iter().zip(bodies).try_for_each(|(entry, body)| enqueue(c, entry, body))?;
    counts::add_recipients(c, id, recipients(&finish.entries))?;
    finish.next.iter().try_for_each(|part| wait(c, finish.notification, part))?;
    let skipped = skipped(c, id)?;
    findings.check(skipped, || Source::Skipped { notification: *id });
    findings.set_aside(c)?;
    count_planned(c, id, &finish.skipped)?;
    Ok(Finished::Done)
}

/// Reads the list of skipped recipients. The list is empty if there is no such notification.
fn skipped(c: &Connection, id: &[u8; 16]) -> rusqlite::Result<Result<Vec<Skip>, String>> {
    let skipped = c
        .prepare_cached("SELECT skipped FROM notifications WHERE id = ?1")?
        .query_row([id], |row| Ok(decode(row.get_ref(0)?)))
        .optional()?;
    Ok(skipped.unwrap_or_else(|| Ok(Vec::new())))
}

/// Counts a batch as planned, and adds its skipped recipients.
pub(crate) fn count_planned(c: &Connection, id: &[u8; 16], more: &[Skip]) -> rusqlite::Result<()> {
    let mut list = skipped(c, id)?.unwrap_or_default();
    let room = Status::MAX_PAGE.saturating_sub(list.len());
    list.extend(more.iter().take(room).cloned());
    c.prepare_cached(
        "UPDATE notifications SET parts_done = parts_done + 1, skips = skips + ?2, skipped = ?3 WHERE id = ?1",
    )?
    .execute(params![id, i64::try_from(more.len()).unwrap_or(i64::MAX), text(&list)?])
    .map(|_| ())
}

pub(crate) fn acknowledge(
    c: &Connection,
    app: &AppId,
    id: NotificationId,
    user: &UserId,
) -> rusqlite::Result<bool> {
    let waits = c
        .prepare_cached(
            "SELECT 1 FROM parts p JOIN notifications n ON n.id = p.notification WHERE n.id = ?1 AND n.app = ?2",
        )?
        .exists(params![id.0.as_bytes(), app.as_str()])?;
    if waits {
        c.prepare_cached("INSERT OR IGNORE INTO acknowledged (notification, user) VALUES (?1, ?2)")?
            .execute(params![id.0.as_bytes(), user.as_str()])?;
    }
    Ok(waits)
}
