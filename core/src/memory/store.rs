//! Devices in memory.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::device::{Address, Device};
use crate::store::{Registered, StorageError, Store};
use crate::words::{AppId, DeviceId, Secret, Timestamp, UserId};

/// Keeps devices in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    devices: BTreeMap<(AppId, DeviceId), Device>,
    holders: HashMap<(AppId, Address), DeviceId>,
}

impl Shelf {
    fn take_out(&mut self, app: &AppId, id: &DeviceId) -> Option<Device> {
        let device = self.devices.remove(&(app.clone(), id.clone()))?;
        for address in &device.addresses {
            self.holders.remove(&(app.clone(), address.clone()));
        }
        Some(device)
    }

    fn put_in(&mut self, device: Device) {
        for address in &device.addresses {
            self.holders.insert((device.app.clone(), address.clone()), device.id.clone());
        }
        self.devices.insert((device.app.clone(), device.id.clone()), device);
    }

    /// The device that holds the address, out of the shelf.
    fn take_out_holder(&mut self, app: &AppId, address: &Address) -> Option<Device> {
        let holder = self.holders.get(&(app.clone(), address.clone()))?.clone();
        self.take_out(app, &holder)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn register(&self, mut device: Device) -> Result<Registered, StorageError> {
        let mut shelf = self.0.lock();
        let known = shelf.take_out(&device.app, &device.id).is_some();
        let mut seen = std::collections::HashSet::new();
        device.addresses.retain(|address| seen.insert(address.clone()));
        for address in &device.addresses {
            if let Some(mut holder) = shelf.take_out_holder(&device.app, address) {
                holder.addresses.retain(|held| held != address);
                shelf.put_in(holder);
            }
        }
        shelf.put_in(device);
        Ok(if known { Registered::Updated } else { Registered::Created })
    }

    async fn device(&self, app: &AppId, id: &DeviceId) -> Result<Option<Device>, StorageError> {
        Ok(self.0.lock().devices.get(&(app.clone(), id.clone())).cloned())
    }

    async fn devices_of(&self, app: &AppId, users: &[UserId]) -> Result<Vec<Device>, StorageError> {
        let shelf = self.0.lock();
        let theirs = |device: &&Device| {
            device.app == *app && device.user.as_ref().is_some_and(|user| users.contains(user))
        };
        Ok(shelf.devices.values().filter(theirs).cloned().collect())
    }

    async fn forget(&self, app: &AppId, id: &DeviceId) -> Result<bool, StorageError> {
        Ok(self.0.lock().take_out(app, id).is_some())
    }

    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        dead_since: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut shelf = self.0.lock();
        let Some(mut device) = shelf.take_out_holder(app, address) else { return Ok(false) };
        let dead = device.registered_at <= dead_since;
        if dead {
            device.addresses.retain(|held| held != address);
        }
        shelf.put_in(device);
        Ok(dead)
    }

    async fn replace(
        &self,
        app: &AppId,
        old: &Address,
        new: &Secret,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        let fresh = Address { token: new.clone(), ..old.clone() };
        let mut shelf = self.0.lock();
        let Some(mut device) = shelf.take_out_holder(app, old) else { return Ok(false) };
        if let Some(mut other) = shelf.take_out_holder(app, &fresh) {
            other.addresses.retain(|held| *held != fresh);
            shelf.put_in(other);
        }
        device.addresses.retain(|held| *held != fresh);
        for held in &mut device.addresses {
            if held == old {
                held.token = new.clone();
            }
        }
        device.registered_at = device.registered_at.max(at);
        shelf.put_in(device);
        Ok(true)
    }
}
