//! Deletes rows after their retention, in short transactions.

use pushgate::Timestamp;
use rusqlite::{Connection, params};

/// Maximum number of rows deleted in one transaction, so that writers never wait for long.
const MAX_ROWS: i64 = 1000;
/// Retention of the quarantine. Operators have thirty days to inspect a row.
const QUARANTINE_KEEP: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// Tables whose rows are deleted before their notification.
const DEPENDENT: [(&str, &str); 3] = [
    (
        "SELECT count(*), max(idx) FROM (SELECT idx FROM receipts WHERE notification = ?1 ORDER BY idx LIMIT ?2)",
        "DELETE FROM receipts WHERE notification = ?1 AND idx <= ?2",
    ),
    (
        "SELECT count(*), max(idx) FROM (SELECT idx FROM echoes WHERE notification = ?1 ORDER BY idx LIMIT ?2)",
        "DELETE FROM echoes WHERE notification = ?1 AND idx <= ?2",
    ),
    (
        "SELECT count(*), max(user) FROM (SELECT user FROM acknowledged WHERE notification = ?1 ORDER BY user LIMIT ?2)",
        "DELETE FROM acknowledged WHERE notification = ?1 AND user <= ?2",
    ),
];

/// Deletes at most [`MAX_ROWS`] overdue rows and returns their number; 0 means that nothing is overdue.
pub(crate) fn sweep(c: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let overdue: Vec<[u8; 16]> = c
        .prepare_cached(
            "SELECT id FROM notifications n WHERE keep_until < ?1
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.notification = n.id)
             AND NOT EXISTS (SELECT 1 FROM parts p WHERE p.notification = n.id) LIMIT ?2",
        )?
        .query_map(params![now.as_millis(), MAX_ROWS], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut left = MAX_ROWS;
    for id in &overdue {
        left = forget(c, id, left)?;
        if left == 0 {
            break;
        }
    }
    if left > 0 {
        let expired = c
            .prepare_cached(
                "DELETE FROM quarantine WHERE id IN
                 (SELECT id FROM quarantine WHERE quarantined_at < ?1 ORDER BY quarantined_at LIMIT ?2)",
            )?
            .execute(params![(now - QUARANTINE_KEEP).as_millis(), left])?;
        left -= i64::try_from(expired).unwrap_or(left);
    }
    Ok((MAX_ROWS - left).cast_unsigned())
}

/// Deletes a notification and its rows, at most `most` rows. Returns the remainder of `most`.
fn forget(c: &Connection, id: &[u8; 16], most: i64) -> rusqlite::Result<i64> {
    let mut left = most;
    for (page, delete) in DEPENDENT {
        let (number, last): (i64, rusqlite::types::Value) =
            c.prepare_cached(page)?.query_row(params![id, left], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if number > 0 {
            c.prepare_cached(delete)?.execute(params![id, last])?;
            left -= number;
        }
        if left == 0 {
            return Ok(0);
        }
    }
    c.prepare_cached("DELETE FROM notifications WHERE id = ?1")?.execute([id])?;
    Ok(left - 1)
}
