//! Dead addresses in the tables of the IM server: one row per address that a push service reported as dead.

use async_trait::async_trait;
use pushgate::{
    Address, AppId, ChannelName, DeadAddress, DeadAddresses, DeadId, DeadQuery, DeadState, Death,
    PruneGuardState, Restoration, StorageError, Timestamp,
};

use crate::tables::{Rows, Tables};

impl Rows {
    /// Adds a row for an address, unless it has been registered again since.
    fn insert_dead(
        &mut self,
        app: &AppId,
        address: &Address,
        (death, at, state): (&Death, Timestamp, DeadState),
    ) -> Option<DeadId> {
        let device = self.holder(app, address).filter(|device| device.registered_at <= death.since)?;
        let (device, user) = (device.id.clone(), device.user.clone());
        self.dead.retain(|(of, dead)| of != app || dead.address != *address);
        self.last_dead_id += 1;
        let id = DeadId(self.last_dead_id);
        let (address, death) = (address.clone(), death.clone());
        self.dead.push((app.clone(), DeadAddress { id, device, user, address, death, at, state }));
        Some(id)
    }

    fn restore(&mut self, app: &AppId, id: DeadId, at: Timestamp) -> Restoration {
        let row = self.dead.iter().find(|(of, dead)| of == app && dead.id == id);
        let Some((_, dead)) = row.cloned() else { return Restoration::Unknown };
        let holder = self.holder(app, &dead.address).map(|device| device.id.clone());
        let Some(device) = self.device(app, &dead.device) else { return Restoration::DeviceGone };
        let is_alike =
            |held: &Address| held.channel == dead.address.channel && held.kind == dead.address.kind;
        match (dead.state, holder) {
            (DeadState::HeldBack, Some(holder)) if holder == dead.device => {}
            (DeadState::HeldBack, _) | (DeadState::Pruned, Some(_)) => return Restoration::RegisteredAnew,
            (DeadState::Pruned, None) if device.addresses.iter().any(is_alike) => {
                return Restoration::Replaced;
            }
            (DeadState::Pruned, None) => device.addresses.push(dead.address.clone()),
        }
        device.registered_at = device.registered_at.max(at);
        self.dead.retain(|(_, other)| other.id != id);
        Restoration::Restored
    }
}

#[async_trait]
impl DeadAddresses for Tables {
    async fn prune(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut rows = self.0.lock();
        let is_pruned = rows.insert_dead(app, address, (death, at, DeadState::Pruned)).is_some();
        Ok(is_pruned && rows.release(app, address).is_some())
    }

    async fn hold_back(
        &self,
        app: &AppId,
        address: &Address,
        death: &Death,
        at: Timestamp,
    ) -> Result<Option<DeadId>, StorageError> {
        Ok(self.0.lock().insert_dead(app, address, (death, at, DeadState::HeldBack)))
    }

    async fn dead(&self, app: &AppId, query: &DeadQuery) -> Result<Vec<DeadAddress>, StorageError> {
        let rows = self.0.lock();
        let dead = rows.dead.iter().filter(|(of, _)| of == app).map(|(_, dead)| dead);
        let behind = dead.filter(|dead| query.after.is_none_or(|after| dead.id > after));
        Ok(behind.filter(|dead| query.matches(dead)).take(query.limit).cloned().collect())
    }

    async fn restore(
        &self,
        app: &AppId,
        ids: &[DeadId],
        at: Timestamp,
    ) -> Result<Vec<Restoration>, StorageError> {
        let mut rows = self.0.lock();
        Ok(ids.iter().map(|id| rows.restore(app, *id, at)).collect())
    }

    async fn sweep_dead(&self, before: Timestamp, limit: usize) -> Result<usize, StorageError> {
        let mut rows = self.0.lock();
        let old = rows.dead.iter().filter(|(_, dead)| dead.at < before);
        let old: Vec<_> = old.map(|(_, dead)| dead.id).take(limit).collect();
        rows.dead.retain(|(_, dead)| !old.contains(&dead.id));
        Ok(old.len())
    }

    async fn prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
    ) -> Result<Option<PruneGuardState>, StorageError> {
        Ok(self.0.lock().prune_guards.get(&(app.clone(), channel.clone())).copied())
    }

    async fn set_prune_guard(
        &self,
        app: &AppId,
        channel: &ChannelName,
        state: &PruneGuardState,
    ) -> Result<(), StorageError> {
        self.0.lock().prune_guards.insert((app.clone(), channel.clone()), *state);
        Ok(())
    }
}
