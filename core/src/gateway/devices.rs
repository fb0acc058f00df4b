//! Registration, login and logout of devices.
//!
//! An address belongs to at most one user, whatever the order of the requests.

use super::{Gateway, SubmitError};
use crate::device::Address;
use crate::ids::{AppId, DeviceId, UserId};
use crate::observe::Event;
use crate::store::{Login, Registered, Registration, Replacement, StorageError, Takeover};

impl Gateway {
    /// Creates or replaces a device and its full set of addresses. Idempotent.
    ///
    /// The gateway's limit of devices per user applies. `None` means that the device belongs to another user and
    /// [`Registration::takeover`] does not allow to take it over.
    ///
    /// # Errors
    /// [`StorageError`] if storage fails. Then nothing is changed.
    pub async fn register(
        &self,
        device: impl Into<Registration>,
    ) -> Result<Option<Registered>, StorageError> {
        let mut registration = device.into();
        registration.max_devices = self.inner.max_devices_per_user;
        self.inner.context.store.register(registration).await
    }

    /// Binds a registered device to the user who logs in on it. From then on it receives this user's notifications only.
    ///
    /// `None` means that the device does not exist, or that it belongs to another user and may not be taken over.
    ///
    /// # Errors
    /// [`StorageError`] if storage fails. Then nothing is changed.
    pub async fn login(
        &self,
        app: &AppId,
        device: &DeviceId,
        user: &UserId,
        takeover: Takeover,
    ) -> Result<Option<Registered>, StorageError> {
        let login = Login {
            app: app.clone(),
            device: device.clone(),
            user: user.clone(),
            at: self.now(),
            max_devices: self.inner.max_devices_per_user,
            takeover,
        };
        self.inner.context.store.bind(login).await
    }

    /// Unbinds a device from its user. The device stays registered.
    ///
    /// With `user` it is unbound from that user only, so that a late logout does not undo the login of the next user.
    /// Returns `true` if the device was bound to a user, and to `user` where one is given.
    ///
    /// # Errors
    /// [`StorageError`] if storage fails. Then nothing is changed.
    pub async fn logout(
        &self,
        app: &AppId,
        device: &DeviceId,
        user: Option<&UserId>,
    ) -> Result<bool, StorageError> {
        self.inner.context.store.unbind(app, device, user).await
    }

    /// Replaces the address of a device. A browser needs this when it gets a new token while no page is open to register it.
    ///
    /// Knowledge of the old address authorises the change, and the new address then receives the user's notifications.
    /// Where old tokens are no secret, pass `user`: then nothing happens unless the device belongs to that user.
    ///
    /// Returns `true` if the old address was known. Each rotation is counted (`pushgate_rotations_total`) and reported to
    /// observers ([`Event::Rotated`]).
    ///
    /// # Errors
    /// - [`SubmitError::UnknownApp`] or [`SubmitError::UnknownChannel`].
    /// - [`SubmitError::BadAddress`] if the channel cannot send to the new address, or if its channel or kind differs from
    ///   those of the old one.
    /// - [`SubmitError::Storage`] if storage fails.
    ///
    /// Then nothing is changed.
    pub async fn rotate(
        &self,
        app: &AppId,
        user: Option<&UserId>,
        old: &Address,
        new: &Address,
    ) -> Result<bool, SubmitError> {
        let served = self.app(app).ok_or_else(|| SubmitError::UnknownApp(app.clone()))?;
        served.admits(new)?;
        if (&old.channel, old.kind) != (&new.channel, new.kind) {
            let reason = "the new address must have the same channel and kind as the old one".to_owned();
            return Err(SubmitError::BadAddress { channel: new.channel.clone(), reason });
        }
        let (context, at) = (&self.inner.context, self.now());
        let replacement = Replacement { old: old.clone(), new: new.token.clone(), at, user: user.cloned() };
        let Some(device) = context.store.replace(app, replacement).await? else { return Ok(false) };
        let (app, channel) = (app.clone(), new.channel.clone());
        let labels = [("app", app.to_string()), ("channel", channel.to_string())];
        metrics::counter!("pushgate_rotations_total", &labels).increment(1);
        context.notify_observers(&Event::Rotated { app, device, channel, at });
        Ok(true)
    }
}
