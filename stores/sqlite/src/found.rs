//! Queries for devices. One statement returns each device with its addresses.

use pushgate::{Address, AppId, ChannelName, Device, DeviceId, Timestamp, TokenKind, UserId};
use rusqlite::{Connection, Row, params};

use crate::devices::{name, unreadable};
use crate::quarantine::{Findings, Source, decode};

/// Builds a query with one row per address, and one row for a device without addresses.
macro_rules! devices {
    ($index:literal, $which:literal) => {
        concat!(
            "SELECT d.id, d.user, d.traits, d.registered_at, a.place, a.channel, a.kind, a.token FROM devices d ",
            $index,
            " LEFT JOIN addresses a INDEXED BY addresses_by_device ON a.app = d.app AND a.device = d.id WHERE d.app = ?1 AND ",
            $which,
            " ORDER BY d.id"
        )
    };
}

/// Selects the device with this id.
pub(crate) const BY_ID: &str = devices!("", "d.id = ?2");
/// Selects the devices of a user. Names the index, because SQLite would otherwise scan all devices of the app for the
/// order.
pub(crate) const BY_USER: &str = devices!("INDEXED BY devices_by_user", "d.user = ?2");
/// Selects the devices after this id. Every id is greater than the empty text, which starts at the first one.
pub(crate) const AFTER_ID: &str = devices!("", "d.id > ?2");

/// Parameters of a query for devices.
pub(crate) struct DeviceQuery<'a> {
    /// One of the queries above.
    pub(crate) sql: &'a str,
    pub(crate) app: &'a AppId,
    /// Id of the device or user that the query compares with.
    pub(crate) key: &'a str,
    /// Maximum number of devices.
    pub(crate) limit: usize,
}

/// Runs the query and returns at most `limit` devices. A device that cannot be decoded is
/// omitted and recorded in `findings`.
pub(crate) fn find(
    c: &Connection,
    query: &DeviceQuery<'_>,
    findings: &mut Findings,
) -> rusqlite::Result<Vec<Device>> {
    let DeviceQuery { sql, app, key, limit } = *query;
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query(params![app.as_str(), key])?;
    let (mut devices, mut places) = (Vec::<Device>::new(), Vec::new());
    let mut broken: Option<String> = None;
    while let Some(row) = rows.next()? {
        let id = row.get_ref(0)?.as_str()?;
        if broken.as_deref() == Some(id) {
            continue;
        }
        let is_next = devices.last().is_none_or(|last| last.id.as_str() != id);
        if is_next && devices.len() == limit {
            break;
        }
        let device_row = read(app, row, is_next);
        let source = || Source::Device { app: app.to_string(), id: id.to_owned() };
        let Some(DeviceRow { device, address }) = findings.check(device_row, source) else {
            broken = Some(id.to_owned());
            devices.pop_if(|_| !is_next);
            continue;
        };
        if let Some(device) = device {
            devices.push(device);
            places.clear();
        }
        if let (Some((place, address)), Some(device)) = (address, devices.last_mut()) {
            // SQL does not guarantee the order of the addresses.
            let at = places.partition_point(|&other| other < place);
            places.insert(at, place);
            device.addresses.insert(at, address);
        }
    }
    Ok(devices)
}

/// Content of a row: the device if it is a new one, and the address with its position if the row has one.
struct DeviceRow {
    device: Option<Device>,
    address: Option<(i64, Address)>,
}

fn read(app: &AppId, row: &Row<'_>, is_next: bool) -> Result<DeviceRow, String> {
    let reason = |error: rusqlite::Error| match error {
        rusqlite::Error::FromSqlConversionFailure(_, _, source) => source.to_string(),
        _ => "a column of another type than expected".to_owned(),
    };
    let device = if is_next { Some(device(app, row).map_err(reason)?) } else { None };
    let place: Option<i64> = row.get(4).map_err(reason)?;
    let address = match place {
        Some(place) => Some((place, address(row).map_err(reason)?)),
        None => None,
    };
    Ok(DeviceRow { device, address })
}

fn device(app: &AppId, row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        app: app.clone(),
        id: name(row, 0, DeviceId::new)?,
        user: row.get_ref(1)?.as_str_or_null()?.map(UserId::new).transpose().map_err(unreadable)?,
        traits: decode(row.get_ref(2)?).map_err(conversion)?,
        addresses: Vec::with_capacity(1),
        registered_at: Timestamp::from_millis(row.get(3)?),
    })
}

fn address(row: &Row<'_>) -> rusqlite::Result<Address> {
    let kind = match row.get_ref(6)?.as_str()? {
        "fid" => TokenKind::Fid,
        "subscription" => TokenKind::Subscription,
        "voip" => TokenKind::Voip,
        _ => TokenKind::Token,
    };
    Ok(Address { channel: name(row, 5, ChannelName::new)?, kind, token: row.get_ref(7)?.as_str()?.into() })
}

fn conversion(reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, reason.into())
}
