//! Status of a notification: counts from its own row, and a page of its recipients.

use std::collections::BTreeMap;

use pushgate::receipt::Progress;
use pushgate::{AppId, DeviceEvent, NotificationId, Receipt, Skip, Status, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::quarantine::{Findings, Source, decode};
use crate::queue::decode_delivery;
use crate::{counts, echoes};

/// Page of the recipients: at most `limit`, with greater numbers than `after`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) after: Option<u32>,
    pub(crate) limit: usize,
}

pub(crate) fn status(
    c: &Connection,
    app: &AppId,
    id: NotificationId,
    page: Page,
    findings: &mut Findings,
) -> rusqlite::Result<Option<Status>> {
    let found = c
        .prepare_cached(
            "SELECT created_at, skipped, skips, tag, ask IS NOT NULL, parts_done, recipients,
             sent, failed, expired, revoked, arrived, clicked, dismissed, revoked_at
             FROM notifications WHERE id = ?1 AND app = ?2",
        )?
        .query_row(params![id.0.as_bytes(), app.as_str()], |row| summary(id, row, findings))
        .optional()?;
    let Some(mut status) = found else { return Ok(None) };
    if let Some(progress) = &mut status.progress {
        let open: i64 = c
            .prepare_cached("SELECT count(*) FROM parts WHERE notification = ?1")?
            .query_row([id.0.as_bytes()], |row| row.get(0))?;
        progress.open = open.cast_unsigned();
    }
    if page.limit > 0 {
        recipients(c, &mut status, page, findings)?;
    }
    Ok(Some(status))
}

fn summary(id: NotificationId, row: &Row<'_>, findings: &mut Findings) -> rusqlite::Result<Status> {
    let numbers = |first: usize| -> rusqlite::Result<[i64; 3]> {
        Ok([row.get(first)?, row.get(first + 1)?, row.get(first + 2)?])
    };
    let [sent, failed, expired] = numbers(7)?;
    let progress = Progress { done: row.get::<_, i64>(5)?.cast_unsigned(), open: 0 };
    let skipped = decode::<Vec<Skip>>(row.get_ref(1)?);
    let told = DeviceEvent::ALL.into_iter().zip(numbers(11)?).filter(|(_, number)| *number > 0);
    Ok(Status {
        id,
        created_at: Timestamp::from_millis(row.get(0)?),
        revoked_at: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_millis),
        tag: row.get(3)?,
        progress: row.get::<_, bool>(4)?.then_some(progress),
        counts: counts::by_state(row.get(6)?, [sent, failed, expired, row.get(10)?]),
        events: told.map(|(event, number)| (event, number.cast_unsigned())).collect(),
        skips: row.get::<_, i64>(2)?.cast_unsigned(),
        skipped: findings
            .check(skipped, || Source::Skipped { notification: *id.0.as_bytes() })
            .unwrap_or_default(),
        receipts: Vec::new(),
        next: None,
    })
}

/// Returns at most `limit` receipts with numbers greater than `after`, in ascending order.
pub(crate) fn receipts(
    c: &Connection,
    id: NotificationId,
    after: Option<u32>,
    limit: usize,
    findings: &mut Findings,
) -> rusqlite::Result<Vec<Receipt>> {
    let (after, limit) = (after.map_or(-1, i64::from), i64::try_from(limit).unwrap_or(i64::MAX));
    let notification = *id.0.as_bytes();
    c.prepare_cached(
        "SELECT idx, body FROM receipts WHERE notification = ?1 AND idx > ?2 ORDER BY idx LIMIT ?3",
    )?
    .query_map(params![notification, after, limit], |row| {
        let index = row.get(0)?;
        Ok(findings.check(decode(row.get_ref(1)?), || Source::Receipt { notification, index }))
    })?
    .filter_map(Result::transpose)
    .collect()
}

/// Adds the page to the status. Recipients without an attempt come on the first page, up to the limit.
fn recipients(
    c: &Connection,
    status: &mut Status,
    page: Page,
    findings: &mut Findings,
) -> rusqlite::Result<()> {
    let tried = receipts(c, status.id, page.after, page.limit, findings)?;
    status.next = tried.last().filter(|_| tried.len() == page.limit).map(|last| last.index);
    let mut all: BTreeMap<u32, Receipt> = tried.into_iter().map(|receipt| (receipt.index, receipt)).collect();
    if page.after.is_none() && all.len() < page.limit {
        untried(c, status, page.limit, &mut all, findings)?;
    }
    status.receipts = all.into_values().take(page.limit).collect();
    echoes::add(c, status.id, &mut status.receipts)
}

fn untried(
    c: &Connection,
    status: &Status,
    limit: usize,
    all: &mut BTreeMap<u32, Receipt>,
    findings: &mut Findings,
) -> rusqlite::Result<()> {
    let mut waiting =
        c.prepare_cached("SELECT rowid, due, body FROM deliveries WHERE notification = ?1 LIMIT ?2")?;
    let mut waiting =
        waiting.query(params![status.id.0.as_bytes(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    while let Some(row) = waiting.next()?
        && all.len() < limit
    {
        let (id, due) = (row.get(0)?, Timestamp::from_millis(row.get(1)?));
        let delivery = decode_delivery(row.get_ref(2)?);
        let Some(delivery) = findings.check(delivery, || Source::Delivery { row: id }) else { continue };
        // One that was tried has its receipts.
        for target in delivery.targets.iter().filter(|_| delivery.attempt == 1) {
            let untried = || Receipt::untried(&delivery, target, status.created_at, due);
            all.entry(target.index).or_insert_with(untried);
        }
    }
    Ok(())
}
