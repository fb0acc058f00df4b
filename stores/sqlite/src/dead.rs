//! Dead addresses: pruned, held back, restored, forgotten at last.

use async_trait::async_trait;
use pushgate::{
    Address, AppId, ChannelName, DeadAddress, DeadAddresses, DeadId, DeadQuery, DeadState, Death, DeviceId,
    PruneGuardState, Restoration, StorageError, Timestamp, UserId,
};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::devices::{holder, name};
use crate::{SqliteStore, text};

/// The columns that [`read`] expects, in its order.
const COLUMNS: &str = "id, device, user, channel, kind, token, since, fault, vendor_code, at, is_held_back";

#[async_trait]
impl DeadAddresses for SqliteStore {
    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        let (app, address, death) = (app.clone(), address.clone(), death.clone());
        self.write("pruning an address", move |c| prune(c, &app, &address, &death, at)).await
    }

    async fn hold_back(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<Option<DeadId>, StorageError> {
        let (app, address, death) = (app.clone(), address.clone(), death.clone());
        self.write("holding back a dead address", move |c| {
            insert(c, &app, &address, &DeadRow { death: &death, at, state: DeadState::HeldBack })
        })
        .await
    }

    async fn dead(&self, app: &AppId, query: &DeadQuery) -> Result<Vec<DeadAddress>, StorageError> {
        let (app, query) = (app.clone(), query.clone());
        self.read("reading dead addresses", move |c| select(c, &app, &query)).await
    }

    async fn restore(
        &self,
        app: &AppId,
        ids: &[DeadId],
        at: Timestamp,
    ) -> Result<Vec<Restoration>, StorageError> {
        let (app, ids) = (app.clone(), ids.to_vec());
        self.write("restoring addresses", move |c| {
            ids.iter().map(|id| restore(c, &app, *id, at)).collect::<rusqlite::Result<Vec<_>>>()
        })
        .await
    }

    async fn sweep_dead(&self, before: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.write("forgetting old dead addresses", move |c| {
            c.prepare_cached(
                "DELETE FROM dead_addresses WHERE id IN
                 (SELECT id FROM dead_addresses WHERE at < ?1 ORDER BY at LIMIT ?2)",
            )?
            .execute(params![before.as_millis(), limit])
        })
        .await
    }

    async fn prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
    ) -> Result<Option<PruneGuardState>, StorageError> {
        let (app, channel) = (app.clone(), channel.clone());
        self.read("reading a prune guard", move |c| {
            let body: Option<String> = c
                .prepare_cached("SELECT body FROM prune_guards WHERE app = ?1 AND channel = ?2")?
                .query_row([app.as_str(), channel.as_str()], |row| row.get(0))
                .optional()?;
            body.map(|body| json(&body)).transpose()
        })
        .await
    }

    async fn set_prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
        state: &PruneGuardState,
    ) -> Result<(), StorageError> {
        let (app, channel, state) = (app.clone(), channel.clone(), *state);
        self.write("storing a prune guard", move |c| {
            c.prepare_cached("INSERT OR REPLACE INTO prune_guards (app, channel, body) VALUES (?1, ?2, ?3)")?
                .execute(params![app.as_str(), channel.as_str(), text(&state)?])
                .map(|_| ())
        })
        .await
    }
}

fn prune(
    c: &Connection,
    app: &AppId,
    address: &Address,
    death: &Death,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    if insert(c, app, address, &DeadRow { death, at, state: DeadState::Pruned })?.is_none() {
        return Ok(false);
    }
    c.prepare_cached("DELETE FROM addresses WHERE app = ?1 AND channel = ?2 AND kind = ?3 AND token = ?4")?
        .execute(key(app, address))?;
    Ok(true)
}

/// Values of a row about a dead address.
struct DeadRow<'a> {
    death: &'a Death,
    /// Time of the record.
    at: Timestamp,
    state: DeadState,
}

/// Records an address as dead. Returns `None` if the address is unknown, or was registered again after its death.
fn insert(
    c: &Connection,
    app: &AppId,
    address: &Address,
    row: &DeadRow<'_>,
) -> rusqlite::Result<Option<DeadId>> {
    let DeadRow { death, at, state } = row;
    let Some((device, registered_at)) = holder(c, app, address)? else { return Ok(None) };
    if registered_at > death.since.as_millis() {
        return Ok(None);
    }
    let [app, channel, kind, token] = key(app, address);
    c.prepare_cached(
        "INSERT OR REPLACE INTO dead_addresses
         (app, channel, kind, token, device, user, is_held_back, since, fault, vendor_code, at)
         VALUES (?1, ?2, ?3, ?4, ?5, (SELECT user FROM devices WHERE app = ?1 AND id = ?5), ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        app,
        channel,
        kind,
        token,
        device,
        *state == DeadState::HeldBack,
        death.since.as_millis(),
        text(&death.fault)?,
        death.vendor_code,
        at.as_millis()
    ])?;
    Ok(Some(DeadId(c.last_insert_rowid())))
}

fn select(c: &Connection, app: &AppId, query: &DeadQuery) -> rusqlite::Result<Vec<DeadAddress>> {
    let channel = query.channel.as_ref().map(ChannelName::as_str);
    let devices: Vec<&str> = query.devices.iter().map(DeviceId::as_str).collect();
    let devices = (!devices.is_empty()).then(|| text(&devices)).transpose()?;
    let is_held_back = query.state.map(|state| state == DeadState::HeldBack);
    let (since, until) = (query.since.map(Timestamp::as_millis), query.until.map(Timestamp::as_millis));
    let after = query.after.map_or(0, |id| id.0);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let bound: [(&str, &dyn ToSql); 8] = [
        (":app", &app.as_str()),
        (":after", &after),
        (":channel", &channel),
        (":is_held_back", &is_held_back),
        (":since", &since),
        (":until", &until),
        (":devices", &devices),
        (":limit", &limit),
    ];
    // Of named devices it is looked up by device, else by app; both in the order of the id.
    let index = if devices.is_some() { "dead_by_device" } else { "dead_by_app" };
    c.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM dead_addresses INDEXED BY {index}
         WHERE app = :app AND id > :after {}
         AND (:channel IS NULL OR channel = :channel)
         AND (:is_held_back IS NULL OR is_held_back = :is_held_back)
         AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
         ORDER BY id LIMIT :limit",
        if devices.is_some() {
            "AND device IN (SELECT value FROM json_each(:devices))"
        } else {
            "AND :devices IS NULL"
        }
    ))?
    .query_map(&bound, read)?
    .collect()
}

fn restore(c: &Connection, app: &AppId, id: DeadId, at: Timestamp) -> rusqlite::Result<Restoration> {
    let dead = c
        .prepare_cached(&format!("SELECT {COLUMNS} FROM dead_addresses WHERE app = ?1 AND id = ?2"))?
        .query_row(params![app.as_str(), id.0], read)
        .optional()?;
    let Some(dead) = dead else { return Ok(Restoration::Unknown) };
    let (app, device) = (app.as_str(), dead.device.as_str());
    if !c.prepare_cached("SELECT 1 FROM devices WHERE app = ?1 AND id = ?2")?.exists([app, device])? {
        return Ok(Restoration::DeviceGone);
    }
    let [_, channel, kind, token] =
        [app, dead.address.channel.as_str(), dead.address.kind.as_str(), dead.address.token.expose()];
    let held_by: Option<String> = c
        .prepare_cached(
            "SELECT device FROM addresses WHERE app = ?1 AND channel = ?2 AND kind = ?3 AND token = ?4",
        )?
        .query_row([app, channel, kind, token], |row| row.get(0))
        .optional()?;
    if dead.state == DeadState::HeldBack {
        if held_by.as_deref() != Some(device) {
            return Ok(Restoration::RegisteredAnew);
        }
    } else {
        if held_by.is_some() {
            return Ok(Restoration::RegisteredAnew);
        }
        let is_replaced = c
            .prepare_cached(
                "SELECT 1 FROM addresses WHERE app = ?1 AND device = ?2 AND channel = ?3 AND kind = ?4",
            )?
            .exists([app, device, channel, kind])?;
        if is_replaced {
            return Ok(Restoration::Replaced);
        }
        c.prepare_cached(
            "INSERT INTO addresses (app, channel, kind, token, device, place) VALUES (?1, ?2, ?3, ?4, ?5,
             (SELECT coalesce(max(place) + 1, 0) FROM addresses WHERE app = ?1 AND device = ?5))",
        )?
        .execute([app, channel, kind, token, device])?;
    }
    c.prepare_cached("UPDATE devices SET registered_at = max(registered_at, ?3) WHERE app = ?1 AND id = ?2")?
        .execute(params![app, device, at.as_millis()])?;
    c.prepare_cached("DELETE FROM dead_addresses WHERE id = ?1")?.execute([id.0])?;
    Ok(Restoration::Restored)
}

/// Forgets the dead addresses of a device that is forgotten itself.
pub(crate) fn forget_device(c: &Connection, app: &str, device: &str) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM dead_addresses WHERE app = ?1 AND device = ?2")?.execute([app, device])?;
    Ok(())
}

fn key<'a>(app: &'a AppId, address: &'a Address) -> [&'a str; 4] {
    [app.as_str(), address.channel.as_str(), address.kind.as_str(), address.token.expose()]
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeadAddress> {
    let user = row.get_ref(2)?.as_str_or_null()?;
    let user = user.map(UserId::new).transpose().map_err(crate::devices::unreadable)?;
    let kind: String = row.get(4)?;
    let fault: String = row.get(7)?;
    let state = if row.get(10)? { DeadState::HeldBack } else { DeadState::Pruned };
    Ok(DeadAddress {
        id: DeadId(row.get(0)?),
        device: name(row, 1, DeviceId::new)?,
        user,
        address: Address {
            channel: name(row, 3, ChannelName::new)?,
            kind: json(&format!("\"{kind}\""))?,
            token: row.get::<_, String>(5)?.into(),
        },
        death: Death {
            since: Timestamp::from_millis(row.get(6)?),
            fault: json(&fault)?,
            vendor_code: row.get(8)?,
        },
        at: Timestamp::from_millis(row.get(9)?),
        state,
    })
}

/// Decodes JSON of a column.
fn json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}
