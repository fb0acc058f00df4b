//! Device events of notifications, and the key that authenticates them.

use pushgate::device_event::EventClaims;
use pushgate::queue::RecordedEvent;
use pushgate::{AppId, DeviceEvent, DeviceEvents, NotificationId, Receipt, Secret, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::counts;
use crate::devices::name;
use crate::quarantine::{Findings, Source, decode};

pub(crate) fn record_event(
    c: &Connection,
    claims: EventClaims,
    event: DeviceEvent,
    at: Timestamp,
    findings: &mut Findings,
) -> rusqlite::Result<Option<RecordedEvent>> {
    let (id, index) = (claims.notification.0.as_bytes(), claims.index);
    let app = c
        .prepare_cached("SELECT app FROM notifications WHERE id = ?1")?
        .query_row([id], |row| name(row, 0, AppId::new))
        .optional()?;
    let Some(app) = app else { return Ok(None) };
    let known = c
        .prepare_cached(
            "SELECT arrived_at, clicked_at, dismissed_at FROM echoes WHERE notification = ?1 AND idx = ?2",
        )?
        .query_row(params![id, index], |row| read(row, 0))
        .optional()?;
    let before = known.unwrap_or_default();
    let mut echoes = before;
    let is_first = echoes.record(event, at);
    if is_first {
        let [arrived, clicked, dismissed] =
            DeviceEvent::ALL.map(|event| echoes.at(event).map(Timestamp::as_millis));
        c.prepare_cached(
            "INSERT OR REPLACE INTO echoes (notification, idx, arrived_at, clicked_at, dismissed_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![id, index, arrived, clicked, dismissed])?;
        counts::add_echoes(c, id, before, echoes)?;
    }
    let receipt = c
        .prepare_cached("SELECT body FROM receipts WHERE notification = ?1 AND idx = ?2")?
        .query_row(params![id, index], |row| Ok(decode::<Receipt>(row.get_ref(0)?)))
        .optional()?;
    let receipt =
        receipt.and_then(|receipt| findings.check(receipt, || Source::Receipt { notification: *id, index }));
    findings.set_aside(c)?;
    Ok(Some(RecordedEvent {
        app,
        receipt: receipt.map(|receipt| Receipt { events: echoes, ..receipt }),
        is_first,
    }))
}

/// Reads an event from three columns, starting at column `first`.
fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<DeviceEvents> {
    let at = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp::from_millis));
    Ok(DeviceEvents { arrived_at: at(first)?, clicked_at: at(first + 1)?, dismissed_at: at(first + 2)? })
}

/// Adds the device events to these receipts, which must be in the order of their recipient numbers.
pub(crate) fn add(c: &Connection, id: NotificationId, receipts: &mut [Receipt]) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (receipts.first(), receipts.last()) else { return Ok(()) };
    let mut told = c.prepare_cached(
        "SELECT idx, arrived_at, clicked_at, dismissed_at FROM echoes
         WHERE notification = ?1 AND idx BETWEEN ?2 AND ?3",
    )?;
    let told = told.query_map(params![id.0.as_bytes(), first.index, last.index], |row| {
        Ok((row.get::<_, u32>(0)?, read(row, 1)?))
    })?;
    let told: Vec<_> = told.collect::<rusqlite::Result<_>>()?;
    for (index, echoes) in told {
        if let Ok(place) = receipts.binary_search_by_key(&index, |receipt| receipt.index) {
            receipts[place].events = echoes;
        }
    }
    Ok(())
}

pub(crate) fn installation_secret(c: &Connection, fresh: &Secret) -> rusqlite::Result<Secret> {
    c.prepare_cached("INSERT OR IGNORE INTO own_key (place, key) VALUES (1, ?1)")?
        .execute([fresh.expose()])?;
    c.prepare_cached("SELECT key FROM own_key")?.query_row([], |row| Ok(row.get_ref(0)?.as_str()?.into()))
}
