//! From an audience to deliveries: presence, rules, route, template, profile, fit, batches. Pure: no store, no network, no clock.
//!
//! Two steps: [`choose`] says who gets it where, [`Chosen::fill`] composes what each gets. Between them the gateway raises the
//! counters of those whose badge is to rise, which only then are known.

mod compose;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::app::App;
use crate::delivery::{Delivery, Target};
use crate::device::{Address, Device, TokenKind};
use crate::echo::Mailroom;
use crate::fit::{Fit, fit};
use crate::gateway::SubmitError;
use crate::notification::{Badge, Notification, Purpose, When};
use crate::presence::Connection;
use crate::receipt::{Skip, SkipReason};
use crate::rules::Rules;
use crate::selector::{self, Choice};
use crate::words::{ChannelName, DeliveryId, DeviceId, NotificationId, Timestamp, UserId};

pub use compose::Warning;
use compose::{Composer, Variant};

/// The audience, looked up.
#[derive(Debug, Default)]
pub struct ResolvedAudience {
    /// The devices it comes to.
    pub devices: Vec<Device>,
    /// Bare addresses.
    pub addresses: Vec<Address>,
    /// Who was named and has no device.
    pub missing: Vec<Skip>,
    /// Who is online, and how.
    pub online: HashMap<UserId, Vec<Connection>>,
    /// The rules of those who have any.
    pub rules: HashMap<UserId, Rules>,
}

/// What is to be sent, and who gets nothing.
#[derive(Debug, Default)]
pub struct Plan {
    /// The deliveries, each within its channel's batch.
    pub deliveries: Vec<Delivery>,
    /// Who gets nothing, and why.
    pub skipped: Vec<Skip>,
    /// What the caller should know although it was taken.
    pub warnings: Vec<Warning>,
}

impl ResolvedAudience {
    /// Leaves out the devices of those who have acknowledged it.
    pub(crate) fn leave_out(&mut self, acknowledged: &[UserId]) {
        let theirs =
            |device: &mut Device| device.user.as_ref().is_some_and(|user| acknowledged.contains(user));
        self.missing.extend(self.devices.extract_if(.., theirs).map(|device| Skip {
            user: device.user,
            device: Some(device.id),
            reason: SkipReason::Acknowledged,
        }));
    }
}

impl Plan {
    /// How many addresses it goes to.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.targets.len()).sum()
    }
}

/// Who gets it where.
#[derive(Debug, Default)]
pub struct RecipientSelection {
    targets_by_variant: BTreeMap<VariantKey, Vec<Target>>,
    skipped: Vec<Skip>,
}

/// What gets one message: a channel, a language when there is a template, and a number when each user has his own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct VariantKey {
    channel: ChannelName,
    locale: Option<String>,
    counted: Option<UserId>,
}

/// What planning looks at beside the audience.
#[derive(Clone, Copy)]
pub struct PlanRequest<'a> {
    /// The app.
    pub app: &'a App,
    /// What was asked for.
    pub notification: &'a Notification,
    /// Its id.
    pub id: NotificationId,
    /// When it was asked for: its time to live counts from there.
    pub created_at: Timestamp,
    /// The number its first address gets.
    pub first_index: u32,
    /// What makes return addresses, where receipts of devices are wanted.
    pub(crate) mailroom: Option<&'a Mailroom>,
}

/// Says who gets it where, and who does not.
///
/// # Errors
/// [`SubmitError`] when a bare address is none of the app's.
pub fn select_recipients(
    request: PlanRequest<'_>,
    now: Timestamp,
    resolved: ResolvedAudience,
) -> Result<RecipientSelection, SubmitError> {
    let mut selection = RecipientSelection { targets_by_variant: BTreeMap::new(), skipped: resolved.missing };
    let localised = request.notification.template.is_some();
    let choice =
        if compose::rings_by_call_screen(request) { selector::choose_to_ring } else { selector::choose };
    let raises = matches!(request.notification.badge, Some(Badge::Increment(_)));
    let (nobody, none) = (Vec::new(), Rules::default());
    for device in resolved.devices {
        let user = device.user.as_ref();
        let online = user.and_then(|user| resolved.online.get(user)).unwrap_or(&nobody);
        let rules = user.and_then(|user| resolved.rules.get(user)).unwrap_or(&none);
        let forbidden = forbidden(request.notification, &device, online);
        let forbidden = forbidden.or_else(|| rules.forbid(request.notification, &device, online, now));
        let place = || place(request.app, choice(&request.app.routes, &device));
        match forbidden.map_or_else(place, Err) {
            Ok((place, channel)) => {
                let locale = if localised { device.traits.locale.clone() } else { None };
                let counted = if raises { device.user.clone() } else { None };
                let variant_key = VariantKey { channel, locale, counted };
                selection.targets_by_variant.entry(variant_key).or_default().push(target(device, place));
            }
            Err(reason) => {
                selection.skipped.push(Skip { user: device.user, device: Some(device.id), reason });
            }
        }
    }
    for address in resolved.addresses {
        admits(request.app, request.notification, &address)?;
        let variant_key = VariantKey { channel: address.channel.clone(), locale: None, counted: None };
        selection.targets_by_variant.entry(variant_key).or_default().push(Target::bare(0, address));
    }
    Ok(selection)
}

/// Whether this notification can be sent to a bare address.
///
/// # Errors
/// [`SubmitError`] when the address is none of the app's, or is for calls alone and this is none: whoever has the platform's
/// call screen come up without a call is soon not let to any more.
pub(crate) fn admits(app: &App, notification: &Notification, address: &Address) -> Result<(), SubmitError> {
    app.admits(address)?;
    if address.kind == TokenKind::Voip && !matches!(notification.purpose, Purpose::Call(_)) {
        let why = "it is for calls alone, and this is no call".to_owned();
        return Err(SubmitError::BadAddress { channel: address.channel.clone(), why });
    }
    Ok(())
}

/// Why the notification itself, or his presence, keeps it from a device.
fn forbidden(notification: &Notification, device: &Device, online: &[Connection]) -> Option<SkipReason> {
    if notification.except_devices.contains(&device.id) {
        return Some(SkipReason::Excepted);
    }
    if notification.sender.is_some() && device.user == notification.sender {
        return Some(SkipReason::Sender);
    }
    let connected = online.iter().any(|connection| connection.is_of(device));
    (notification.when == When::Offline && connected).then_some(SkipReason::Online)
}

/// Where one device gets it, or why it does not.
fn place(app: &App, choice: Choice<'_>) -> Result<(usize, ChannelName), SkipReason> {
    match choice {
        Choice::Address(place, channel) if app.channels.contains_key(channel) => Ok((place, channel.clone())),
        Choice::Address(..) | Choice::NoAddress => Err(SkipReason::NoAddress),
        Choice::NoRoute => Err(SkipReason::NoRoute),
    }
}

fn target(mut device: Device, place: usize) -> Target {
    let address = device.addresses.swap_remove(place);
    Target {
        index: 0,
        device: Some(device.id),
        user: device.user,
        address,
        registered_at: Some(device.registered_at),
    }
}

impl RecipientSelection {
    /// The devices that are online, no longer as skipped.
    pub(crate) fn take_online(&mut self) -> Vec<DeviceId> {
        let online = |skip: &mut Skip| skip.reason == SkipReason::Online && skip.device.is_some();
        self.skipped.extract_if(.., online).filter_map(|skip| skip.device).collect()
    }

    /// The users whose counters are to rise.
    #[must_use]
    pub fn counted(&self) -> Vec<UserId> {
        let users: BTreeSet<_> =
            self.targets_by_variant.keys().filter_map(|variant_key| variant_key.counted.clone()).collect();
        users.into_iter().collect()
    }

    /// Composes a message for each lot, makes it fit, and cuts the lot into batches.
    ///
    /// # Errors
    /// [`SubmitError`] when the caller has to change something: an unknown template, an undefined variable, nothing to show,
    /// or a message that fits none of the channels it is for.
    pub fn compose_plan(
        self,
        request: PlanRequest<'_>,
        badges: &HashMap<UserId, u32>,
    ) -> Result<Plan, SubmitError> {
        let composer = Composer::new(request);
        let warnings = composer.warning().into_iter().collect();
        let mut plan = Plan { deliveries: Vec::new(), skipped: self.skipped, warnings };
        if self.targets_by_variant.is_empty() {
            // Nobody gets it, but a mistake in the text is still told.
            composer.compose(&Variant { channel: None, locale: None, badge: None })?;
        }
        let mut too_large = None;
        let mut index = request.first_index;
        for (variant_key, targets) in self.targets_by_variant {
            let Some(installed) = request.app.channels.get(&variant_key.channel) else { continue };
            let badge = variant_key.counted.as_ref().and_then(|user| badges.get(user).copied());
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
            let most = installed.channel.info().capability.max_batch.max(1);
            let mut targets = targets.into_iter().peekable();
            while targets.peek().is_some() {
                let mut batch: Vec<Target> = targets.by_ref().take(most).collect();
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
