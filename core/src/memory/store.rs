//! Devices in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::dead::DeadRows;
use crate::device::{Address, Device};
use crate::rules::Rules;
use crate::store::{Count, Login, Named, Registered, Registration, Replacement, StorageError, Store};
use crate::words::{AppId, ChannelName, DeviceId, UserId};

/// Keeps devices in memory.
#[derive(Default)]
pub struct MemoryStore(pub(super) Mutex<Shelf>);

#[derive(Default)]
pub(super) struct Shelf {
    pub(super) devices: BTreeMap<(AppId, DeviceId), Device>,
    pub(super) holders: HashMap<(AppId, Address), DeviceId>,
    users: HashMap<(AppId, UserId), BTreeSet<DeviceId>>,
    rules: HashMap<(AppId, UserId), Rules>,
    counters: HashMap<(AppId, UserId), u32>,
    pub(super) dead_rows: DeadRows,
}

impl Shelf {
    pub(super) fn take_out(&mut self, app: &AppId, id: &DeviceId) -> Option<Device> {
        let device = self.devices.remove(&(app.clone(), id.clone()))?;
        for address in &device.addresses {
            self.holders.remove(&(app.clone(), address.clone()));
        }
        if let Some(user) = &device.user {
            let key = (app.clone(), user.clone());
            let theirs = self.users.get_mut(&key);
            if theirs.is_some_and(|theirs| theirs.remove(id) && theirs.is_empty()) {
                self.users.remove(&key);
            }
        }
        Some(device)
    }

    pub(super) fn put_in(&mut self, device: Device) {
        for address in &device.addresses {
            self.holders.insert((device.app.clone(), address.clone()), device.id.clone());
        }
        if let Some(user) = &device.user {
            let key = (device.app.clone(), user.clone());
            self.users.entry(key).or_default().insert(device.id.clone());
        }
        self.devices.insert((device.app.clone(), device.id.clone()), device);
    }

    /// The device that holds the address, out of the shelf.
    fn take_out_holder(&mut self, app: &AppId, address: &Address) -> Option<Device> {
        let holder = self.holders.get(&(app.clone(), address.clone()))?.clone();
        self.take_out(app, &holder)
    }

    /// Takes an address off whoever holds it.
    pub(super) fn release(&mut self, app: &AppId, address: &Address) -> Option<DeviceId> {
        let mut holder = self.take_out_holder(app, address)?;
        holder.addresses.retain(|held| held != address);
        let id = holder.id.clone();
        self.put_in(holder);
        Some(id)
    }

    /// Forgets the user's oldest devices beyond `most`, but never `newest`.
    fn make_room(&mut self, app: &AppId, user: &UserId, newest: &DeviceId, most: usize) -> Vec<DeviceId> {
        let Some(theirs) = self.users.get(&(app.clone(), user.clone())) else { return Vec::new() };
        let age = |id: &DeviceId| self.devices.get(&(app.clone(), id.clone())).map(|d| d.registered_at);
        let mut others: Vec<_> = theirs.iter().filter(|id| *id != newest).cloned().collect();
        others.sort_by_key(|id| (age(id), id.clone()));
        others.truncate((others.len() + 1).saturating_sub(most.max(1)));
        for id in &others {
            self.forget(app, id);
        }
        others
    }

    /// Returns `true` if the device is known and bound to the owner. Without an owner, it may be anybody's.
    fn is_owned(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> bool {
        let device = self.devices.get(&(app.clone(), id.clone()));
        device.is_some_and(|device| owner.is_none() || device.user.as_ref() == owner)
    }

    fn forget(&mut self, app: &AppId, id: &DeviceId) -> bool {
        self.dead_rows.forget_device(app, id);
        self.take_out(app, id).is_some()
    }

    fn of_user(&self, app: &AppId, user: &UserId) -> impl Iterator<Item = &Device> {
        let theirs = self.users.get(&(app.clone(), user.clone()));
        theirs.into_iter().flatten().filter_map(|id| self.devices.get(&(app.clone(), id.clone())))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn register(&self, mut registration: Registration) -> Result<Option<Registered>, StorageError> {
        let mut shelf = self.0.lock();
        let device = &mut registration.device;
        let app = device.app.clone();
        if registration.named == Named::ByAddress {
            let known = device.addresses.iter().chain(&registration.replaces);
            let holder = |address: &Address| shelf.holders.get(&(app.clone(), address.clone())).cloned();
            if let Some(id) = known.into_iter().find_map(holder) {
                device.id = id;
            }
        }
        let known = shelf.devices.get(&(app.clone(), registration.device.id.clone()));
        if known.is_some_and(|known| !registration.may_take_over(known)) {
            return Ok(None);
        }
        let Registration { mut device, replaces, most, .. } = registration;
        let created = shelf.take_out(&app, &device.id).is_none();
        let mut seen = std::collections::HashSet::new();
        device.addresses.retain(|address| seen.insert(address.clone()));
        for address in device.addresses.iter().chain(&replaces) {
            shelf.release(&app, address);
        }
        let (id, user) = (device.id.clone(), device.user.clone());
        shelf.put_in(device);
        let dropped = user.map(|user| shelf.make_room(&app, &user, &id, most)).unwrap_or_default();
        Ok(Some(Registered { id, created, dropped }))
    }

    async fn bind(&self, login: Login) -> Result<Option<Registered>, StorageError> {
        let mut shelf = self.0.lock();
        let known = shelf.devices.get(&(login.app.clone(), login.device.clone()));
        if known.is_none_or(|known| !login.may_take_over(known.user.as_ref())) {
            return Ok(None);
        }
        let Login { app, device: id, user, at, most, .. } = login;
        let Some(mut device) = shelf.take_out(&app, &id) else { return Ok(None) };
        device.user = Some(user.clone());
        device.registered_at = device.registered_at.max(at);
        shelf.put_in(device);
        let dropped = shelf.make_room(&app, &user, &id, most);
        Ok(Some(Registered { id, created: false, dropped }))
    }

    async fn unbind(&self, app: &AppId, id: &DeviceId, user: Option<&UserId>) -> Result<bool, StorageError> {
        let mut shelf = self.0.lock();
        let Some(mut device) = shelf.take_out(app, id) else { return Ok(false) };
        let so_bound = device.user.is_some() && (user.is_none() || device.user.as_ref() == user);
        if so_bound {
            device.user = None;
        }
        shelf.put_in(device);
        Ok(so_bound)
    }

    async fn detach(
        &self,
        app: &AppId,
        id: &DeviceId,
        owner: Option<&UserId>,
        channels: &[ChannelName],
    ) -> Result<bool, StorageError> {
        let mut shelf = self.0.lock();
        if !shelf.is_owned(app, id, owner) {
            return Ok(false);
        }
        let Some(mut device) = shelf.take_out(app, id) else { return Ok(false) };
        device.user = None;
        device.addresses.retain(|address| !channels.contains(&address.channel));
        shelf.put_in(device);
        Ok(true)
    }

    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.0.lock().devices.get(&(app.clone(), id.clone())).cloned())
    }

    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError> {
        let shelf = self.0.lock();
        Ok(users.iter().flat_map(|user| shelf.of_user(app, user)).cloned().collect())
    }

    async fn page(
        &self,
        app: &AppId,
        after: Option<&DeviceId>,
        most: usize,
    ) -> Result<Vec<Device>, StorageError> {
        let shelf = self.0.lock();
        let from = after.map(|id| (app.clone(), id.clone()));
        let all = match from {
            Some(from) => shelf.devices.range((Bound::Excluded(from), Bound::Unbounded)),
            None => shelf.devices.range(..),
        };
        let ours = all.skip_while(|((of, _), _)| of < app).take_while(|((of, _), _)| of == app);
        Ok(ours.take(most).map(|(_, device)| device.clone()).collect())
    }

    async fn forget(&self, app: &AppId, id: &DeviceId, owner: Option<&UserId>) -> Result<bool, StorageError> {
        let mut shelf = self.0.lock();
        Ok(shelf.is_owned(app, id, owner) && shelf.forget(app, id))
    }

    async fn release(&self, app: &AppId, address: &Address) -> Result<Option<DeviceId>, StorageError> {
        Ok(self.0.lock().release(app, address))
    }

    async fn replace(&self, app: &AppId, replacement: Replacement) -> Result<Option<DeviceId>, StorageError> {
        let Replacement { old, new, at, user } = replacement;
        let old = &old;
        let fresh = Address { token: new.clone(), ..old.clone() };
        let mut shelf = self.0.lock();
        let Some(mut device) = shelf.take_out_holder(app, old) else { return Ok(None) };
        let id = device.id.clone();
        if user.is_some() && device.user != user {
            shelf.put_in(device);
            return Ok(None);
        }
        let holder = shelf.holders.get(&(app.clone(), fresh.clone()));
        let holder = holder.and_then(|id| shelf.devices.get(&(app.clone(), id.clone())));
        if holder.is_some_and(|holder| holder.user != device.user) {
            device.addresses.retain(|held| held != old);
            shelf.put_in(device);
            return Ok(Some(id));
        }
        if fresh != *old {
            shelf.release(app, &fresh);
            device.addresses.retain(|held| *held != fresh);
        }
        for held in &mut device.addresses {
            if held == old {
                held.token = new.clone();
            }
        }
        device.registered_at = device.registered_at.max(at);
        shelf.put_in(device);
        Ok(Some(id))
    }

    async fn rules(&self, app: &AppId, users: &[UserId]) -> Result<HashMap<UserId, Rules>, StorageError> {
        let shelf = self.0.lock();
        let ruled =
            |user: &UserId| Some((user.clone(), shelf.rules.get(&(app.clone(), user.clone()))?.clone()));
        Ok(users.iter().filter_map(ruled).collect())
    }

    async fn set_rules(&self, app: &AppId, user: &UserId, rules: &Rules) -> Result<(), StorageError> {
        let (key, mut shelf) = ((app.clone(), user.clone()), self.0.lock());
        if rules.is_empty() {
            shelf.rules.remove(&key);
        } else {
            shelf.rules.insert(key, rules.clone());
        }
        Ok(())
    }

    async fn count(
        &self,
        app: &AppId,
        users: &[UserId],
        change: Count,
    ) -> Result<HashMap<UserId, u32>, StorageError> {
        let mut shelf = self.0.lock();
        let counted = users.iter().map(|user| {
            let counter = shelf.counters.entry((app.clone(), user.clone())).or_default();
            *counter = change.of(*counter);
            (user.clone(), *counter)
        });
        Ok(counted.collect())
    }
}
