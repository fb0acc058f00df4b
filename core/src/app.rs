//! An app as the gateway runs it: its channels, routes and templates. Immutable while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::channel::PushChannel;
use crate::device::Address;
use crate::gateway::SubmitError;
use crate::guarded::GuardedChannel;
use crate::profile::{Options, Profile};
use crate::schedule::RetryPolicy;
use crate::selector::{Route, Selector};
use crate::template::{TemplateError, TemplateSource, Templates};
use crate::words::{ChannelName, TemplateName};

/// A channel, and how much of it may be in flight.
#[derive(Clone)]
pub struct Installed {
    /// The channel itself, without layers.
    pub channel: Arc<dyn PushChannel>,
    /// The most addresses in flight at once.
    pub concurrency: u32,
    /// Settings for retries.
    pub retry: RetryPolicy,
}

/// The addresses in flight of a channel unless said otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 1024;

/// Channels, routes and templates of one app.
#[derive(Default)]
pub struct App {
    pub(crate) channels: BTreeMap<ChannelName, Installed>,
    pub(crate) routes: Vec<Route>,
    pub(crate) templates: Templates,
    pub(crate) profiles: BTreeMap<String, Profile>,
    pub(crate) categories: BTreeMap<String, Options>,
}

impl App {
    /// With one more channel, under the name the channel gives itself.
    #[must_use]
    pub fn channel(self, channel: impl PushChannel) -> Self {
        self.install(Arc::new(channel), DEFAULT_CONCURRENCY)
    }

    /// With one more channel, of which at most `concurrency` addresses are in flight at once.
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

    /// Sets when failed deliveries of an installed channel are tried again. Default: [`RetryPolicy::default`].
    #[must_use]
    pub fn retry(mut self, channel: &ChannelName, policy: RetryPolicy) -> Self {
        if let Some(installed) = self.channels.get_mut(channel) {
            installed.retry = policy;
        }
        self
    }

    /// With one more route; the first that takes a device decides.
    #[must_use]
    pub fn route(mut self, selector: Selector, channels: impl IntoIterator<Item = ChannelName>) -> Self {
        self.routes.push(Route { selector, channels: channels.into_iter().collect() });
        self
    }

    /// With one more template.
    ///
    /// # Errors
    /// [`TemplateError::Source`] with language, part and line.
    pub fn template(mut self, name: TemplateName, source: TemplateSource) -> Result<Self, TemplateError> {
        self.templates.add(name, source)?;
        Ok(self)
    }

    /// With one more profile. The one called [`crate::profile::DEFAULT`] is used where none, or an unknown one, is named.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>, profile: Profile) -> Self {
        self.profiles.insert(name.into(), profile);
        self
    }

    /// With native options, by channel, for notifications of a category.
    #[must_use]
    pub fn category(mut self, name: impl Into<String>, options: Options) -> Self {
        self.categories.insert(name.into(), options);
        self
    }

    /// Whether an address names a channel of this app that could ever send to it.
    ///
    /// # Errors
    /// [`SubmitError::UnknownChannel`] or [`SubmitError::BadAddress`].
    pub fn admits(&self, address: &Address) -> Result<(), SubmitError> {
        let channel = &address.channel;
        let installed =
            self.channels.get(channel).ok_or_else(|| SubmitError::UnknownChannel(channel.clone()))?;
        installed
            .channel
            .admits(address)
            .map_err(|fault| SubmitError::BadAddress { channel: channel.clone(), why: fault.detail })
    }

    /// The channels, by name.
    #[must_use]
    pub fn channels(&self) -> &BTreeMap<ChannelName, Installed> {
        &self.channels
    }
}
