//! Withdraws deliveries and deferred batches from the queue.

use pushgate::queue::{WithdrawFilter, Withdrawal};
use pushgate::{AppId, Delivery, Receipt, Target, Timestamp};
use rusqlite::{Connection, params};

use crate::quarantine::{Findings, Source};
use crate::queue::decode_delivery;
use crate::{counts, text};

/// Withdraws all matching deliveries and batches. Returns the numbers of addresses and batches.
pub(crate) fn withdraw(
    c: &Connection,
    withdrawal: &Withdrawal,
    findings: &mut Findings,
) -> rusqlite::Result<u64> {
    let Withdrawal { app, filter, at } = withdrawal;
    let mut count = 0;
    let deliveries = found(c, app, filter, findings)?;
    findings.set_aside(c)?;
    for (row, held, delivery) in deliveries {
        count += take_back(c, (row, held), delivery, filter, *at)?;
    }
    if let WithdrawFilter::Id(id) = filter {
        c.prepare_cached(
            "UPDATE notifications SET revoked_at = ?3 WHERE id = ?1 AND app = ?2 AND revoked_at IS NULL",
        )?
        .execute(params![id.0.as_bytes(), app.as_str(), at.as_millis()])?;
        let parts = c
            .prepare_cached(
                "DELETE FROM parts WHERE notification = (SELECT id FROM notifications WHERE id = ?1 AND app = ?2)",
            )?
            .execute(params![id.0.as_bytes(), app.as_str()])?;
        count += parts as u64;
    }
    Ok(count)
}

/// Returns the candidate deliveries, each with a flag for a valid lease.
fn found(
    c: &Connection,
    app: &AppId,
    filter: &WithdrawFilter,
    findings: &mut Findings,
) -> rusqlite::Result<Vec<(i64, bool, Delivery)>> {
    let read = |row: &rusqlite::Row<'_>| {
        let (id, delivery) = (row.get(0)?, decode_delivery(row.get_ref(2)?));
        let held = row.get(1)?;
        Ok(findings.check(delivery, || Source::Delivery { row: id }).map(|delivery| (id, held, delivery)))
    };
    match filter {
        WithdrawFilter::Id(id) => c
            .prepare_cached(
                "SELECT rowid, owner IS NOT NULL, body FROM deliveries WHERE notification = ?1 AND app = ?2",
            )?
            .query_map(params![id.0.as_bytes(), app.as_str()], read)?
            .filter_map(Result::transpose)
            .collect(),
        WithdrawFilter::Tag { tag, .. } => c
            .prepare_cached(
                "SELECT rowid, owner IS NOT NULL, body FROM deliveries WHERE app = ?1 AND tag = ?2",
            )?
            .query_map(params![app.as_str(), tag], read)?
            .filter_map(Result::transpose)
            .collect(),
    }
}

fn take_back(
    c: &Connection,
    (row, held): (i64, bool),
    mut delivery: Delivery,
    filter: &WithdrawFilter,
    at: Timestamp,
) -> rusqlite::Result<u64> {
    let message = std::sync::Arc::clone(&delivery.message);
    let taken: Vec<Target> =
        delivery.targets.extract_if(.., |target| filter.matches(&message, target)).collect();
    if taken.is_empty() {
        return Ok(0);
    }
    let receipts: Vec<Receipt> =
        taken.iter().map(|target| Receipt::withdrawn(&delivery, target, at)).collect();
    counts::write_receipts(c, message.id.0.as_bytes(), &receipts)?;
    // One that is held stays, empty, until its attempt ends or its holder dies.
    if delivery.targets.is_empty() && !held {
        c.prepare_cached("DELETE FROM deliveries WHERE rowid = ?1")?.execute([row])?;
    } else {
        let left = i64::try_from(delivery.targets.len()).unwrap_or(i64::MAX);
        c.prepare_cached("UPDATE deliveries SET body = ?2, recipients = ?3 WHERE rowid = ?1")?
            .execute(params![row, text(&delivery)?, left])?;
    }
    Ok(taken.len() as u64)
}
