//! The store: devices and their addresses.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use pushgate::{
    Address, AppId, ChannelName, Count, Device, DeviceId, IdentifiedBy, Login, Registered, Registration,
    Replacement, Rules, StorageError, Store, Takeover, UserId,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::found::{self, DeviceQuery, find};
use crate::quarantine::Findings;
use crate::{SqliteStore, text, users};

#[async_trait]
impl Store for SqliteStore {
    async fn register(&self, registration: Registration) -> Result<Option<Registered>, StorageError> {
        self.write_rows("registering a device", move |c, findings| register(c, &registration, findings)).await
    }

    async fn bind(&self, login: Login) -> Result<Option<Registered>, StorageError> {
        self.write("binding a device", move |c| bind(c, &login)).await
    }

    async fn unbind(&self, app: &AppId, id: &DeviceId, user: Option<&UserId>) -> Result<bool, StorageError> {
        let (app, id, user) = (app.clone(), id.clone(), user.cloned());
        self.write("unbinding a device", move |c| {
            let bound = c
                .prepare_cached(
                    "UPDATE devices SET user = NULL
                     WHERE app = ?1 AND id = ?2 AND user IS NOT NULL AND (?3 IS NULL OR user = ?3)",
                )?
                .execute(params![app.as_str(), id.as_str(), user.as_ref().map(UserId::as_str)])?;
            Ok(bound > 0)
        })
        .await
    }

    async fn detach(
        &self,
        app: &AppId,
        id: &DeviceId,
        owner: Option<&UserId>,
        channels: &[ChannelName],
    ) -> Result<bool, StorageError> {
        let (app, id, owner, channels) = (app.clone(), id.clone(), owner.cloned(), channels.to_vec());
        self.write("detaching a device", move |c| detach(c, &app, &id, owner.as_ref(), &channels)).await
    }

    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.devices(app, std::slice::from_ref(id)).await?.pop())
    }

    async fn devices(&self, app: &AppId, ids: &[DeviceId]) -> Result<Vec<Device>, StorageError> {
        let (app, ids) = (app.clone(), ids.to_vec());
        self.read_rows("reading devices", move |c, findings| {
            let mut found = Vec::with_capacity(ids.len());
            for id in &ids {
                found.extend(find(
                    c,
                    &DeviceQuery { sql: found::BY_ID, app: &app, key: id.as_str(), limit: 1 },
                    findings,
                )?);
            }
            Ok(found)
        })
        .await
    }

    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError> {
        let (app, users) = (app.clone(), users.to_vec());
        self.read_rows("reading the devices of users", move |c, findings| {
            let mut found = Vec::with_capacity(users.len());
            for user in &users {
                found.extend(find(
                    c,
                    &DeviceQuery { sql: found::BY_USER, app: &app, key: user.as_str(), limit: usize::MAX },
                    findings,
                )?);
            }
            Ok(found)
        })
        .await
    }

    async fn page(
        &self,
        app: &AppId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<Device>, StorageError> {
        let (app, after) = (app.clone(), after.cloned());
        self.read_rows("reading a page of devices", move |c, findings| {
            let after = after.as_ref().map_or("", DeviceId::as_str);
            find(c, &DeviceQuery { sql: found::AFTER_ID, app: &app, key: after, limit }, findings)
        })
        .await
    }

    async fn forget(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Result<bool, StorageError> {
        let (app, id, owner) = (app.clone(), id.clone(), owner.cloned());
        self.write("forgetting a device", move |c| {
            Ok(is_owned(c, &app, &id, owner.as_ref())? && forget(c, app.as_str(), id.as_str())?)
        })
        .await
    }

    async fn release(&self, app: &AppId, address: &Address) -> Result<Option<DeviceId>, StorageError> {
        let (app, address) = (app.clone(), address.clone());
        self.write("releasing an address", move |c| release(c, &app, &address)).await
    }

    async fn replace(&self, app: &AppId, replacement: Replacement) -> Result<Option<DeviceId>, StorageError> {
        let app = app.clone();
        self.write("replacing a token", move |c| replace(c, &app, &replacement)).await
    }

    async fn rules(&self, app: &AppId, users: &[UserId]) -> Result<HashMap<UserId, Rules>, StorageError> {
        if !self.ruled.load(Ordering::Acquire) {
            return Ok(HashMap::new());
        }
        let (app, users) = (app.clone(), users.to_vec());
        self.read_rows("reading rules", move |c, findings| users::rules(c, &app, &users, findings)).await
    }

    async fn set_rules(&self, app: &AppId, user: &UserId, rules: &Rules) -> Result<(), StorageError> {
        let (app, user, rules) = (app.clone(), user.clone(), rules.clone());
        // Before it is written, so that nobody misses it who asks afterwards.
        self.ruled.store(true, Ordering::Release);
        self.write("storing rules", move |c| users::set_rules(c, &app, &user, &rules)).await
    }

    async fn count(
        &self,
        app: &AppId,
        users: &[UserId],
        change: Count,
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        let (app, users) = (app.clone(), users.to_vec());
        self.write("counting", move |c| users::count(c, &app, &users, change)).await
    }
}

fn register(
    c: &Connection,
    registration: &Registration,
    findings: &mut Findings,
) -> rusqlite::Result<Option<Registered>> {
    let Registration { device, identified_by, replaces, max_devices, takeover } = registration;
    let mut device = device.clone();
    if *identified_by == IdentifiedBy::Address {
        for address in device.addresses.iter().chain(replaces) {
            if let Some((id, _)) = holder(c, &device.app, address)? {
                device.id = DeviceId::new(&id).map_err(unreadable)?;
                break;
            }
        }
    }
    let (app, id) = (device.app.as_str(), device.id.as_str());
    if *takeover != Takeover::Always {
        let stored =
            find(c, &DeviceQuery { sql: found::BY_ID, app: &device.app, key: id, limit: 1 }, findings)?;
        findings.set_aside(c)?;
        if stored.iter().any(|stored| !registration.may_take_over(stored)) {
            return Ok(None);
        }
    }
    let known =
        c.prepare_cached("SELECT 1 FROM devices WHERE app = ?1 AND id = ?2")?.exists(params![app, id])?;
    let user = device.user.as_ref().map(UserId::as_str);
    c.prepare_cached(
        "INSERT OR REPLACE INTO devices (app, id, user, traits, registered_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![app, id, user, text(&device.traits)?, device.registered_at.as_millis()])?;
    c.prepare_cached("DELETE FROM addresses WHERE app = ?1 AND device = ?2")?.execute(params![app, id])?;
    if let Some(old) = replaces {
        let (channel, kind) = (old.channel.as_str(), old.kind.as_str());
        c.prepare_cached(
            "DELETE FROM addresses WHERE app = ?1 AND channel = ?2 AND kind = ?3 AND token = ?4",
        )?
        .execute(params![app, channel, kind, old.token.expose()])?;
    }
    // The primary key moves an address here from whoever held it.
    let mut insert = c.prepare_cached(
        "INSERT OR REPLACE INTO addresses (app, channel, kind, token, device, place) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (place, address) in (0i64..).zip(&device.addresses) {
        let (channel, kind) = (address.channel.as_str(), address.kind.as_str());
        insert.execute(params![app, channel, kind, address.token.expose(), id, place])?;
    }
    let dropped = match user {
        Some(user) => make_room(c, app, user, id, *max_devices)?,
        None => Vec::new(),
    };
    Ok(Some(Registered { id: device.id, created: !known, dropped }))
}

fn bind(c: &Connection, login: &Login) -> rusqlite::Result<Option<Registered>> {
    let (app, id, user) = (login.app.as_str(), login.device.as_str(), login.user.as_str());
    let bound: Option<Option<String>> = c
        .prepare_cached("SELECT user FROM devices WHERE app = ?1 AND id = ?2")?
        .query_row([app, id], |row| row.get(0))
        .optional()?;
    let Some(bound) = bound else { return Ok(None) };
    let bound = bound.map(|bound| UserId::new(&bound).map_err(unreadable)).transpose()?;
    if !login.may_take_over(bound.as_ref()) {
        return Ok(None);
    }
    c.prepare_cached(
        "UPDATE devices SET user = ?3, registered_at = max(registered_at, ?4) WHERE app = ?1 AND id = ?2",
    )?
    .execute(params![app, id, user, login.at.as_millis()])?;
    let dropped = make_room(c, app, user, id, login.max_devices)?;
    Ok(Some(Registered { id: login.device.clone(), created: false, dropped }))
}

/// A user's devices but one, newest first, behind the first few. For the order, SQLite would rather walk through all devices
/// of the app than use the index.
const OTHERS: &str =
    "SELECT id FROM devices INDEXED BY devices_by_user WHERE app = ?1 AND user = ?2 AND id <> ?3
    ORDER BY registered_at DESC, id DESC LIMIT -1 OFFSET ?4";

/// Forgets the user's oldest devices beyond `max_devices`, but never `newest`.
fn make_room(
    c: &Connection,
    app: &str,
    user: &str,
    newest: &str,
    max_devices: usize,
) -> rusqlite::Result<Vec<DeviceId>> {
    let others = i64::try_from(max_devices.max(1) - 1).unwrap_or(i64::MAX);
    let mut dropped: Vec<DeviceId> = c
        .prepare_cached(OTHERS)?
        .query_map(params![app, user, newest, others], |row| name(row, 0, DeviceId::new))?
        .collect::<rusqlite::Result<_>>()?;
    dropped.reverse();
    for id in &dropped {
        forget(c, app, id.as_str())?;
    }
    Ok(dropped)
}

/// Returns `true` if the device is known and bound to the owner. Without an owner, it may be anybody's.
fn is_owned(c: &Connection, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM devices WHERE app = ?1 AND id = ?2 AND (?3 IS NULL OR user = ?3)")?
        .exists(params![app.as_str(), id.as_str(), owner.map(UserId::as_str)])
}

fn detach(
    c: &Connection,
    app: &AppId,
    id: &DeviceId,
    owner: Option<&UserId>,
    channels: &[ChannelName],
) -> rusqlite::Result<bool> {
    if !is_owned(c, app, id, owner)? {
        return Ok(false);
    }
    let (app, id) = (app.as_str(), id.as_str());
    c.prepare_cached("UPDATE devices SET user = NULL WHERE app = ?1 AND id = ?2")?.execute([app, id])?;
    let mut delete =
        c.prepare_cached("DELETE FROM addresses WHERE app = ?1 AND device = ?2 AND channel = ?3")?;
    for channel in channels {
        delete.execute([app, id, channel.as_str()])?;
    }
    Ok(true)
}

/// Returns `true` if the device is there and cannot be decoded.
pub(crate) fn find_unreadable(c: &Connection, app: &str, id: &str) -> rusqlite::Result<bool> {
    let Ok(app) = AppId::new(app) else { return Ok(true) };
    let mut findings = Findings::default();
    find(c, &DeviceQuery { sql: found::BY_ID, app: &app, key: id, limit: 1 }, &mut findings)?;
    Ok(!findings.unreadable.is_empty())
}

pub(crate) fn forget(c: &Connection, app: &str, id: &str) -> rusqlite::Result<bool> {
    crate::dead::forget_device(c, app, id)?;
    c.prepare_cached("DELETE FROM addresses WHERE app = ?1 AND device = ?2")?.execute([app, id])?;
    Ok(c.prepare_cached("DELETE FROM devices WHERE app = ?1 AND id = ?2")?.execute([app, id])? > 0)
}

fn release(c: &Connection, app: &AppId, address: &Address) -> rusqlite::Result<Option<DeviceId>> {
    let (channel, kind, token) = (address.channel.as_str(), address.kind.as_str(), address.token.expose());
    c.prepare_cached(
        "DELETE FROM addresses WHERE app = ?1 AND channel = ?2 AND kind = ?3 AND token = ?4 RETURNING device",
    )?
    .query_row(params![app.as_str(), channel, kind, token], |row| name(row, 0, DeviceId::new))
    .optional()
}

fn replace(c: &Connection, app: &AppId, replacement: &Replacement) -> rusqlite::Result<Option<DeviceId>> {
    let Replacement { old, new, at, user } = replacement;
    let Some((device, _)) = holder(c, app, old)? else { return Ok(None) };
    let is_of_user = "SELECT 1 FROM devices WHERE app = ?1 AND id = ?2 AND user = ?3";
    if let Some(user) = user
        && !c.prepare_cached(is_of_user)?.exists(params![app.as_str(), device, user.as_str()])?
    {
        return Ok(None);
    }
    let id = DeviceId::new(&device).map_err(unreadable)?;
    let (channel, kind, old_token) = (old.channel.as_str(), old.kind.as_str(), old.token.expose());
    let is_somebody_elses = c
        .prepare_cached(
            "SELECT 1 FROM addresses a JOIN devices d ON d.app = a.app AND d.id = a.device
             WHERE a.app = ?1 AND a.channel = ?2 AND a.kind = ?3 AND a.token = ?4
             AND d.user IS NOT (SELECT user FROM devices WHERE app = ?1 AND id = ?5)",
        )?
        .exists(params![app.as_str(), channel, kind, new.expose(), device])?;
    if is_somebody_elses {
        release(c, app, old)?;
        return Ok(Some(id));
    }
    c.prepare_cached(
        "UPDATE OR REPLACE addresses SET token = ?5 WHERE app = ?1 AND channel = ?2 AND kind = ?3 AND token = ?4",
    )?
    .execute(params![app.as_str(), channel, kind, old_token, new.expose()])?;
    c.prepare_cached("UPDATE devices SET registered_at = max(registered_at, ?3) WHERE app = ?1 AND id = ?2")?
        .execute(params![app.as_str(), device, at.as_millis()])?;
    Ok(Some(id))
}

/// The device that holds an address, and since when.
pub(crate) fn holder(
    c: &Connection,
    app: &AppId,
    address: &Address,
) -> rusqlite::Result<Option<(String, i64)>> {
    c.prepare_cached(
        "SELECT d.id, d.registered_at FROM addresses a JOIN devices d ON d.app = a.app AND d.id = a.device
         WHERE a.app = ?1 AND a.channel = ?2 AND a.kind = ?3 AND a.token = ?4",
    )?
    .query_row(
        params![app.as_str(), address.channel.as_str(), address.kind.as_str(), address.token.expose()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .optional()
}

/// A name in a column: checked when it was written.
pub(crate) fn name<T>(
    row: &Row<'_>,
    at: usize,
    parse: impl Fn(&str) -> Result<T, pushgate::InvalidName>,
) -> rusqlite::Result<T> {
    parse(row.get_ref(at)?.as_str()?).map_err(unreadable)
}

pub(crate) fn unreadable(error: pushgate::InvalidName) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn nobody_is_looked_up_by_a_walk_through_all_of_the_app() {
        let folder = tempfile::tempdir().unwrap();
        let opened = crate::open::open(&folder.path().join("p.db"), 1).unwrap();
        let rows = [
            (OTHERS, "devices_by_user (app=? AND user=?)"),
            (found::BY_USER, "devices_by_user (app=? AND user=?)"),
            (found::BY_ID, "PRIMARY KEY (app=? AND id=?)"),
            (found::AFTER_ID, "PRIMARY KEY (app=? AND id>?)"),
        ];
        for (sql, index) in rows {
            let mut plan = opened.writer.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let given = vec!["given"; plan.parameter_count()];
            let plan: String = plan.query_row(rusqlite::params_from_iter(given), |row| row.get(3)).unwrap();
            assert!(plan.contains(index), "{plan}");
        }
    }

    #[test]
    fn no_statement_is_planned_anew_for_what_is_bound_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let opened = crate::open::open(&folder.path().join("p.db"), 1).unwrap();
        for sql in [OTHERS, found::BY_ID, found::BY_USER, found::AFTER_ID] {
            for word in ["one", "another"] {
                bound(&mut opened.readers[0].prepare_cached(sql).unwrap(), word).unwrap();
            }
            let again = opened.readers[0].prepare_cached(sql).unwrap();
            assert_eq!(again.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }

    /// Runs it with the word in each place but the fourth, which is a number's.
    fn bound(statement: &mut rusqlite::Statement<'_>, word: &str) -> rusqlite::Result<()> {
        for at in 1..=statement.parameter_count() {
            if at == 4 {
                statement.raw_bind_parameter(at, 0)
            } else {
                statement.raw_bind_parameter(at, word)
            }?;
        }
        statement.raw_query().next().map(|_| ())
    }
}
