//! Quarantine of rows that cannot be decoded. The writer moves each one to the table `quarantine`, so that it does
//! not block other rows. The recipients that are still known get a final status.

use pushgate::queue::{Quarantined, RowKind};
use pushgate::{AppId, ChannelName, NotificationId, Receipt, Skip, SkipReason, State, Timestamp};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use serde_json::{Value, json};

use crate::devices::find_unreadable;
use crate::{counts, parts, text};

/// Key of a row that could not be decoded.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Delivery {
        row: i64,
    },
    Part {
        notification: [u8; 16],
        place: u32,
    },
    /// List of skipped recipients of a notification.
    Skipped {
        notification: [u8; 16],
    },
    Receipt {
        notification: [u8; 16],
        index: u32,
    },
    Device {
        app: String,
        id: String,
    },
    Rules {
        app: String,
        user: String,
    },
}

/// Row that could not be decoded, with its key and the reason.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    source: Source,
    reason: String,
}

/// Collector of rows that could not be decoded during a read, and of rows moved to the quarantine.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) moved: Vec<Quarantined>,
}

impl Findings {
    /// Returns the value. Records the reason and returns `None` if the row cannot be decoded.
    pub(crate) fn check<T>(
        &mut self,
        decoded: Result<T, String>,
        source: impl FnOnce() -> Source,
    ) -> Option<T> {
        match decoded {
            Ok(value) => Some(value),
            Err(reason) => {
                self.unreadable.push(Unreadable { source: source(), reason });
                None
            }
        }
    }

    /// Moves the collected rows to the quarantine. Only the writer may call it.
    pub(crate) fn set_aside(&mut self, c: &Connection) -> rusqlite::Result<()> {
        for unreadable in std::mem::take(&mut self.unreadable) {
            self.moved.extend(set_aside(c, &unreadable)?);
        }
        Ok(())
    }
}

/// Decodes JSON in a column. The error text contains nothing of the column's content.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(column: ValueRef<'_>) -> Result<T, String> {
    let text = column.as_str().map_err(|_| "it is not text".to_owned())?;
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let missing = message.starts_with("missing field").then(|| message.split(" at line").next());
        let what = match (missing.flatten(), error.classify()) {
            (Some(missing), _) => missing,
            (None, serde_json::error::Category::Data) => "a value of another type or form than expected",
            (None, _) => "broken JSON",
        };
        format!("{what} at line {}, column {}", error.line(), error.column())
    })
}

/// Moves one row, unless it has been deleted or replaced by a valid one since it was read.
fn set_aside(c: &Connection, unreadable: &Unreadable) -> rusqlite::Result<Option<Quarantined>> {
    let Unreadable { source, reason } = unreadable;
    match source {
        Source::Delivery { row } => delivery(c, *row, reason),
        Source::Part { notification, place } => part(c, notification, *place, reason),
        Source::Skipped { notification } => skipped(c, notification, reason),
        Source::Receipt { notification, index } => receipt(c, notification, *index, reason),
        Source::Device { app, id } => device(c, app, id, reason),
        Source::Rules { app, user } => rules(c, app, user, reason),
    }
}

/// Columns of a row that the quarantine keeps.
struct Content {
    columns: serde_json::Map<String, Value>,
}

impl Content {
    /// Reads the row that the statement selects. `None` means that there is none.
    fn read(c: &Connection, sql: &str, key: impl Params) -> rusqlite::Result<Option<Self>> {
        c.prepare_cached(sql)?.query_row(key, Self::of).optional()
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let names: Vec<String> = row.as_ref().column_names().map(str::to_owned).collect();
        let mut columns = serde_json::Map::new();
        for (at, name) in names.into_iter().enumerate() {
            columns.insert(name, value(row.get_ref(at)?));
        }
        Ok(Self { columns })
    }

    fn text(&self, column: &str) -> Option<&str> {
        self.columns.get(column)?.as_str()
    }

    fn number(&self, column: &str) -> Option<i64> {
        self.columns.get(column)?.as_i64()
    }

    fn channel(&self) -> Option<ChannelName> {
        ChannelName::new(self.text("channel")?).ok()
    }
}

fn value(column: ValueRef<'_>) -> Value {
    let bytes =
        |bytes: &[u8]| json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()});
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => std::str::from_utf8(text).map_or_else(|_| bytes(text), Value::from),
        ValueRef::Blob(blob) => bytes(blob),
    }
}

/// Fields of a quarantine row beside the content.
struct Entry<'a> {
    kind: RowKind,
    key: String,
    notification: Option<&'a [u8; 16]>,
    reason: &'a str,
}

fn insert(c: &Connection, entry: Entry<'_>, content: &Content) -> rusqlite::Result<Quarantined> {
    let text = text(&content.columns)?;
    let (app, channel) = (content.text("app"), content.text("channel"));
    c.prepare_cached(
        "INSERT INTO quarantine (kind, key, app, channel, notification, reason, content, quarantined_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, CAST(unixepoch('subsec') * 1000 AS INTEGER))
         RETURNING id, kind, key, app, channel, notification, reason, length(content), quarantined_at",
    )?
    .query_row(
        params![entry.kind.as_str(), entry.key, app, channel, entry.notification, entry.reason, text],
        listed,
    )
}

/// Reads an entry from the columns id, kind, key, app, channel, notification, reason, length of the content, and
/// time.
fn listed(row: &Row<'_>) -> rusqlite::Result<Quarantined> {
    let kind = row.get_ref(1)?.as_str()?;
    let optional = |at: usize| row.get::<_, Option<String>>(at);
    Ok(Quarantined {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        // Written by `insert`, from the same list.
        kind: RowKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap_or(RowKind::Delivery),
        key: row.get(2)?,
        app: optional(3)?.and_then(|app| AppId::new(&app).ok()),
        channel: optional(4)?.and_then(|channel| ChannelName::new(&channel).ok()),
        notification: row.get::<_, Option<[u8; 16]>>(5)?.map(|id| NotificationId(uuid::Uuid::from_bytes(id))),
        reason: row.get(6)?,
        bytes: row.get::<_, i64>(7)?.cast_unsigned(),
        at: Timestamp::from_millis(row.get(8)?),
    })
}

/// Lists the quarantine, oldest first, starting after `after`.
pub(crate) fn list(c: &Connection, after: Option<u64>, limit: usize) -> rusqlite::Result<Vec<Quarantined>> {
    c.prepare_cached(
        "SELECT id, kind, key, app, channel, notification, reason, length(content), quarantined_at
         FROM quarantine WHERE id > ?1 ORDER BY id LIMIT ?2",
    )?
    .query_map(
        params![
            after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX)),
            i64::try_from(limit).unwrap_or(i64::MAX)
        ],
        listed,
    )?
    .collect()
}

fn uuid_text(id: &[u8; 16]) -> String {
    uuid::Uuid::from_bytes(*id).to_string()
}

fn delivery(c: &Connection, row: i64, reason: &str) -> rusqlite::Result<Option<Quarantined>> {
    let found = c
        .prepare_cached("SELECT id, notification, body FROM deliveries WHERE rowid = ?1")?
        .query_row([row], |row| {
            let is_good = crate::queue::decode_delivery(row.get_ref(2)?).is_ok();
            Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 16]>(1)?, is_good))
        })
        .optional()?;
    let content = Content::read(c, "SELECT * FROM deliveries WHERE rowid = ?1", [row])?;
    let (Some((id, notification, is_good)), Some(content)) = (found, content) else { return Ok(None) };
    let names_are_good = content.text("app").is_some_and(|app| AppId::new(app).is_ok());
    if is_good && names_are_good && content.channel().is_some() {
        return Ok(None);
    }
    let entry =
        Entry { kind: RowKind::Delivery, key: uuid_text(&id), notification: Some(&notification), reason };
    let moved = insert(c, entry, &content)?;
    c.prepare_cached("DELETE FROM deliveries WHERE rowid = ?1")?.execute([row])?;
    fail_recipients(c, &notification, &content, &moved)?;
    Ok(Some(moved))
}

/// Writes a final receipt for each known recipient of a quarantined delivery. The unknown ones share one receipt.
fn fail_recipients(
    c: &Connection,
    notification: &[u8; 16],
    content: &Content,
    moved: &Quarantined,
) -> rusqlite::Result<()> {
    let channel = content.channel().or_else(unknown_channel);
    let Some(channel) = channel else { return Ok(()) };
    let known: Option<Vec<u32>> = content.text("body").and_then(recipients_in);
    let known = match known {
        Some(known) => known,
        None => queued_without_delivery(c, notification, &channel)?,
    };
    let receipts: Vec<Receipt> =
        known.iter().map(|index| Receipt::quarantined(*index, channel.clone(), moved.at)).collect();
    counts::write_receipts(c, notification, &receipts)?;
    let number = usize::try_from(content.number("recipients").unwrap_or(1)).unwrap_or(0);
    let rest = number.saturating_sub(known.len());
    if rest > 0 {
        // No recipient has a number this great.
        let index = u32::MAX - u32::try_from(moved.id % (1 << 16)).unwrap_or(0);
        let receipt = Receipt::quarantined(index, channel, moved.at);
        counts::write_receipt_for(c, notification, &receipt, i64::try_from(rest).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

/// Returns a valid channel name for an unknown channel. It is never `None`.
fn unknown_channel() -> Option<ChannelName> {
    ChannelName::new("unknown").ok()
}

/// Returns the recipient numbers of JSON that is not a valid delivery. `None` means that they cannot be determined.
fn recipients_in(body: &str) -> Option<Vec<u32>> {
    let body: Value = serde_json::from_str(body).ok()?;
    let index = |target: &Value| u32::try_from(target.get("index")?.as_u64()?).ok();
    body.get("targets")?.as_array()?.iter().map(index).collect()
}

/// Returns the numbers of queued recipients on this channel that no delivery in the queue contains.
fn queued_without_delivery(
    c: &Connection,
    notification: &[u8; 16],
    channel: &ChannelName,
) -> rusqlite::Result<Vec<u32>> {
    let mut queued: Vec<u32> = c
        .prepare_cached("SELECT idx, body FROM receipts WHERE notification = ?1 AND state = 'queued'")?
        .query_map([notification], |row| {
            let receipt = decode::<Receipt>(row.get_ref(1)?).ok();
            Ok(receipt.filter(|receipt| receipt.channel == *channel).map(|receipt| receipt.index))
        })?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    let mut bodies = c.prepare_cached("SELECT body FROM deliveries WHERE notification = ?1")?;
    let mut bodies = bodies.query([notification])?;
    while let Some(row) = bodies.next()? {
        let covered = row.get_ref(0)?.as_str().ok().and_then(recipients_in).unwrap_or_default();
        queued.retain(|index| !covered.contains(index));
    }
    Ok(queued)
}

fn part(c: &Connection, id: &[u8; 16], place: u32, reason: &str) -> rusqlite::Result<Option<Quarantined>> {
    let content = Content::read(
        c,
        "SELECT p.*, n.app, n.ask FROM parts p LEFT JOIN notifications n ON n.id = p.notification
         WHERE p.notification = ?1 AND p.place = ?2",
        params![id, place],
    )?;
    let Some(content) = content else { return Ok(None) };
    let key = format!("{}/{place}", uuid_text(id));
    let moved = insert(c, Entry { kind: RowKind::Part, key, notification: Some(id), reason }, &content)?;
    c.prepare_cached("DELETE FROM parts WHERE notification = ?1 AND place = ?2")?
        .execute(params![id, place])?;
    let skip = Skip { user: None, device: None, reason: SkipReason::Quarantined };
    parts::count_planned(c, id, &[skip])?;
    Ok(Some(moved))
}

fn skipped(c: &Connection, id: &[u8; 16], reason: &str) -> rusqlite::Result<Option<Quarantined>> {
    let content = Content::read(c, "SELECT * FROM notifications WHERE id = ?1", [id])?;
    let Some(content) = content else { return Ok(None) };
    let is_good = content.text("skipped").is_some_and(|list| serde_json::from_str::<Vec<Skip>>(list).is_ok());
    if is_good {
        return Ok(None);
    }
    let entry = Entry { kind: RowKind::Notification, key: uuid_text(id), notification: Some(id), reason };
    let moved = insert(c, entry, &content)?;
    c.prepare_cached("UPDATE notifications SET skipped = '[]' WHERE id = ?1")?.execute([id])?;
    Ok(Some(moved))
}

/// Replaces an undecodable receipt. Only the details are lost, because the state has a column of its own.
fn receipt(c: &Connection, id: &[u8; 16], index: u32, reason: &str) -> rusqlite::Result<Option<Quarantined>> {
    let content = Content::read(
        c,
        "SELECT r.*, n.app FROM receipts r LEFT JOIN notifications n ON n.id = r.notification
         WHERE r.notification = ?1 AND r.idx = ?2",
        params![id, index],
    )?;
    let Some(content) = content else { return Ok(None) };
    if content.text("body").is_some_and(|body| serde_json::from_str::<Receipt>(body).is_ok()) {
        return Ok(None);
    }
    let key = format!("{}/{index}", uuid_text(id));
    let moved = insert(c, Entry { kind: RowKind::Receipt, key, notification: Some(id), reason }, &content)?;
    let Some(channel) = unknown_channel() else { return Ok(Some(moved)) };
    let state = content.text("state").and_then(counts::state_of).unwrap_or(State::Failed);
    let replacement = Receipt { state, ..Receipt::quarantined(index, channel, moved.at) };
    counts::write_receipts(c, id, &[replacement])?;
    Ok(Some(moved))
}

fn device(c: &Connection, app: &str, id: &str, reason: &str) -> rusqlite::Result<Option<Quarantined>> {
    if !find_unreadable(c, app, id)? {
        return Ok(None);
    }
    let content = Content::read(c, "SELECT * FROM devices WHERE app = ?1 AND id = ?2", [app, id])?;
    let Some(mut content) = content else { return Ok(None) };
    let addresses: Vec<Value> = c
        .prepare_cached("SELECT channel, kind, token, place FROM addresses WHERE app = ?1 AND device = ?2")?
        .query_map([app, id], |row| Content::of(row).map(|content| Value::Object(content.columns)))?
        .collect::<rusqlite::Result<_>>()?;
    content.columns.insert("addresses".to_owned(), Value::Array(addresses));
    let entry = Entry { kind: RowKind::Device, key: id.to_owned(), notification: None, reason };
    let moved = insert(c, entry, &content)?;
    crate::devices::forget(c, app, id)?;
    Ok(Some(moved))
}

fn rules(c: &Connection, app: &str, user: &str, reason: &str) -> rusqlite::Result<Option<Quarantined>> {
    let content = Content::read(c, "SELECT * FROM rules WHERE app = ?1 AND user = ?2", [app, user])?;
    let Some(content) = content else { return Ok(None) };
    if content.text("body").is_some_and(|body| serde_json::from_str::<pushgate::Rules>(body).is_ok()) {
        return Ok(None);
    }
    let entry = Entry { kind: RowKind::Rules, key: user.to_owned(), notification: None, reason };
    let moved = insert(c, entry, &content)?;
    c.prepare_cached("DELETE FROM rules WHERE app = ?1 AND user = ?2")?.execute([app, user])?;
    Ok(Some(moved))
}
