//! Parts of audiences that are planned later: leased and fenced as deliveries are.

use pushgate::queue::{Finished, Part, PartFinish, PartLease, TakenParts};
use pushgate::{AppId, NodeId, NotificationId, Skip, Status, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use crate::devices::name;
use crate::queue::enqueue;
use crate::{json, text, withdraw};

/// Parts that no living node holds. ?1 is the asking node, whose own are in its memory.
const FREE: &str = "(p.owner IS NULL OR
    (p.owner <> ?1 AND p.owner NOT IN (SELECT id FROM nodes WHERE alive_until >= ?2)))";

pub(crate) fn wait(c: &Connection, id: NotificationId, part: &Part) -> rusqlite::Result<()> {
    c.prepare_cached("INSERT INTO parts (notification, place, due, epoch, body) VALUES (?1, ?2, ?3, 0, ?4)")?
        .execute(params![id.0.as_bytes(), part.place, part.due.as_millis(), text(part)?])
        .map(|_| ())
}

pub(crate) fn take(
    c: &Connection,
    node: NodeId,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<TakenParts> {
    let (node, at) = (node.0.as_bytes(), now.as_millis());
    let sql = format!(
        "SELECT p.notification, p.epoch, p.body, n.created_at, n.ask
         FROM parts p JOIN notifications n ON n.id = p.notification
         WHERE {FREE} AND p.due <= ?2 AND n.ask IS NOT NULL ORDER BY p.due, p.notification, p.place LIMIT ?3"
    );
    let mut leases: Vec<PartLease> = c
        .prepare_cached(&sql)?
        .query_map(params![node, at, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok(PartLease {
                notification: NotificationId(uuid::Uuid::from_bytes(row.get(0)?)),
                created_at: Timestamp::from_millis(row.get(3)?),
                ask: json(row.get_ref(4)?.as_str()?)?,
                part: json(row.get_ref(2)?.as_str()?)?,
                acknowledged: Vec::new(),
                epoch: (row.get::<_, i64>(1)? + 1).cast_unsigned(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    for lease in &mut leases {
        let id = lease.notification.0.as_bytes();
        c.prepare_cached("UPDATE parts SET owner = ?3, epoch = ?4 WHERE notification = ?1 AND place = ?2")?
            .execute(params![id, lease.part.place, node, lease.epoch.cast_signed()])?;
        lease.acknowledged = c
            .prepare_cached("SELECT user FROM acknowledged WHERE notification = ?1 ORDER BY user")?
            .query_map([id], |row| name(row, 0, UserId::new))?
            .collect::<rusqlite::Result<_>>()?;
    }
    let next_due = c
        .prepare_cached(&format!("SELECT min(p.due) FROM parts p WHERE {FREE}"))?
        .query_row(params![node, at], |row| row.get::<_, Option<i64>>(0))?;
    Ok(TakenParts { leases, next_due: next_due.map(Timestamp::from_millis) })
}

pub(crate) fn finish(c: &Connection, finish: &PartFinish, bodies: &[String]) -> rusqlite::Result<Finished> {
    let id = finish.notification.0.as_bytes();
    let gone = c
        .prepare_cached("DELETE FROM parts WHERE notification = ?1 AND place = ?2 AND epoch = ?3")?
        .execute(params![id, finish.place, finish.epoch.cast_signed()])?;
    if gone == 0 {
        return Ok(Finished::Fenced);
    }
    if let Some(withdrawal) = &finish.withdrawal {
        withdraw::withdraw(c, withdrawal)?;
    }
    finish.entries.iter().zip(bodies).try_for_each(|(entry, body)| enqueue(c, entry, body))?;
    finish.next.iter().try_for_each(|part| wait(c, finish.notification, part))?;
    let skipped: Option<Vec<Skip>> = c
        .prepare_cached("SELECT skipped FROM notifications WHERE id = ?1")?
        .query_row([id], |row| json(row.get_ref(0)?.as_str()?))
        .optional()?;
    let mut skipped = skipped.unwrap_or_default();
    let (number, room) = (finish.skipped.len(), Status::MOST.saturating_sub(skipped.len()));
    skipped.extend(finish.skipped.iter().take(room).cloned());
    c.prepare_cached(
        "UPDATE notifications SET parts_done = parts_done + 1, skips = skips + ?2, skipped = ?3 WHERE id = ?1",
    )?
    .execute(params![id, i64::try_from(number).unwrap_or(i64::MAX), text(&skipped)?])?;
    Ok(Finished::Done)
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
