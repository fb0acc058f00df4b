//! Deliveries that expired without a lease, and the number of queued deliveries.

use pushgate::queue::{Finished, Lease, PartLease};
use pushgate::{AppId, ChannelName, Delivery, NodeId, Timestamp};
use rusqlite::{Connection, params};

use crate::quarantine::{Findings, Source};
use crate::queue::decode_delivery;
use crate::text;

pub(crate) fn take_expired(
    c: &Connection,
    (node, now): (NodeId, Timestamp),
    max: usize,
    findings: &mut Findings,
) -> rusqlite::Result<Vec<Lease>> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let expired: Vec<(i64, i64, Option<Delivery>)> = c
        .prepare_cached(
            "SELECT rowid, epoch, body FROM deliveries
             WHERE owner IS NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        )?
        .query_map(params![now.as_millis(), max], |row| {
            let (id, delivery) = (row.get(0)?, decode_delivery(row.get_ref(2)?));
            Ok((id, row.get(1)?, findings.check(delivery, || Source::Delivery { row: id })))
        })?
        .collect::<rusqlite::Result<_>>()?;
    findings.set_aside(c)?;
    let mut lease = c.prepare_cached("UPDATE deliveries SET owner = ?2, epoch = ?3 WHERE rowid = ?1")?;
    let mut leases = Vec::new();
    for (row, epoch, delivery) in expired {
        let Some(delivery) = delivery else { continue };
        lease.execute(params![row, node.0.as_bytes(), epoch + 1])?;
        leases.push(Lease { delivery, epoch: (epoch + 1).cast_unsigned() });
    }
    Ok(leases)
}

pub(crate) fn count_waiting(c: &Connection, app: &AppId, channel: &ChannelName) -> rusqlite::Result<u64> {
    c.prepare_cached("SELECT count(*) FROM deliveries WHERE app = ?1 AND channel = ?2 AND owner IS NULL")?
        .query_row(params![app.as_str(), channel.as_str()], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

pub(crate) fn postpone_part(c: &Connection, lease: &PartLease, due: Timestamp) -> rusqlite::Result<Finished> {
    let part = pushgate::queue::Part { due, ..lease.part.clone() };
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
