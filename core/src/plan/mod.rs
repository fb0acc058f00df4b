//! Planning: turns a resolved audience into deliveries. Pure functions without storage, network or clock.
//!
//! Planning has two steps. [`select_recipients`] applies presence, rules and routes, and selects an address for each device.
//! [`RecipientSelection::compose_plan`] composes the messages and splits the recipients into deliveries. Between them the gateway
//! raises the badge counters of the selected users, who are known only then.

mod compose;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::app::App;
use crate::delivery::{Delivery, Target};
use crate::device::{Address, Device, TokenKind};
use crate::device_event::EventTokenSigner;
use crate::fit::{Fit, fit};
use crate::gateway::SubmitError;
use crate::ids::{ChannelName, DeliveryId, DeviceId, NotificationId, UserId};
use crate::notification::{Badge, Notification, Purpose, When};
use crate::presence::Connection;
use crate::receipt::{Skip, SkipReason};
use crate::rules::Rules;
use crate::selector::{self, Choice};
use crate::timestamp::Timestamp;

pub use compose::Warning;
use compose::{Composer, Variant};

/// Resolved audience with the presence and rules of its users.
#[derive(Debug, Default)]
pub struct ResolvedAudience {
    /// Devices of the audience.
    pub devices: Vec<Device>,
    /// Addresses that are named without a device.
    pub addresses: Vec<Address>,
    /// Users and devices that are named but not registered.
    pub missing: Vec<Skip>,
    /// Connections of the users who are online.
    pub online: HashMap<UserId, Vec<Connection>>,
    /// Push rules of the users who have any.
    pub rules: HashMap<UserId, Rules>,
}

/// Result of planning one request.
#[derive(Debug, Default)]
pub struct Plan {
    /// Deliveries to send, each within the maximum batch of its channel.
    pub deliveries: Vec<Delivery>,
    /// Recipients that get nothing, with the reason.
    pub skipped: Vec<Skip>,
    /// Problems that did not prevent acceptance.
    pub warnings: Vec<Warning>,
}

impl ResolvedAudience {
    /// Moves the devices of the users who have acknowledged the notification to the skipped recipients.
    pub(crate) fn skip_acknowledged(&mut self, acknowledged: &[UserId]) {
        let has_acknowledged =
            |device: &mut Device| device.user.as_ref().is_some_and(|user| acknowledged.contains(user));
        self.missing.extend(self.devices.extract_if(.., has_acknowledged).map(|device| Skip {
            user: device.user,
            device: Some(device.id),
            reason: SkipReason::Acknowledged,
        }));
    }
}

impl Plan {
    /// Returns the number of addresses that the deliveries are sent to.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.targets.len()).sum()
    }
}

/// Selected recipients, grouped by the message that they get.
#[derive(Debug, Default)]
pub struct RecipientSelection {
    targets_by_variant: BTreeMap<VariantKey, Vec<Target>>,
    /// Recipients that get nothing, with the reason.
    skipped: Vec<Skip>,
}

/// Key of the recipients that get the same message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VariantKey {
    channel: ChannelName,
    /// Locale of the devices. `None` if the notification has no template or the locale is unknown.
    locale: Option<String>,
    /// User whose badge counter the message shows. `None` if the notification increments no counter.
    badge_user: Option<UserId>,
}

/// Input of planning besides the audience.
#[derive(Clone, Copy)]
pub struct PlanRequest<'a> {
    /// App of the notification.
    pub app: &'a App,
    /// Submitted notification.
    pub notification: &'a Notification,
    /// Id of the notification.
    pub id: NotificationId,
    /// Time of submission, at which its time to live starts.
    pub created_at: Timestamp,
    /// Index of the first recipient.
    pub first_index: u32,
    /// Signer of event tokens. `None` means that device events are disabled.
    pub(crate) token_signer: Option<&'a EventTokenSigner>,
}

/// Selects an address for each device, or the reason why it is skipped.
///
/// # Errors
/// [`SubmitError`] if the app cannot send to an address that is named without a device.
pub fn select_recipients(
    request: PlanRequest<'_>,
    now: Timestamp,
    resolved: ResolvedAudience,
) -> Result<RecipientSelection, SubmitError> {
    let mut selection = RecipientSelection { targets_by_variant: BTreeMap::new(), skipped: resolved.missing };
    let is_localised = request.notification.template.is_some();
    let choose =
        if compose::rings_by_call_screen(request) { selector::choose_to_ring } else { selector::choose };
    let increments_badge = matches!(request.notification.badge, Some(Badge::Increment(_)));
    let (nobody, none) = (Vec::new(), Rules::default());
    for device in resolved.devices {
        let user = device.user.as_ref();
        let online = user.and_then(|user| resolved.online.get(user)).unwrap_or(&nobody);
        let rules = user.and_then(|user| resolved.rules.get(user)).unwrap_or(&none);
        let excluded = exclusion(request.notification, &device, online);
        let excluded = excluded.or_else(|| rules.forbid(request.notification, &device, online, now));
        let select_address = || find_address(request.app, choose(&request.app.routes, &device));
        match excluded.map_or_else(select_address, Err) {
            Ok((address_index, channel)) => {
                let locale = if is_localised { device.traits.locale.clone() } else { None };
                let badge_user = if increments_badge { device.user.clone() } else { None };
                let variant_key = VariantKey { channel, locale, badge_user };
                selection
                    .targets_by_variant
                    .entry(variant_key)
                    .or_default()
                    .push(target(device, address_index));
            }
            Err(reason) => {
                selection.skipped.push(Skip { user: device.user, device: Some(device.id), reason });
            }
        }
    }
    for address in resolved.addresses {
        check_address(request.app, request.notification, &address)?;
        let variant_key = VariantKey { channel: address.channel.clone(), locale: None, badge_user: None };
        selection.targets_by_variant.entry(variant_key).or_default().push(Target::bare(0, address));
    }
    Ok(selection)
}

/// Checks that this notification can be sent to an address that is named without a device.
///
/// # Errors
/// [`SubmitError`] if the app cannot send to the address, or if the address is for calls only and the notification is none. A
/// platform soon blocks an app that shows its call screen without a call.
pub(crate) fn check_address(
    app: &App,
    notification: &Notification,
    address: &Address,
) -> Result<(), SubmitError> {
    app.admits(address)?;
    if address.kind == TokenKind::Voip && !matches!(notification.purpose, Purpose::Call(_)) {
        let reason = "the address is for calls only, and the notification is no call".to_owned();
        return Err(SubmitError::BadAddress { channel: address.channel.clone(), reason });
    }
    Ok(())
}

/// Returns why the notification itself or the user's presence excludes a device. `None` means that it does not.
fn exclusion(notification: &Notification, device: &Device, online: &[Connection]) -> Option<SkipReason> {
    if notification.except_devices.contains(&device.id) {
        return Some(SkipReason::Excepted);
    }
    if notification.sender.is_some() && device.user == notification.sender {
        return Some(SkipReason::Sender);
    }
    let is_connected = online.iter().any(|connection| connection.is_of(device));
    (notification.when == When::Offline && is_connected).then_some(SkipReason::Online)
}

/// Returns the index and the channel of the selected address, or the reason why the device is skipped.
fn find_address(app: &App, choice: Choice<'_>) -> Result<(usize, ChannelName), SkipReason> {
    match choice {
        Choice::Address(address_index, channel) if app.channels.contains_key(channel) => {
            Ok((address_index, channel.clone()))
        }
        Choice::Address(..) | Choice::NoAddress => Err(SkipReason::NoAddress),
        Choice::NoRoute => Err(SkipReason::NoRoute),
    }
}

/// Returns the target for the device's address at this index.
fn target(mut device: Device, address_index: usize) -> Target {
    let address = device.addresses.swap_remove(address_index);
    Target {
        index: 0,
        device: Some(device.id),
        user: device.user,
        address,
        registered_at: Some(device.registered_at),
    }
}

impl RecipientSelection {
    /// Removes the devices that are skipped because they are online, and returns them.
    pub(crate) fn take_online_devices(&mut self) -> Vec<DeviceId> {
        let is_online = |skip: &mut Skip| skip.reason == SkipReason::Online && skip.device.is_some();
        self.skipped.extract_if(.., is_online).filter_map(|skip| skip.device).collect()
    }

    /// Returns the users whose badge counters the notification increments.
    #[must_use]
    pub fn badge_users(&self) -> Vec<UserId> {
        let users: BTreeSet<_> =
            self.targets_by_variant.keys().filter_map(|variant_key| variant_key.badge_user.clone()).collect();
        users.into_iter().collect()
    }

    /// Composes a message for each group of recipients, fits it to the channel, and splits the group into deliveries.
    ///
    /// `badges` has the value of each raised badge counter.
    ///
    /// # Errors
    /// [`SubmitError`] if the caller has to change the notification. It may have an unknown template, an undefined variable or
    /// nothing to show, or its message fits none of the selected channels.
    pub fn compose_plan(
        self,
        request: PlanRequest<'_>,
        badges: &HashMap<UserId, u32>,
    ) -> Result<Plan, SubmitError> {
        let composer = Composer::new(request);
        let warnings = composer.warning().into_iter().collect();
        let mut plan = Plan { deliveries: Vec::new(), skipped: self.skipped, warnings };
        if self.targets_by_variant.is_empty() {
            // Composes even without recipients, so that the caller learns of a mistake in the text.
            composer.compose(&Variant { channel: None, locale: None, badge: None })?;
        }
        let mut too_large = None;
        let mut index = request.first_index;
        for (variant_key, targets) in self.targets_by_variant {
            let Some(installed) = request.app.channels.get(&variant_key.channel) else { continue };
            let badge = variant_key.badge_user.as_ref().and_then(|user| badges.get(user).copied());
            let variant =
                Variant { channel: Some(&variant_key.channel), locale: variant_key.locale.as_deref(), badge };
            let mut message = composer.compose(&variant)?;
            if let Fit::TooLarge { needs, limit } = fit(&*installed.channel, &mut message) {
                plan.skipped.extend(targets.into_iter().map(|target| Skip {
                    user: target.user,
                    device: target.device,
                    reason: SkipReason::TooLarge,
                }));
                too_large = Some(SubmitError::TooLarge { channel: variant_key.channel, needs, limit });
                continue;
            }
            let message = Arc::new(message);
            let max_batch = installed.channel.info().capability.max_batch.max(1);
            let mut targets = targets.into_iter().peekable();
            while targets.peek().is_some() {
                let mut batch: Vec<Target> = targets.by_ref().take(max_batch).collect();
                for target in &mut batch {
                    target.index = index;
                    index += 1;
                }
                plan.deliveries.push(Delivery {
                    id: DeliveryId::new(),
                    channel: variant_key.channel.clone(),
                    message: Arc::clone(&message),
                    targets: batch,
                    attempt: 1,
                });
            }
        }
        match too_large {
            Some(error) if plan.deliveries.is_empty() => Err(error),
            _ => Ok(plan),
        }
    }
}
