//! Configuration of an app in a running gateway: its channels, routes and templates. Immutable while the gateway runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::channel::PushChannel;
use crate::device::Address;
use crate::gateway::SubmitError;
use crate::guarded::GuardedChannel;
use crate::ids::{ChannelName, TemplateName};
use crate::profile::{Options, Profile};
use crate::schedule::RetryPolicy;
use crate::selector::{Route, Selector};
use crate::template::{TemplateError, TemplateSource, Templates};

/// Channel of an app, with its concurrency limit and retry policy.
#[derive(Clone)]
pub struct Installed {
    /// Channel without layers.
    pub channel: Arc<dyn PushChannel>,
    /// Maximum number of addresses in flight at once.
    pub concurrency: u32,
    /// Settings of the operator for retries.
    pub retry: RetryPolicy,
}

/// Default maximum number of addresses in flight on one channel.
pub const DEFAULT_CONCURRENCY: u32 = 1024;

/// Channels, routes, templates, profiles and categories of one app.
#[derive(Default)]
pub struct App {
    pub(crate) channels: BTreeMap<ChannelName, Installed>,
    pub(crate) routes: Vec<Route>,
    pub(crate) templates: Templates,
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) categories: BTreeMap<String, Options>,
}

impl App {
    /// Adds a channel under the name in its [`ChannelInfo`](crate::ChannelInfo), with [`DEFAULT_CONCURRENCY`].
    #[must_use]
    pub fn channel(self, channel: impl PushChannel) -> Self {
        self.install(Arc::new(channel), DEFAULT_CONCURRENCY)
    }

    /// Adds a channel of which at most `concurrency` addresses are in flight at once. Zero counts as one.
    #[must_use]
    pub fn install(mut self, channel: Arc<dyn PushChannel>, concurrency: u32) -> Self {
        let name = channel.info().name.clone();
        let channel = Arc::new(GuardedChannel(channel));
        self.channels.insert(
            name,
            Installed { channel, concurrency: concurrency.max(1), retry: RetryPolicy::default() },
        );
        self
    }

    /// Sets the retry policy of an installed channel, by default [`RetryPolicy::default`]. Does nothing if the app has no such
    /// channel.
    #[must_use]
    pub fn retry(mut self, channel: &ChannelName, policy: RetryPolicy) -> Self {
        if let Some(installed) = self.channels.get_mut(channel) {
            installed.retry = policy;
        }
        self
    }

    /// Adds a route. The first route whose selector matches a device decides.
    #[must_use]
    pub fn route(mut self, selector: Selector, channels: impl IntoIterator<Item = ChannelName>) -> Self {
        self.routes.push(Route { selector, channels: channels.into_iter().collect() });
        self
    }

    /// Compiles and adds a template.
    ///
    /// # Errors
    /// Returns [`TemplateError::Source`] with language, part and line.
    pub fn template(mut self, name: TemplateName, source: TemplateSource) -> Result<Self, TemplateError> {
        self.templates.add(name, source)?;
        Ok(self)
    }

    /// Adds a profile. [`crate::profile::DEFAULT`] names the one for notifications that name no profile, or an unknown one.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>, profile: Profile) -> Self {
        self.profiles.insert(name.into(), profile);
        self
    }

    /// Adds the native options, by channel, of notifications in a category.
    #[must_use]
    pub fn category(mut self, name: impl Into<String>, options: Options) -> Self {
        self.categories.insert(name.into(), options);
        self
    }

    /// Checks that the app has the channel of an address, and that the channel could send to the address.
    ///
    /// # Errors
    /// Returns [`SubmitError::UnknownChannel`] or [`SubmitError::BadAddress`].
    pub fn admits(&self, address: &Address) -> Result<(), SubmitError> {
        let channel = &address.channel;
        let installed =
            self.channels.get(channel).ok_or_else(|| SubmitError::UnknownChannel(channel.clone()))?;
        installed
            .channel
            .admits(address)
            .map_err(|fault| SubmitError::BadAddress { channel: channel.clone(), reason: fault.detail })
    }

    /// Returns the channels, by name.
    #[must_use]
    pub fn channels(&self) -> &BTreeMap<ChannelName, Installed> {
        &self.channels
    }
}
