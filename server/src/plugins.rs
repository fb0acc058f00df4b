//! Plugins of a gateway: the kinds of channels that they provide, and how channels are replaced while the gateway runs.
//! A plugin that cannot be loaded stops no other channel: deliveries for its own channels stay queued.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pushgate::{
    AppId, Capability, ChannelInfo, ChannelName, Delivery, Fault, Kind, Message, Probe, PushChannel,
    Rendered, Report, SystemClock, TokenKind, Transport,
};
use pushgate_config::{
    ChannelConfig, Config, ConfigError, ConfigErrors, PluginConfig, PluginIsolation, PluginNetwork,
};
use pushgate_plugin_host::{
    DefaultTelemetry, Isolation, Limits, LoadError, Loader, OpenOptions, Plugin, Source, SwappableChannel,
};
use serde_json::Value;

/// Interval after which a delivery for a missing plugin is attempted again.
const ABSENT_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Plugins of a gateway, and the channels that were opened with them.
pub struct Plugins {
    loader: Loader,
    kinds: Mutex<BTreeMap<String, ConfiguredPlugin>>,
    /// Plugins that could not be loaded.
    missing: Vec<Missing>,
    channels: Mutex<Vec<OpenChannel>>,
}

/// Loaded plugin with its configuration.
#[derive(Clone)]
struct ConfiguredPlugin {
    plugin: Plugin,
    network: PluginNetwork,
}

/// Plugin that could not be loaded.
#[derive(Clone)]
struct Missing {
    /// Index in the list of the configuration.
    index: usize,
    /// Key of the plugin's table that names the cause.
    key: &'static str,
    why: String,
}

/// Channel that a plugin opened.
struct OpenChannel {
    app: AppId,
    name: ChannelName,
    plugin: Plugin,
    swap: Arc<SwappableChannel>,
}

/// Result of [`Plugins::reload`].
#[derive(Debug)]
pub struct Reloaded {
    /// Number of channels that were replaced.
    pub replaced: usize,
    /// Errors of the plugins and channels that continue unchanged.
    pub unchanged: Vec<String>,
}

/// Function that creates the HTTP client of a plugin's channel.
pub trait TransportFactory:
    Fn(&ChannelConfig, PluginNetwork) -> Result<Arc<dyn Transport>, ConfigErrors>
{
}

impl<F: Fn(&ChannelConfig, PluginNetwork) -> Result<Arc<dyn Transport>, ConfigErrors>> TransportFactory
    for F
{
}

/// Converts the configuration of a plugin to its loader's form.
#[must_use]
pub fn source(plugin: &PluginConfig) -> Source {
    let isolation = match &plugin.isolation {
        PluginIsolation::None => Isolation::None,
        PluginIsolation::Process { memory, open_files, environment } => Isolation::Process(Limits {
            memory: *memory,
            open_files: (*open_files).into(),
            environment: environment.clone(),
        }),
    };
    Source { path: plugin.path.clone(), sha256: plugin.sha256, isolation }
}

impl Plugins {
    /// Loads the plugins of a configuration. `built_in` lists the kinds that no plugin may provide.
    ///
    /// # Errors
    /// When two plugins provide the same kind, or one provides a built-in kind. A plugin that cannot be loaded is no error: it
    /// is logged, and its channels fail with the reason.
    pub fn load(config: &Config, built_in: &[&str]) -> Result<Self, ConfigErrors> {
        Self::load_from(config, built_in, None)
    }

    /// Loads plugins as [`Plugins::load`] does. Host processes are started from `program` instead of the current program.
    ///
    /// # Errors
    /// As for [`Plugins::load`].
    pub fn load_from(
        config: &Config,
        built_in: &[&str],
        program: Option<PathBuf>,
    ) -> Result<Self, ConfigErrors> {
        let mut loader = Loader::new(Arc::new(SystemClock), Arc::new(DefaultTelemetry::default()));
        if let Some(program) = program {
            loader = loader.with_child_program(program);
        }
        let (kinds, missing) = load_kinds(&loader, config, built_in)?;
        for Missing { why, .. } in &missing {
            tracing::error!(why, "plugin not loaded; deliveries for its channels stay queued");
        }
        Ok(Self { loader, kinds: Mutex::new(kinds), missing, channels: Mutex::default() })
    }

    /// Returns the errors of plugins that could not be loaded, each with its line of the configuration.
    pub fn problems(&self, config: &Config) -> Vec<ConfigError> {
        let to_error =
            |missing: &Missing| config.refuse_plugin(missing.index, missing.key, missing.why.clone());
        self.missing.iter().map(to_error).collect()
    }

    /// Returns the kinds of channels that the loaded plugins provide.
    pub fn kinds(&self) -> Vec<String> {
        self.kinds.lock().keys().cloned().collect()
    }

    /// Opens a channel of a plugin's kind. While plugins are missing, an unknown kind gets a channel that always fails.
    ///
    /// Returns `None` if no plugin provides the kind and none is missing.
    ///
    /// # Errors
    /// [`ConfigErrors`] with the plugin's message.
    pub fn channel(
        &self,
        app: &AppId,
        name: &ChannelName,
        config: &ChannelConfig,
        transport: impl TransportFactory,
    ) -> Result<Option<Arc<dyn PushChannel>>, ConfigErrors> {
        let configured = self.kinds.lock().get(&config.kind).cloned();
        let Some(ConfiguredPlugin { plugin, network }) = configured else {
            let why: Vec<_> = self.missing.iter().map(|missing| missing.why.as_str()).collect();
            let why = why.join("; ");
            let absent = (!why.is_empty()).then(|| Arc::new(AbsentChannel::new(name.clone(), why)) as _);
            return Ok(absent);
        };
        let channel = open(&plugin, name, config, transport(config, network)?)
            .map_err(|error| config.section.refuse("", format!("the plugin says: {error}")))?;
        let swap = Arc::new(SwappableChannel::new(channel));
        let channel = OpenChannel { app: app.clone(), name: name.clone(), plugin, swap: Arc::clone(&swap) };
        self.channels.lock().push(channel);
        Ok(Some(swap))
    }

    /// Loads the plugins of another configuration, and reopens every channel with it. A channel that cannot be reopened
    /// continues unchanged.
    ///
    /// # Errors
    /// As for [`Plugins::load`]. All channels continue unchanged then.
    pub fn reload(
        &self,
        config: &Config,
        built_in: &[&str],
        transport: impl TransportFactory,
    ) -> Result<Reloaded, ConfigErrors> {
        let (kinds, missing) = load_kinds(&self.loader, config, built_in)?;
        let mut unchanged: Vec<_> = missing.into_iter().map(|missing| missing.why).collect();
        let mut replaced = 0;
        for channel in self.channels.lock().iter_mut() {
            match channel.reopen(config, &kinds, &transport) {
                Ok(()) => replaced += 1,
                Err(why) => unchanged.push(format!("apps.{}.channels.{}: {why}", channel.app, channel.name)),
            }
        }
        self.kinds.lock().extend(kinds);
        Ok(Reloaded { replaced, unchanged })
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("kinds", &self.kinds()).finish_non_exhaustive()
    }
}

impl OpenChannel {
    /// Replaces the channel with one of this configuration.
    fn reopen(
        &mut self,
        config: &Config,
        kinds: &BTreeMap<String, ConfiguredPlugin>,
        transport: &impl TransportFactory,
    ) -> Result<(), String> {
        let channel_config = config
            .apps
            .get(&self.app)
            .and_then(|app| app.channels.get(&self.name))
            .ok_or("the channel is no longer configured; restart the gateway to remove it")?;
        let previous = self.plugin.description();
        let ConfiguredPlugin { plugin, network } =
            kinds.get(&channel_config.kind).ok_or("its plugin is no longer configured")?;
        if (&plugin.description().kind, &plugin.description().capability)
            != (&previous.kind, &previous.capability)
        {
            return Err(
                "the plugin's kind or capability has changed, which lanes rely on; restart the gateway"
                    .to_owned(),
            );
        }
        let transport = transport(channel_config, *network).map_err(|errors| errors.to_string())?;
        let channel = open(plugin, &self.name, channel_config, transport).map_err(|error| {
            channel_config.section.refuse("", format!("the plugin says: {error}")).to_string()
        })?;
        self.swap.replace(channel);
        self.plugin = plugin.clone();
        Ok(())
    }
}

fn open(
    plugin: &Plugin,
    name: &ChannelName,
    config: &ChannelConfig,
    transport: Arc<dyn Transport>,
) -> Result<Arc<dyn PushChannel>, LoadError> {
    plugin.open(OpenOptions { name: name.clone(), config: config.section.to_json(), transport })
}

/// Loads the configured plugins. Returns them by kind, and those that cannot be loaded.
fn load_kinds(
    loader: &Loader,
    config: &Config,
    built_in: &[&str],
) -> Result<(BTreeMap<String, ConfiguredPlugin>, Vec<Missing>), ConfigErrors> {
    let (mut kinds, mut missing) = (BTreeMap::<String, ConfiguredPlugin>::new(), Vec::new());
    for (index, configured) in config.plugins.iter().enumerate() {
        let plugin = match loader.load(&source(configured)) {
            Ok(plugin) => plugin,
            Err(error) => {
                let key = if matches!(error, LoadError::HashMismatch { .. }) { "sha256" } else { "path" };
                missing.push(Missing { index, key, why: error.to_string() });
                continue;
            }
        };
        let kind = plugin.description().kind.clone();
        let path = configured.path.display();
        if built_in.contains(&kind.as_str()) {
            let message = format!("{path} provides the kind \"{kind}\", which is built in");
            return Err(config.refuse(&["plugins"], message).into());
        }
        let plugin = ConfiguredPlugin { plugin, network: configured.network };
        if kinds.insert(kind.clone(), plugin).is_some() {
            let message =
                format!("{path} provides the kind \"{kind}\", which another plugin provides already");
            return Err(config.refuse(&["plugins"], message).into());
        }
    }
    Ok((kinds, missing))
}

/// Kind of a channel whose plugin is not loaded.
pub(crate) const ABSENT_KIND: &str = "absent";

/// Channel in place of one whose plugin is missing. Every attempt fails with the reason, and deliveries stay queued.
struct AbsentChannel {
    info: ChannelInfo,
    why: String,
}

impl AbsentChannel {
    fn new(name: ChannelName, why: String) -> Self {
        let capability = Capability {
            tokens: &[TokenKind::Token, TokenKind::Fid, TokenKind::Subscription],
            silent: true,
            ..Capability::BASIC
        };
        let info = ChannelInfo { kind: ABSENT_KIND, name, timeout: Duration::from_secs(1), capability };
        Self { info, why }
    }

    fn fault(&self) -> Fault {
        let detail =
            format!("the channel's plugin is not loaded; correct it and restart the gateway: {}", self.why);
        Fault::new(Kind::ChannelDown, detail).retry_after(Some(ABSENT_RETRY_INTERVAL)).of_lane()
    }
}

#[async_trait]
impl PushChannel for AbsentChannel {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }
    fn render(&self, _message: &Message) -> Rendered {
        Rendered { body: Value::Null, counted: 0 }
    }
    async fn send(&self, delivery: &Delivery) -> Report {
        Report::all_failed(delivery.targets.len(), &self.fault())
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        Err(self.fault())
    }
}
