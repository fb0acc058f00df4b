//! Devices in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::dead::DeadRows;
use crate::device::{Address, Device};
use crate::ids::{AppId, ChannelName, DeviceId, UserId};
use crate::rules::Rules;
use crate::store::{Count, IdentifiedBy, Login, Registered, Registration, Replacement, StorageError, Store};

/// Store in memory.
#[derive(Default)]
pub struct MemoryStore(pub(super) Mutex<StoreState>);

#[derive(Default)]
pub(super) struct StoreState {
    pub(super) devices: BTreeMap<(AppId, DeviceId), Device>,
    pub(super) holders: HashMap<(AppId, Address), DeviceId>,
    users: HashMap<(AppId, UserId), BTreeSet<DeviceId>>,
    rules: HashMap<(AppId, UserId), Rules>,
    counters: HashMap<(AppId, UserId), u32>,
    pub(super) dead_rows: DeadRows,
}

impl StoreState {
    pub(super) fn remove_device(&mut self, app: &AppId, id: &DeviceId) -> Option<Device> {
        let device = self.devices.remove(&(app.clone(), id.clone()))?;
        for address in &device.addresses {
            self.holders.remove(&(app.clone(), address.clone()));
        }
        if let Some(user) = &device.user {
            let key = (app.clone(), user.clone());
            let devices = self.users.get_mut(&key);
            if devices.is_some_and(|devices| devices.remove(id) && devices.is_empty()) {
                self.users.remove(&key);
            }
        }
        Some(device)
    }

    pub(super) fn insert_device(&mut self, device: Device) {
        for address in &device.addresses {
            self.holders.insert((device.app.clone(), address.clone()), device.id.clone());
        }
        if let Some(user) = &device.user {
            let key = (device.app.clone(), user.clone());
            self.users.entry(key).or_default().insert(device.id.clone());
        }
        self.devices.insert((device.app.clone(), device.id.clone()), device);
    }

    /// Removes the device that holds the address, and returns it.
    fn remove_holder(&mut self, app: &AppId, address: &Address) -> Option<Device> {
        let holder = self.holders.get(&(app.clone(), address.clone()))?.clone();
        self.remove_device(app, &holder)
    }

    /// Removes an address from the device that holds it. Returns that device.
    pub(super) fn release(&mut self, app: &AppId, address: &Address) -> Option<DeviceId> {
        let mut holder = self.remove_holder(app, address)?;
        holder.addresses.retain(|held| held != address);
        let id = holder.id.clone();
        self.insert_device(holder);
        Some(id)
    }

    /// Deletes the user's oldest devices beyond `max_devices`, but never `newest`. Returns the deleted ones.
    fn delete_oldest_devices(
        &mut self,
        app: &AppId,
        user: &UserId,
        newest: &DeviceId,
        max_devices: usize,
    ) -> Vec<DeviceId> {
        let Some(devices) = self.users.get(&(app.clone(), user.clone())) else { return Vec::new() };
        let age = |id: &DeviceId| self.devices.get(&(app.clone(), id.clone())).map(|d| d.registered_at);
        let mut others: Vec<_> = devices.iter().filter(|id| *id != newest).cloned().collect();
        others.sort_by_key(|id| (age(id), id.clone()));
        others.truncate((others.len() + 1).saturating_sub(max_devices.max(1)));
        for id in &others {
            self.forget(app, id);
        }
        others
    }

    /// Returns `true` if the device is known and bound to the owner. Without an owner, any known device counts.
    fn is_owned(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> bool {
        let device = self.devices.get(&(app.clone(), id.clone()));
        device.is_some_and(|device| owner.is_none() || device.user.as_ref() == owner)
    }

    fn forget(&mut self, app: &AppId, id: &DeviceId) -> bool {
        self.dead_rows.forget_device(app, id);
        self.remove_device(app, id).is_some()
    }

    fn of_user(&self, app: &AppId, user: &UserId) -> impl Iterator<Item = &Device> {
        let devices = self.users.get(&(app.clone(), user.clone()));
        devices.into_iter().flatten().filter_map(|id| self.devices.get(&(app.clone(), id.clone())))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn register(&self, mut registration: Registration) -> Result<Option<Registered>, StorageError> {
        let mut state = self.0.lock();
        let device = &mut registration.device;
        let app = device.app.clone();
        if registration.identified_by == IdentifiedBy::Address {
            let known = device.addresses.iter().chain(&registration.replaces);
            let holder = |address: &Address| state.holders.get(&(app.clone(), address.clone())).cloned();
            if let Some(id) = known.into_iter().find_map(holder) {
                device.id = id;
            }
        }
        let known = state.devices.get(&(app.clone(), registration.device.id.clone()));
        if known.is_some_and(|known| !registration.may_take_over(known)) {
            return Ok(None);
        }
        let Registration { mut device, replaces, max_devices, .. } = registration;
        let created = state.remove_device(&app, &device.id).is_none();
        let mut seen = std::collections::HashSet::new();
        device.addresses.retain(|address| seen.insert(address.clone()));
        for address in device.addresses.iter().chain(&replaces) {
            state.release(&app, address);
        }
        let (id, user) = (device.id.clone(), device.user.clone());
        state.insert_device(device);
        let dropped =
            user.map(|user| state.delete_oldest_devices(&app, &user, &id, max_devices)).unwrap_or_default();
        Ok(Some(Registered { id, created, dropped }))
    }

    async fn bind(&self, login: Login) -> Result<Option<Registered>, StorageError> {
        let mut state = self.0.lock();
        let known = state.devices.get(&(login.app.clone(), login.device.clone()));
        if known.is_none_or(|known| !login.may_take_over(known.user.as_ref())) {
            return Ok(None);
        }
        let Login { app, device: id, user, at, max_devices, .. } = login;
        let Some(mut device) = state.remove_device(&app, &id) else { return Ok(None) };
        device.user = Some(user.clone());
        device.registered_at = device.registered_at.max(at);
        state.insert_device(device);
        let dropped = state.delete_oldest_devices(&app, &user, &id, max_devices);
        Ok(Some(Registered { id, created: false, dropped }))
    }

    async fn unbind(&self, app: &AppId, id: &DeviceId, user: Option<&UserId>) -> Result<bool, StorageError> {
        let mut state = self.0.lock();
        let Some(mut device) = state.remove_device(app, id) else { return Ok(false) };
        let was_bound = device.user.is_some() && (user.is_none() || device.user.as_ref() == user);
        if was_bound {
            device.user = None;
        }
        state.insert_device(device);
        Ok(was_bound)
    }

    async fn detach(
        &self,
        app: &AppId,
        id: &DeviceId,
        owner: Option<&UserId>,
        channels: &[ChannelName],
    ) -> Result<bool, StorageError> {
        let mut state = self.0.lock();
        if !state.is_owned(app, id, owner) {
            return Ok(false);
        }
        let Some(mut device) = state.remove_device(app, id) else { return Ok(false) };
        device.user = None;
        device.addresses.retain(|address| !channels.contains(&address.channel));
        state.insert_device(device);
        Ok(true)
    }

    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.0.lock().devices.get(&(app.clone(), id.clone())).cloned())
    }

    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError> {
        let state = self.0.lock();
        Ok(users.iter().flat_map(|user| state.of_user(app, user)).cloned().collect())
    }

    async fn page(
        &self,
        app: &AppId,
        after: Option<&DeviceId>,
        limit: usize,
    ) -> Result<Vec<Device>, StorageError> {
        let state = self.0.lock();
        let from = after.map(|id| (app.clone(), id.clone()));
        let all = match from {
            Some(from) => state.devices.range((Bound::Excluded(from), Bound::Unbounded)),
            None => state.devices.range(..),
        };
        let ours =
            all.skip_while(|((row_app, _), _)| row_app < app).take_while(|((row_app, _), _)| row_app == app);
        Ok(ours.take(limit).map(|(_, device)| device.clone()).collect())
    }

    async fn forget(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Result<bool, StorageError> {
        let mut state = self.0.lock();
        Ok(state.is_owned(app, id, owner) && state.forget(app, id))
    }

    async fn release(&self, app: &AppId, address: &Address) -> Result<Option<DeviceId>, StorageError> {
        Ok(self.0.lock().release(app, address))
    }

    async fn replace(&self, app: &AppId, replacement: Replacement) -> Result<Option<DeviceId>, StorageError> {
        let Replacement { old, new, at, user } = replacement;
        let old = &old;
        let fresh = Address { token: new.clone(), ..old.clone() };
        let mut state = self.0.lock();
        let Some(mut device) = state.remove_holder(app, old) else { return Ok(None) };
        let id = device.id.clone();
        if user.is_some() && device.user != user {
            state.insert_device(device);
            return Ok(None);
        }
        let holder = state.holders.get(&(app.clone(), fresh.clone()));
        let holder = holder.and_then(|id| state.devices.get(&(app.clone(), id.clone())));
        if holder.is_some_and(|holder| holder.user != device.user) {
            device.addresses.retain(|held| held != old);
            state.insert_device(device);
            return Ok(Some(id));
        }
        if fresh != *old {
            state.release(app, &fresh);
            device.addresses.retain(|held| *held != fresh);
        }
        for held in &mut device.addresses {
            if held == old {
                held.token = new.clone();
            }
        }
        device.registered_at = device.registered_at.max(at);
        state.insert_device(device);
        Ok(Some(id))
    }

    async fn rules(&self, app: &AppId, users: &[UserId]) -> Result<HashMap<UserId, Rules>, StorageError> {
        let state = self.0.lock();
        let rules_of =
            |user: &UserId| Some((user.clone(), state.rules.get(&(app.clone(), user.clone()))?.clone()));
        Ok(users.iter().filter_map(rules_of).collect())
    }

    async fn set_rules(&self, app: &AppId, user: &UserId, rules: &Rules) -> Result<(), StorageError> {
        let (key, mut state) = ((app.clone(), user.clone()), self.0.lock());
        if rules.is_empty() {
            state.rules.remove(&key);
        } else {
            state.rules.insert(key, rules.clone());
        }
        Ok(())
    }

    async fn count(
        &self,
        app: &AppId,
        users: &[UserId],
        change: Count,
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        let mut state = self.0.lock();
        let counts = users.iter().map(|user| {
            let counter = state.counters.entry((app.clone(), user.clone())).or_default();
            *counter = change.of(*counter);
            (user.clone(), *counter)
        });
        Ok(counts.collect())
    }
}
