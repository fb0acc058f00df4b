//! Whose device: registering, logging in and out. One address belongs to at most one user, whatever comes in which order.

use super::{Gateway, SubmitError};
use crate::device::Address;
use crate::observe::Event;
use crate::store::{Login, Registered, Registration, Replacement, StorageError, Takeover};
use crate::words::{AppId, DeviceId, UserId};

impl Gateway {
    /// Makes a device known as given, within the gateway's limit of devices a user. `None` means that it is another user's device
    /// and [`Registration::takeover`] does not let this registration take it over.
    ///
    /// # Errors
    /// When storage fails; then nothing is changed.
    pub async fn register(
        &self,
        device: impl Into<Registration>,
    ) -> Result<Option<Registered>, StorageError> {
        let mut registration = device.into();
        registration.most = self.inner.devices_per_user;
        self.inner.context.store.register(registration).await
    }

    /// Binds a known device to the user who logs in on it: from now on their notifications come there and nobody else's. `None`
    /// means that there is no such device, or that it is another user's and may not be taken over.
    ///
    /// # Errors
    /// When storage fails; then nothing is changed.
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
            most: self.inner.devices_per_user,
            takeover,
        };
        self.inner.context.store.bind(login).await
    }

    /// Unbinds a device from its user, or from this one only, so that a logout that comes late does not undo the next
    /// user's login. The device stays known. Whether it was so bound.
    ///
    /// # Errors
    /// When storage fails; then nothing is changed.
    pub async fn logout(
        &self,
        app: &AppId,
        device: &DeviceId,
        user: Option<&UserId>,
    ) -> Result<bool, StorageError> {
        self.inner.context.store.unbind(app, device, user).await
    }

    /// Puts a new address in the place of an old one: a browser has got a new token, and no page is open that could register
    /// it. Whoever knows the old one gets what the device's user gets, so ask for more where an old token is no secret: with
    /// `user` nothing happens unless the device belongs to that user. Returns `true` if the old address was known. Each
    /// rotation is counted (`pushgate_rotations_total`) and told to observers ([`Event::Rotated`]).
    ///
    /// # Errors
    /// [`SubmitError::UnknownApp`], [`SubmitError::UnknownChannel`], [`SubmitError::BadAddress`] when the new one is none that
    /// its channel could send to, or is of another channel or kind than the old one; storage. Then nothing is changed.
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
            let why = "an address is replaced by one of the same channel and kind".to_owned();
            return Err(SubmitError::BadAddress { channel: new.channel.clone(), why });
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
