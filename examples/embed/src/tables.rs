//! Tables of the IM server as the store of pushgate. Here they are vectors behind a lock. In a real server they are
//! in the database, and each method is one transaction. `tests/tables.rs` runs the checks for stores.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{
    Address, AppId, ChannelName, Count, DeadAddress, Device, DeviceId, IdentifiedBy, Login, PruneGuardState,
    Registered, Registration, Replacement, Rules, StorageError, Store, UserId,
};

/// All data that the IM server keeps for pushgate.
#[derive(Default)]
pub struct Tables(pub(crate) Mutex<Rows>);

#[derive(Default)]
pub(crate) struct Rows {
    devices: Vec<Device>,
    pub(crate) dead: Vec<(AppId, DeadAddress)>,
    pub(crate) last_dead_id: i64,
    pub(crate) prune_guards: HashMap<(AppId, ChannelName), PruneGuardState>,
    rules: HashMap<(AppId, UserId), Rules>,
    counters: HashMap<(AppId, UserId), u32>,
}

impl Rows {
    pub(crate) fn device(&mut self, app: &AppId, id: &DeviceId) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.app == *app && device.id == *id)
    }

    /// Returns the device if it is known and bound to the owner. Without an owner, the device may belong to any user.
    fn owned(&mut self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Option<&mut Device> {
        self.device(app, id).filter(|device| owner.is_none() || device.user.as_ref() == owner)
    }

    pub(crate) fn holder(&mut self, app: &AppId, address: &Address) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.app == *app && device.addresses.contains(address))
    }

    pub(crate) fn release(&mut self, app: &AppId, address: &Address) -> Option<DeviceId> {
        let holder = self.holder(app, address)?;
        holder.addresses.retain(|held| held != address);
        Some(holder.id.clone())
    }

    fn make_room(
        &mut self,
        app: &AppId,
        user: &UserId,
        newest: &DeviceId,
        max_devices: usize,
    ) -> Vec<DeviceId> {
        let others = self.devices.iter().filter(|d| d.app == *app && d.user.as_ref() == Some(user));
        let mut others: Vec<_> =
            others.filter(|d| d.id != *newest).map(|d| (d.registered_at, d.id.clone())).collect();
        others.sort();
        others.truncate((others.len() + 1).saturating_sub(max_devices.max(1)));
        let dropped: Vec<_> = others.into_iter().map(|(_, id)| id).collect();
        self.devices.retain(|device| device.app != *app || !dropped.contains(&device.id));
        self.dead.retain(|(of, dead)| of != app || !dropped.contains(&dead.device));
        dropped
    }
}

#[async_trait]
impl Store for Tables {
    async fn register(&self, mut registration: Registration) -> Result<Option<Registered>, StorageError> {
        let (mut rows, app) = (self.0.lock(), registration.device.app.clone());
        let mut held = registration.device.addresses.iter().chain(&registration.replaces);
        if registration.identified_by == IdentifiedBy::Address
            && let Some(id) = held.find_map(|address| Some(rows.holder(&app, address)?.id.clone()))
        {
            registration.device.id = id;
        }
        let known = rows.device(&app, &registration.device.id);
        if known.is_some_and(|known| !registration.may_take_over(known)) {
            return Ok(None);
        }
        let Registration { mut device, replaces, max_devices, .. } = registration;
        let before = rows.devices.len();
        rows.devices.retain(|known| known.app != app || known.id != device.id);
        let created = rows.devices.len() == before;
        for address in device.addresses.iter().chain(&replaces) {
            rows.release(&app, address);
        }
        let mut once: Vec<Address> = Vec::new();
        device.addresses.retain(|address| {
            !once.contains(address) && {
                once.push(address.clone());
                true
            }
        });
        let (id, user) = (device.id.clone(), device.user.clone());
        rows.devices.push(device);
        let dropped = user.map(|user| rows.make_room(&app, &user, &id, max_devices)).unwrap_or_default();
        Ok(Some(Registered { id, created, dropped }))
    }

    async fn bind(&self, login: Login) -> Result<Option<Registered>, StorageError> {
        let mut rows = self.0.lock();
        let known = rows.device(&login.app, &login.device);
        let Some(device) = known.filter(|known| login.may_take_over(known.user.as_ref())) else {
            return Ok(None);
        };
        let Login { app, device: id, user, at, max_devices, .. } = login;
        device.user = Some(user.clone());
        device.registered_at = device.registered_at.max(at);
        let dropped = rows.make_room(&app, &user, &id, max_devices);
        Ok(Some(Registered { id, created: false, dropped }))
    }

    async fn unbind(&self, app: &AppId, id: &DeviceId, user: Option<&UserId>) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let bound = rows.device(app, id).filter(|device| user.is_none() || device.user.as_ref() == user);
        Ok(bound.and_then(|device| device.user.take()).is_some())
    }

    async fn detach(
        &self,
        app: &AppId,
        id: &DeviceId,
        owner: Option<&UserId>,
        channels: &[ChannelName],
    ) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let Some(device) = rows.owned(app, id, owner) else { return Ok(false) };
        device.user = None;
        device.addresses.retain(|address| !channels.contains(&address.channel));
        Ok(true)
    }

    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.0.lock().device(app, id).cloned())
    }

    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError> {
        let rows = self.0.lock();
        let of = |user: &UserId| {
            let theirs = rows.devices.iter().filter(|d| d.app == *app && d.user.as_ref() == Some(user));
            theirs.cloned().collect::<Vec<_>>()
        };
        Ok(users.iter().flat_map(of).collect())
    }

    async fn page(
        &self,
        app: &AppId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<Device>, StorageError> {
        let rows = self.0.lock();
        let behind = |device: &&Device| device.app == *app && after.is_none_or(|after| device.id > *after);
        let mut page: Vec<_> = rows.devices.iter().filter(behind).cloned().collect();
        page.sort_by(|a, b| a.id.cmp(&b.id));
        page.truncate(limit);
        Ok(page)
    }

    async fn forget(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let is_owned = rows.owned(app, id, owner).is_some();
        rows.devices.retain(|device| !is_owned || device.app != *app || device.id != *id);
        rows.dead.retain(|(of, dead)| !is_owned || of != app || dead.device != *id);
        Ok(is_owned)
    }

    async fn release(&self, app: &AppId, address: &Address) -> Result<Option<DeviceId>, StorageError> {
        Ok(self.0.lock().release(app, address))
    }

    async fn replace(&self, app: &AppId, replacement: Replacement) -> Result<Option<DeviceId>, StorageError> {
        let Replacement { old, new, at, user: demanded } = replacement;
        let old = &old;
        let mut rows = self.0.lock();
        let fresh = Address { token: new.clone(), ..old.clone() };
        let holder = rows.holder(app, old).map(|device| (device.id.clone(), device.user.clone()));
        let Some((id, user)) = holder else { return Ok(None) };
        if demanded.is_some() && demanded != user {
            return Ok(None);
        }
        if rows.holder(app, &fresh).is_some_and(|holder| holder.user != user) {
            rows.release(app, old);
            return Ok(Some(id));
        }
        if fresh != *old {
            rows.release(app, &fresh);
        }
        let Some(device) = rows.holder(app, old) else { return Ok(None) };
        device.registered_at = device.registered_at.max(at);
        for held in device.addresses.iter_mut().filter(|held| *held == old) {
            *held = fresh.clone();
        }
        Ok(Some(id))
    }

    async fn rules(&self, app: &AppId, users: &[UserId]) -> Result<HashMap<UserId, Rules>, StorageError> {
        let rows = self.0.lock();
        let of = |user: &UserId| Some((user.clone(), rows.rules.get(&(app.clone(), user.clone()))?.clone()));
        Ok(users.iter().filter_map(of).collect())
    }

    async fn set_rules(&self, app: &AppId, user: &UserId, rules: &Rules) -> Result<(), StorageError> {
        let mut rows = self.0.lock();
        rows.rules.insert((app.clone(), user.clone()), rules.clone());
        rows.rules.retain(|_, rules| !rules.is_empty());
        Ok(())
    }

    async fn count(
        &self,
        app: &AppId,
        users: &[UserId],
        change: Count,
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        let mut rows = self.0.lock();
        let counted = users.iter().map(|user| {
            let number = rows.counters.entry((app.clone(), user.clone())).or_default();
            *number = change.of(*number);
            (user.clone(), *number)
        });
        Ok(counted.collect())
    }
}
