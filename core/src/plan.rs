//! From an audience to deliveries: presence, route, template, fit, batches. Pure: no store, no network, no clock.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::app::App;
use crate::delivery::{Delivery, Message, Target};
use crate::device::{Address, Device};
use crate::fit::{Fit, fit};
use crate::gateway::SubmitError;
use crate::notification::{Notification, When};
use crate::receipt::{Skip, SkipReason};
use crate::selector::{Choice, choose};
use crate::template::Text;
use crate::words::{ChannelName, DeliveryId, NotificationId, Secret, Timestamp, UserId};

/// The audience, looked up.
#[derive(Debug, Default)]
pub struct Resolved {
    /// The devices it comes to.
    pub devices: Vec<Device>,
    /// Bare addresses.
    pub addresses: Vec<Address>,
    /// Who was named and has no device.
    pub missing: Vec<Skip>,
    /// Which users are online.
    pub online: HashSet<UserId>,
}

/// What is to be sent, and who gets nothing.
#[derive(Debug, Default)]
pub struct Plan {
    /// The deliveries, each within its channel's batch.
    pub deliveries: Vec<Delivery>,
    /// Who gets nothing, and why.
    pub skipped: Vec<Skip>,
}

impl Plan {
    /// How many addresses it goes to.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.deliveries.iter().map(|delivery| delivery.targets.len()).sum()
    }
}

/// What a delivery is made of: one channel, and one language when there is a template.
type Lot = (ChannelName, Option<String>);

/// Plans a notification.
///
/// # Errors
/// [`SubmitError`] when the caller has to change something: an unknown channel or template, an undefined variable, nothing
/// to show, or a message that fits none of the channels it is for.
pub fn plan(
    app: &App,
    asked: &Notification,
    id: NotificationId,
    now: Timestamp,
    resolved: Resolved,
) -> Result<Plan, SubmitError> {
    let mut skipped = resolved.missing;
    let mut lots: BTreeMap<Lot, Vec<Target>> = BTreeMap::new();
    let localised = asked.template.is_some();
    for device in resolved.devices {
        match choice(app, asked, &device, &resolved.online) {
            Ok((place, channel)) => {
                let locale = if localised { device.traits.locale.clone() } else { None };
                lots.entry((channel, locale)).or_default().push(target(device, place));
            }
            Err(reason) => {
                skipped.push(Skip { user: device.user, device: Some(device.id), reason });
            }
        }
    }
    for address in resolved.addresses {
        app.admits(&address)?;
        let lot = lots.entry((address.channel.clone(), None)).or_default();
        lot.push(Target { index: 0, device: None, user: None, address, registered_at: None });
    }
    if lots.is_empty() {
        // Nobody gets it, but a mistake in the text is still told.
        compose(app, asked, id, now, None)?;
    }
    let Plan { deliveries, skipped: too_large } = filled(app, asked, id, now, lots)?;
    skipped.extend(too_large);
    Ok(Plan { deliveries, skipped })
}

/// Where one device gets it, or why it does not.
fn choice(
    app: &App,
    asked: &Notification,
    device: &Device,
    online: &HashSet<UserId>,
) -> Result<(usize, ChannelName), SkipReason> {
    if asked.when == When::Offline && device.user.as_ref().is_some_and(|user| online.contains(user)) {
        return Err(SkipReason::Online);
    }
    match choose(&app.routes, device) {
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

/// Composes a message for each lot, makes it fit, and cuts the lot into batches; skips who cannot be sent so much.
fn filled(
    app: &App,
    asked: &Notification,
    id: NotificationId,
    now: Timestamp,
    lots: BTreeMap<Lot, Vec<Target>>,
) -> Result<Plan, SubmitError> {
    let mut plan = Plan { deliveries: Vec::new(), skipped: Vec::new() };
    let mut too_large = None;
    let mut index = 0;
    for ((name, locale), targets) in lots {
        let Some(installed) = app.channels.get(&name) else { continue };
        let mut message = compose(app, asked, id, now, locale.as_deref())?;
        message.overrides = asked.overrides.get(&name).cloned();
        if let Fit::TooLarge { needs, limit } = fit(&*installed.channel, &mut message) {
            plan.skipped.extend(targets.into_iter().map(|target| Skip {
                user: target.user,
                device: target.device,
                reason: SkipReason::TooLarge,
            }));
            too_large = Some(SubmitError::TooLarge { channel: name, needs, limit });
            continue;
        }
        let message = Arc::new(message);
        let mut targets = targets.into_iter().peekable();
        while targets.peek().is_some() {
            let mut batch: Vec<Target> =
                targets.by_ref().take(installed.channel.info().capability.max_batch.max(1)).collect();
            for target in &mut batch {
                target.index = index;
                index += 1;
            }
            plan.deliveries.push(Delivery {
                id: DeliveryId::new(),
                channel: name.clone(),
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

/// The message for one language: what the caller gave, over what the template gives.
fn compose(
    app: &App,
    asked: &Notification,
    id: NotificationId,
    now: Timestamp,
    locale: Option<&str>,
) -> Result<Message, SubmitError> {
    let text = match &asked.template {
        Some(template) => app.templates.render(&template.name, locale, &template.vars)?,
        None => Text::default(),
    };
    let empty = || Secret::from("");
    let title = asked.title.clone().or(text.title).unwrap_or_else(empty);
    let content = asked.content.clone().or(text.content).unwrap_or_else(empty);
    let payload = asked.payload.clone().or(text.payload);
    if !asked.silent && title.expose().trim().is_empty() && content.expose().trim().is_empty() {
        return Err(SubmitError::NothingToShow);
    }
    Ok(Message {
        id,
        app: asked.app.clone(),
        title,
        content,
        payload,
        image: asked.image.clone(),
        link: asked.link.clone(),
        collapse_key: asked.collapse_key.clone(),
        thread: asked.thread.clone(),
        category: asked.category.clone(),
        priority: asked.priority,
        badge: asked.badge,
        silent: asked.silent,
        created_at: now,
        ttl: asked.ttl.min(Notification::MAX_TTL),
        overrides: None,
    })
}
