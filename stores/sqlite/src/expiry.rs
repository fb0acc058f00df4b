//! Deliveries that expired without a lease, and the number of queued deliveries.

use pushgate::queue::{BatchLease, Finished, Lease};
use pushgate::{AppId, ChannelName, NodeId, Timestamp};
use rusqlite::{Connection, params};

use crate::quarantine::Findings;
use crate::queue::find_free;
use crate::text;

pub(crate) fn lease_expired(
    c: &Connection,
    node: NodeId,
    now: Timestamp,
    max: usize,
    findings: &mut Findings,
) -> rusqlite::Result<Vec<Lease>> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let sql = "SELECT rowid, epoch, body FROM deliveries
               WHERE owner IS NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let expired = find_free(c, sql, params![now.as_millis(), max], findings)?;
    expired.into_iter().map(|free| free.lease(c, node)).collect()
}

pub(crate) fn count_waiting(c: &Connection, app: &AppId, channel: &ChannelName) -> rusqlite::Result<u64> {
    c.prepare_cached("SELECT count(*) FROM deliveries WHERE app = ?1 AND channel = ?2 AND owner IS NULL")?
        .query_row(params![app.as_str(), channel.as_str()], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

pub(crate) fn postpone_batch(
    c: &Connection,
    lease: &BatchLease,
    due: Timestamp,
) -> rusqlite::Result<Finished> {
    let part = pushgate::queue::AudienceBatch { due, ..lease.batch.clone() };
    let postponed = c
        .prepare_cached(
            "UPDATE parts SET owner = NULL, due = ?4, body = ?5 WHERE notification = ?1 AND place = ?2 AND epoch = ?3",
        )?
        .execute(params![
            lease.notification.0.as_bytes(),
            part.place,
            lease.epoch.cast_signed(),
            due.as_millis(),
            text(&part)?
        ])?;
    Ok(if postponed == 0 { Finished::Fenced } else { Finished::Done })
}
