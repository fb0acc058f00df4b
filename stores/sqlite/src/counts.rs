//! Counts of a notification, kept in its row: a status is read without its receipts, of which there may be a hundred thousand.
//! Every receipt is written here, so that the counts change in the same transaction.

use std::collections::BTreeMap;

use pushgate::{DeviceEvent, DeviceEvents, Receipt, State};
use rusqlite::{Connection, OptionalExtension, params};

use crate::text;

/// Final states, each with a column of its own.
const COUNTED: [State; 4] = [State::Sent, State::Failed, State::Expired, State::Revoked];

/// Returns the state of that name.
pub(crate) fn state_of(name: &str) -> Option<State> {
    COUNTED.into_iter().chain([State::Queued]).find(|state| state.as_str() == name)
}

/// Counts by state from the number of recipients and the numbers in the columns of [`COUNTED`].
pub(crate) fn by_state(recipients: i64, counted: [i64; 4]) -> BTreeMap<State, u64> {
    let queued = recipients.saturating_sub(counted.iter().sum());
    let counts = COUNTED.into_iter().zip(counted).chain([(State::Queued, queued)]);
    counts.filter(|(_, number)| *number > 0).map(|(state, number)| (state, number.cast_unsigned())).collect()
}

/// Change of the counts by state.
#[derive(Default)]
struct Change([i64; 4]);

impl Change {
    fn add(&mut self, state: State, number: i64) {
        if let Some(at) = COUNTED.iter().position(|counted| *counted == state) {
            self.0[at] += number;
        }
    }

    fn store(&self, c: &Connection, notification: &[u8; 16]) -> rusqlite::Result<()> {
        if self.0 == [0; 4] {
            return Ok(());
        }
        let [sent, failed, expired, revoked] = self.0;
        c.prepare_cached(
            "UPDATE notifications SET sent = sent + ?2, failed = failed + ?3, expired = expired + ?4,
             revoked = revoked + ?5 WHERE id = ?1",
        )?
        .execute(params![notification, sent, failed, expired, revoked])
        .map(|_| ())
    }
}

/// Writes receipts over those that were there.
pub(crate) fn write_receipts(
    c: &Connection,
    notification: &[u8; 16],
    receipts: &[Receipt],
) -> rusqlite::Result<()> {
    let bodies: Vec<String> = receipts.iter().map(text).collect::<rusqlite::Result<_>>()?;
    write_bodies(c, notification, receipts.iter().zip(bodies.iter().map(String::as_str)))
}

/// Writes receipts, each with its JSON, over those that were there.
pub(crate) fn write_bodies<'a>(
    c: &Connection,
    notification: &[u8; 16],
    receipts: impl IntoIterator<Item = (&'a Receipt, &'a str)>,
) -> rusqlite::Result<()> {
    let mut change = Change::default();
    let mut before = c.prepare_cached("SELECT state FROM receipts WHERE notification = ?1 AND idx = ?2")?;
    let mut write = c.prepare_cached(
        "INSERT OR REPLACE INTO receipts (notification, idx, body, state) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (receipt, body) in receipts {
        let key = params![notification, receipt.index];
        let old =
            before.query_row(key, |row| Ok(row.get_ref(0)?.as_str().ok().and_then(state_of))).optional()?;
        if let Some(old) = old.flatten() {
            change.add(old, -1);
        }
        change.add(receipt.state, 1);
        write.execute(params![notification, receipt.index, body, receipt.state.as_str()])?;
    }
    change.store(c, notification)
}

/// Writes one new receipt that stands for several recipients.
pub(crate) fn write_receipt_for(
    c: &Connection,
    notification: &[u8; 16],
    receipt: &Receipt,
    recipients: i64,
) -> rusqlite::Result<()> {
    write_receipts(c, notification, std::slice::from_ref(receipt))?;
    let mut change = Change::default();
    change.add(receipt.state, recipients - 1);
    change.store(c, notification)
}

/// Counts recipients that are planned now.
pub(crate) fn add_recipients(c: &Connection, notification: &[u8; 16], number: usize) -> rusqlite::Result<()> {
    c.prepare_cached("UPDATE notifications SET recipients = recipients + ?2 WHERE id = ?1")?
        .execute(params![notification, i64::try_from(number).unwrap_or(i64::MAX)])
        .map(|_| ())
}

/// Counts what one device reported for the first time.
pub(crate) fn add_echoes(
    c: &Connection,
    notification: &[u8; 16],
    before: DeviceEvents,
    after: DeviceEvents,
) -> rusqlite::Result<()> {
    let is_new = |event| i64::from(before.at(event).is_none() && after.at(event).is_some());
    let [arrived, clicked, dismissed] = DeviceEvent::ALL.map(is_new);
    c.prepare_cached(
        "UPDATE notifications SET arrived = arrived + ?2, clicked = clicked + ?3, dismissed = dismissed + ?4
         WHERE id = ?1",
    )?
    .execute(params![notification, arrived, clicked, dismissed])
    .map(|_| ())
}
