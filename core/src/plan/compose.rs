//! The message one channel gets, in one language: what the caller said over what the profile, the category and the template say.

use std::time::Duration;

use serde::Serialize;

use super::Ask;
use crate::delivery::{Act, Message};
use crate::gateway::SubmitError;
use crate::notification::{Badge, Call, Notification, Priority, Purpose};
use crate::profile::{self, Mode, Options, Profile};
use crate::template::Text;
use crate::words::{ChannelName, Secret};

/// What the caller should know although the notification was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The app has no profile of that name; the default one was used.
    UnknownProfile,
}

/// What tells one message of a notification from the others.
pub(super) struct Cut<'a> {
    /// Whose options; none when nobody gets it.
    pub(super) channel: Option<&'a ChannelName>,
    pub(super) locale: Option<&'a str>,
    /// The number of a user whose counter was raised.
    pub(super) badge: Option<u32>,
}

/// Composes the messages of one notification.
pub(super) struct Composer<'a> {
    ask: Ask<'a>,
    profile: Option<&'a Profile>,
    unknown: bool,
    category: Option<&'a str>,
    options: Option<&'a Options>,
}

impl<'a> Composer<'a> {
    pub(super) fn new(ask: Ask<'a>) -> Self {
        let Ask { app, asked, .. } = ask;
        let named = asked.profile.as_deref().map(|name| app.profiles.get(name));
        let profile = named.flatten().or_else(|| app.profiles.get(profile::DEFAULT));
        let category = asked.category.as_deref().or_else(|| profile?.category.as_deref());
        let options = category.and_then(|category| app.categories.get(category));
        Self { ask, profile, unknown: matches!(named, Some(None)), category, options }
    }

    pub(super) fn warning(&self) -> Option<Warning> {
        self.unknown.then_some(Warning::UnknownProfile)
    }

    pub(super) fn compose(&self, cut: &Cut<'_>) -> Result<Message, SubmitError> {
        let asked = self.ask.asked;
        let text = match &asked.template {
            Some(template) => self.ask.app.templates.render(&template.name, cut.locale, &template.vars)?,
            None => Text::default(),
        };
        let empty = || Secret::from("");
        let title = asked.title.clone().or(text.title).unwrap_or_else(empty);
        let content = asked.content.clone().or(text.content).unwrap_or_else(empty);
        let act = self.act(&title, &content);
        let silent = asked.silent || self.mode() == Mode::Silent || act == Act::Remove;
        if !silent && is_blank(&title) && is_blank(&content) {
            return Err(SubmitError::NothingToShow);
        }
        Ok(Message {
            id: self.ask.id,
            app: asked.app.clone(),
            title,
            content,
            payload: asked.payload.clone().or(text.payload),
            image: asked.image.clone(),
            link: asked.link.clone(),
            collapse_key: asked.tag(),
            thread: asked.thread.clone(),
            category: self.category.map(str::to_owned),
            priority: self.priority(),
            badge: match asked.badge {
                Some(Badge::Set(number)) => Some(number),
                Some(Badge::Increment(_)) => cut.badge,
                None => None,
            },
            silent,
            act,
            when: asked.when,
            created_at: self.ask.created_at,
            ttl: self.ttl(),
            overrides: cut.channel.and_then(|channel| self.overrides(channel)),
            return_address: self.ask.mailroom.map(|mailroom| mailroom.return_address(self.ask.id)),
        })
    }

    fn mode(&self) -> Mode {
        self.profile.map(|profile| profile.mode).unwrap_or_default()
    }

    fn act(&self, title: &Secret, content: &Secret) -> Act {
        match &self.ask.asked.purpose {
            Purpose::Message | Purpose::Group => Act::Show,
            Purpose::Call(call) => Act::Ring { call: call.id().clone(), voip: self.mode() == Mode::Voip },
            Purpose::CallOver(_) if is_blank(title) && is_blank(content) => Act::Remove,
            Purpose::CallOver(_) => Act::Show,
            Purpose::Removal => Act::Remove,
        }
    }

    fn call(&self) -> Option<&Call> {
        match &self.ask.asked.purpose {
            Purpose::Call(call) => Some(call),
            _ => None,
        }
    }

    fn priority(&self) -> Priority {
        let said = self.ask.asked.priority.or_else(|| self.profile?.priority);
        said.unwrap_or_default()
    }

    /// A call rings no longer than it may, whatever else is said.
    fn ttl(&self) -> Duration {
        let said = self.ask.asked.ttl.or_else(|| self.profile?.ttl);
        match self.call() {
            Some(call) => said.unwrap_or(call.timeout()).min(call.timeout()),
            None => said.unwrap_or(Notification::DEFAULT_TTL).min(Notification::MAX_TTL),
        }
    }

    /// The caller's options over the profile's over the category's.
    fn overrides(&self, channel: &ChannelName) -> Option<serde_json::Value> {
        let of = |options: &Options| Some(profile::filled(options.get(channel)?, self.call()));
        let category = self.options.and_then(of);
        let profile = self.profile.map(|profile| &profile.options).and_then(of);
        let under = profile::merged(category, profile.as_ref());
        profile::merged(under, self.ask.asked.overrides.get(channel))
    }
}

/// Whether it goes to the addresses for calls alone, where devices have them: a call, by its profile.
pub(super) fn rings_by_call_screen(ask: Ask<'_>) -> bool {
    let composer = Composer::new(ask);
    composer.call().is_some() && composer.mode() == Mode::Voip
}

fn is_blank(text: &Secret) -> bool {
    text.expose().trim().is_empty()
}
