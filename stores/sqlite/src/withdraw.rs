//! Taking back what was not sent yet.

use pushgate::queue::{Which, Withdrawal};
use pushgate::{AppId, Delivery, Receipt, Target, Timestamp};
use rusqlite::{Connection, params};

use crate::{json, text};

/// Withdraws what is meant. Returns the number of addresses and parts.
pub(crate) fn withdraw(c: &Connection, withdrawal: &Withdrawal) -> rusqlite::Result<u64> {
    let Withdrawal { app, which, at } = withdrawal;
    let mut count = 0;
    for (row, held, delivery) in found(c, app, which)? {
        count += take_back(c, (row, held), delivery, which, *at)?;
    }
    if let Which::Id(id) = which {
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

/// Deliveries that may be meant, and whether somebody holds them.
fn found(c: &Connection, app: &AppId, which: &Which) -> rusqlite::Result<Vec<(i64, bool, Delivery)>> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, json(row.get_ref(2)?.as_str()?)?));
    match which {
        Which::Id(id) => c
            .prepare_cached(
                "SELECT rowid, owner IS NOT NULL, body FROM deliveries WHERE notification = ?1 AND app = ?2",
            )?
            .query_map(params![id.0.as_bytes(), app.as_str()], read)?
            .collect(),
        Which::Tag { tag, .. } => c
            .prepare_cached(
                "SELECT rowid, owner IS NOT NULL, body FROM deliveries WHERE app = ?1 AND tag = ?2",
            )?
            .query_map(params![app.as_str(), tag], read)?
            .collect(),
    }
}

fn take_back(
    c: &Connection,
    (row, held): (i64, bool),
    mut delivery: Delivery,
    which: &Which,
    at: Timestamp,
) -> rusqlite::Result<u64> {
    let message = std::sync::Arc::clone(&delivery.message);
    let taken: Vec<Target> =
        delivery.targets.extract_if(.., |target| which.takes(&message, target)).collect();
    if taken.is_empty() {
        return Ok(0);
    }
    let mut write =
        c.prepare_cached("INSERT OR REPLACE INTO receipts (notification, idx, body) VALUES (?1, ?2, ?3)")?;
    for target in &taken {
        let receipt = Receipt::withdrawn(&delivery, target, at);
        write.execute(params![message.id.0.as_bytes(), receipt.index, text(&receipt)?])?;
    }
    // One that is held stays, empty, until its attempt ends or its holder dies.
    if delivery.targets.is_empty() && !held {
        c.prepare_cached("DELETE FROM deliveries WHERE rowid = ?1")?.execute([row])?;
    } else {
        c.prepare_cached("UPDATE deliveries SET body = ?2 WHERE rowid = ?1")?
            .execute(params![row, text(&delivery)?])?;
    }
    Ok(taken.len() as u64)
}
