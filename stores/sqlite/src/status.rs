//! What became of a notification: counted whole, told of one by one as far as that is bounded.

use std::collections::BTreeMap;

use pushgate::receipt::Progress;
use pushgate::{AppId, Delivery, NotificationId, Receipt, State, Status, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{echoes, json};

pub(crate) fn status(c: &Connection, app: &AppId, id: NotificationId) -> rusqlite::Result<Option<Status>> {
    let found = c
        .prepare_cached(
            "SELECT created_at, skipped, skips, tag, ask IS NOT NULL, parts_done, revoked_at FROM notifications
             WHERE id = ?1 AND app = ?2",
        )?
        .query_row(params![id.0.as_bytes(), app.as_str()], |row| {
            let progress = Progress { done: row.get::<_, i64>(5)?.cast_unsigned(), open: 0 };
            Ok(Status {
                id,
                created_at: Timestamp::from_millis(row.get(0)?),
                revoked_at: row.get::<_, Option<i64>>(6)?.map(Timestamp::from_millis),
                tag: row.get(3)?,
                progress: row.get::<_, bool>(4)?.then_some(progress),
                counts: BTreeMap::new(),
                echoes: BTreeMap::new(),
                skips: row.get::<_, i64>(2)?.cast_unsigned(),
                skipped: json(row.get_ref(1)?.as_str()?)?,
                receipts: Vec::new(),
            })
        })
        .optional()?;
    let Some(mut status) = found else { return Ok(None) };
    if let Some(progress) = &mut status.progress {
        let open: i64 = c
            .prepare_cached("SELECT count(*) FROM parts WHERE notification = ?1")?
            .query_row([id.0.as_bytes()], |row| row.get(0))?;
        progress.open = open.cast_unsigned();
    }
    count(c, &mut status)?;
    echoes::count(c, &mut status)?;
    tell(c, &mut status)?;
    Ok(Some(status))
}

fn count(c: &Connection, status: &mut Status) -> rusqlite::Result<()> {
    let key = status.id.0.as_bytes();
    // Counted here: to group them, SQLite sorts them, and there may be a hundred thousand.
    let mut states =
        c.prepare_cached("SELECT json_extract(body, '$.state') FROM receipts WHERE notification = ?1")?;
    let mut states = states.query([key])?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(row) = states.next()? {
        let state = row.get_ref(0)?.as_str()?;
        match counts.get_mut(state) {
            Some(number) => *number += 1,
            None => drop(counts.insert(state.to_owned(), 1)),
        }
    }
    for (state, number) in counts {
        status.counts.insert(json(&format!("\"{state}\""))?, number);
    }
    // Those that were tried have a receipt, which says that they are queued.
    let untried: i64 = c
        .prepare_cached(
            "SELECT coalesce(sum(json_array_length(body, '$.targets')), 0) FROM deliveries
             WHERE notification = ?1 AND json_extract(body, '$.attempt') = 1",
        )?
        .query_row([key], |row| row.get(0))?;
    if untried > 0 {
        *status.counts.entry(State::Queued).or_default() += untried.cast_unsigned();
    }
    Ok(())
}

fn tell(c: &Connection, status: &mut Status) -> rusqlite::Result<()> {
    let (key, most) = (status.id.0.as_bytes(), i64::try_from(Status::MOST).unwrap_or(i64::MAX));
    let mut receipts: BTreeMap<u32, Receipt> = c
        .prepare_cached("SELECT idx, body FROM receipts WHERE notification = ?1 ORDER BY idx LIMIT ?2")?
        .query_map(params![key, most], |row| Ok((row.get(0)?, json(row.get_ref(1)?.as_str()?)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut waiting =
        c.prepare_cached("SELECT due, body FROM deliveries WHERE notification = ?1 LIMIT ?2")?;
    let waiting = waiting.query_map(params![key, most], |row| {
        Ok((Timestamp::from_millis(row.get(0)?), json::<Delivery>(row.get_ref(1)?.as_str()?)?))
    })?;
    for row in waiting {
        if receipts.len() >= Status::MOST {
            break;
        }
        let (due, delivery) = row?;
        // One that was tried has its receipts, told or not.
        for target in delivery.targets.iter().filter(|_| delivery.attempt == 1) {
            let untried = || Receipt::untried(&delivery, target, status.created_at, due);
            receipts.entry(target.index).or_insert_with(untried);
        }
    }
    status.receipts = receipts.into_values().take(Status::MOST).collect();
    echoes::add(c, status.id, &mut status.receipts)
}
