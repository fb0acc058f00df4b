//! Dead addresses in memory.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use async_trait::async_trait;

use super::store::{MemoryStore, StoreState};
use crate::dead::{
    DeadAddress, DeadAddresses, DeadId, DeadQuery, DeadState, Death, PruneGuardState, Restoration,
};
use crate::device::Address;
use crate::ids::{AppId, ChannelName, DeviceId};
use crate::store::StorageError;
use crate::timestamp::Timestamp;

/// Dead addresses of all apps.
#[derive(Default)]
pub(super) struct DeadRows {
    last_id: i64,
    rows: BTreeMap<DeadId, (AppId, DeadAddress)>,
    guards: HashMap<(AppId, ChannelName), PruneGuardState>,
}

impl DeadRows {
    pub(super) fn forget_device(&mut self, app: &AppId, id: &DeviceId) {
        self.rows.retain(|_, (row_app, dead)| row_app != app || dead.device != *id);
    }

    fn insert(&mut self, app: &AppId, mut dead: DeadAddress) -> DeadId {
        self.rows.retain(|_, (row_app, other)| row_app != app || other.address != dead.address);
        self.last_id += 1;
        dead.id = DeadId(self.last_id);
        self.rows.insert(dead.id, (app.clone(), dead));
        DeadId(self.last_id)
    }
}

impl StoreState {
    /// Returns the record of a dead address. `None` means that no device holds the address, or that the device was registered
    /// after the death.
    fn dead_address(&self, app: &AppId, address: &Address, death: &Death) -> Option<DeadAddress> {
        let holder = self.holders.get(&(app.clone(), address.clone()))?;
        let device = self.devices.get(&(app.clone(), holder.clone()))?;
        (device.registered_at <= death.since).then(|| DeadAddress {
            id: DeadId(0),
            device: device.id.clone(),
            user: device.user.clone(),
            address: address.clone(),
            death: death.clone(),
            at: death.since,
            state: DeadState::HeldBack,
        })
    }

    fn restore(&mut self, app: &AppId, id: DeadId, at: Timestamp) -> Restoration {
        let Some((_, dead)) = self.dead_rows.rows.get(&id).filter(|(row_app, _)| row_app == app) else {
            return Restoration::Unknown;
        };
        let dead = dead.clone();
        let Some(device) = self.devices.get(&(app.clone(), dead.device.clone())) else {
            return Restoration::DeviceGone;
        };
        let holder = self.holders.get(&(app.clone(), dead.address.clone()));
        if dead.state == DeadState::Pruned {
            let is_alike =
                |held: &Address| held.channel == dead.address.channel && held.kind == dead.address.kind;
            if holder.is_some() {
                return Restoration::RegisteredAnew;
            }
            if device.addresses.iter().any(is_alike) {
                return Restoration::Replaced;
            }
        } else if holder != Some(&device.id) {
            return Restoration::RegisteredAnew;
        }
        let Some(mut device) = self.remove_device(app, &dead.device) else { return Restoration::DeviceGone };
        if !device.addresses.contains(&dead.address) {
            device.addresses.push(dead.address);
        }
        device.registered_at = device.registered_at.max(at);
        self.insert_device(device);
        self.dead_rows.rows.remove(&id);
        Restoration::Restored
    }
}

#[async_trait]
impl DeadAddresses for MemoryStore {
    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut state = self.0.lock();
        let Some(dead) = state.dead_address(app, address, death) else { return Ok(false) };
        state.release(app, address);
        state.dead_rows.insert(app, DeadAddress { at, state: DeadState::Pruned, ..dead });
        Ok(true)
    }

    async fn hold_back(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<Option<DeadId>, StorageError> {
        let mut state = self.0.lock();
        let Some(dead) = state.dead_address(app, address, death) else { return Ok(None) };
        Ok(Some(state.dead_rows.insert(app, DeadAddress { at, state: DeadState::HeldBack, ..dead })))
    }

    async fn dead(&self, app: &AppId, query: &DeadQuery) -> Result<Vec<DeadAddress>, StorageError> {
        let state = self.0.lock();
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let dead = state.dead_rows.rows.range((after, Bound::Unbounded)).map(|(_, row)| row);
        let selected = dead.filter(|(row_app, dead)| row_app == app && query.matches(dead));
        Ok(selected.take(query.limit).map(|(_, dead)| dead.clone()).collect())
    }

    async fn restore(
        &self,
        app: &AppId,
        ids: &[DeadId],
        at: Timestamp,
    ) -> Result<Vec<Restoration>, StorageError> {
        let mut state = self.0.lock();
        Ok(ids.iter().map(|id| state.restore(app, *id, at)).collect())
    }

    async fn sweep_dead(&self, before: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let mut state = self.0.lock();
        let old = state.dead_rows.rows.iter().filter(|(_, (_, dead))| dead.at < before);
        let old: Vec<_> = old.map(|(id, _)| *id).take(limit).collect();
        old.iter().for_each(|id| _ = state.dead_rows.rows.remove(id));
        Ok(old.len())
    }

    async fn prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
    ) -> Result<Option<PruneGuardState>, StorageError> {
        Ok(self.0.lock().dead_rows.guards.get(&(app.clone(), channel.clone())).copied())
    }

    async fn set_prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
        state: &PruneGuardState,
    ) -> Result<(), StorageError> {
        self.0.lock().dead_rows.guards.insert((app.clone(), channel.clone()), *state);
        Ok(())
    }
}
