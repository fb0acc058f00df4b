//! Composition of a message for one channel and language.
//!
//! The caller's fields take precedence over those of the profile, the category and the template.

use std::time::Duration;

use serde::Serialize;

use super::PlanRequest;
use crate::delivery::{Act, Message};
use crate::gateway::SubmitError;
use crate::ids::ChannelName;
use crate::notification::{Badge, Call, Notification, Priority, Purpose};
use crate::profile::{self, Mode, Options, Profile};
use crate::secret::Secret;
use crate::template::Text;

/// Problem that does not prevent acceptance of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The app has no profile of that name. The default profile was used.
    UnknownProfile,
}

/// Properties in which the messages of one notification differ.
pub(super) struct Variant<'a> {
    /// Channel whose options apply. `None` if nobody gets the message.
    pub(super) channel: Option<&'a ChannelName>,
    /// Locale of the template. `None` selects the default language.
    pub(super) locale: Option<&'a str>,
    /// New value of the user's badge counter. `None` if no counter was raised.
    pub(super) badge: Option<u32>,
}

/// Composes the messages of one notification.
pub(super) struct Composer<'a> {
    request: PlanRequest<'a>,
    profile: Option<&'a Profile>,
    is_profile_unknown: bool,
    category: Option<&'a str>,
    options: Option<&'a Options>,
}

impl<'a> Composer<'a> {
    /// Selects the profile and the category for a notification.
    pub(super) fn new(request: PlanRequest<'a>) -> Self {
        let PlanRequest { app, notification, .. } = request;
        let named = notification.profile.as_deref().map(|name| app.profiles.get(name));
        let profile = named.flatten().or_else(|| app.profiles.get(profile::DEFAULT));
        let category = notification.category.as_deref().or_else(|| profile?.category.as_deref());
        let options = category.and_then(|category| app.categories.get(category));
        Self { request, profile, is_profile_unknown: matches!(named, Some(None)), category, options }
    }

    /// Returns the warning of this notification, if there is one.
    pub(super) fn warning(&self) -> Option<Warning> {
        self.is_profile_unknown.then_some(Warning::UnknownProfile)
    }

    /// Composes the message for a variant.
    ///
    /// # Errors
    /// [`SubmitError`] if the template cannot be rendered, or if there is nothing to show.
    pub(super) fn compose(&self, variant: &Variant<'_>) -> Result<Message, SubmitError> {
        let notification = self.request.notification;
        let text = match &notification.template {
            Some(template) => {
                self.request.app.templates.render(&template.name, variant.locale, &template.vars)?
            }
            None => Text::default(),
        };
        let empty = || Secret::from("");
        let title = notification.title.clone().or(text.title).unwrap_or_else(empty);
        let content = notification.content.clone().or(text.content).unwrap_or_else(empty);
        let act = self.act(&title, &content);
        let silent = notification.silent || self.mode() == Mode::Silent || act == Act::Remove;
        if !silent && is_blank(&title) && is_blank(&content) {
            return Err(SubmitError::NothingToShow);
        }
        Ok(Message {
            id: self.request.id,
            app: notification.app.clone(),
            title,
            content,
            payload: notification.payload.clone().or(text.payload),
            image: notification.image.clone(),
            link: notification.link.clone(),
            collapse_key: notification.tag(),
            thread: notification.thread.clone(),
            category: self.category.map(str::to_owned),
            priority: self.priority(),
            badge: match notification.badge {
                Some(Badge::Set(number)) => Some(number),
                Some(Badge::Increment(_)) => variant.badge,
                None => None,
            },
            silent,
            act,
            when: notification.when,
            created_at: self.request.created_at,
            ttl: self.ttl(),
            overrides: variant.channel.and_then(|channel| self.overrides(channel)),
            event_endpoint: self
                .request
                .token_signer
                .map(|token_signer| token_signer.event_endpoint(self.request.id)),
        })
    }

    fn mode(&self) -> Mode {
        self.profile.map(|profile| profile.mode).unwrap_or_default()
    }

    /// Returns what the message does on the device: show, ring or remove.
    fn act(&self, title: &Secret, content: &Secret) -> Act {
        match &self.request.notification.purpose {
            Purpose::Message | Purpose::Group => Act::Show,
            Purpose::Call(call) => Act::Ring { call: call.id().clone(), voip: self.mode() == Mode::Voip },
            Purpose::CallOver(_) if is_blank(title) && is_blank(content) => Act::Remove,
            Purpose::CallOver(_) => Act::Show,
            Purpose::Removal => Act::Remove,
        }
    }

    fn call(&self) -> Option<&Call> {
        match &self.request.notification.purpose {
            Purpose::Call(call) => Some(call),
            _ => None,
        }
    }

    fn priority(&self) -> Priority {
        let requested = self.request.notification.priority.or_else(|| self.profile?.priority);
        requested.unwrap_or_default()
    }

    /// Returns the time to live. That of a call is at most the call's timeout.
    fn ttl(&self) -> Duration {
        let requested = self.request.notification.ttl.or_else(|| self.profile?.ttl);
        match self.call() {
            Some(call) => requested.unwrap_or(call.timeout()).min(call.timeout()),
            None => requested.unwrap_or(Notification::DEFAULT_TTL).min(Notification::MAX_TTL),
        }
    }

    /// Returns the options for a channel. The caller's take precedence over the profile's, and these over the category's.
    fn overrides(&self, channel: &ChannelName) -> Option<serde_json::Value> {
        let filled = |options: &Options| Some(profile::filled(options.get(channel)?, self.call()));
        let category = self.options.and_then(filled);
        let profile = self.profile.map(|profile| &profile.options).and_then(filled);
        let defaults = profile::merged(category, profile.as_ref());
        profile::merged(defaults, self.request.notification.overrides.get(channel))
    }
}

/// Returns `true` for a call whose profile rings through the call screen. It is sent to addresses for calls, if a device has one.
pub(super) fn rings_by_call_screen(request: PlanRequest<'_>) -> bool {
    let composer = Composer::new(request);
    composer.call().is_some() && composer.mode() == Mode::Voip
}

fn is_blank(text: &Secret) -> bool {
    text.expose().trim().is_empty()
}
