//! The plugins of a gateway: which kinds they bring, their channels, and how these are exchanged while the gateway runs.
//! A plugin that cannot be loaded stops nobody else: its channels say so, and what is for them waits.

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

/// How long those who wait for a plugin that cannot be loaded are left alone.
const ABSENT: Duration = Duration::from_secs(60);

/// The plugins of a gateway, and the channels that were opened with them.
pub struct Plugins {
    loader: Loader,
    kinds: Mutex<BTreeMap<String, Brought>>,
    /// Plugins that could not be loaded.
    missing: Vec<Missing>,
    channels: Mutex<Vec<Open>>,
}

/// A plugin, and how it is configured.
#[derive(Clone)]
struct Brought {
    plugin: Plugin,
    network: PluginNetwork,
}

/// A plugin that could not be loaded.
#[derive(Clone)]
struct Missing {
    /// Index in the list of the configuration.
    index: usize,
    /// Key of the plugin's table that names the cause.
    key: &'static str,
    why: String,
}

/// A channel that is a plugin's.
struct Open {
    app: AppId,
    name: ChannelName,
    plugin: Plugin,
    swap: Arc<SwappableChannel>,
}

/// Makes the transport of a channel.
pub trait Dial: Fn(&ChannelConfig, PluginNetwork) -> Result<Arc<dyn Transport>, ConfigErrors> {}

impl<F: Fn(&ChannelConfig, PluginNetwork) -> Result<Arc<dyn Transport>, ConfigErrors>> Dial for F {}

/// Where a plugin comes from, in the words of its loader.
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
    /// Loads the plugins of a configuration. `taken` are the kinds that are built in.
    ///
    /// # Errors
    /// When two bring the same kind, or one brings a kind that is built in. A plugin that cannot be loaded is none: it is
    /// told in the log, and by its channels.
    pub fn load(config: &Config, taken: &[&str]) -> Result<Self, ConfigErrors> {
        Self::load_from(config, taken, None)
    }

    /// The same, with children started from another program than this one.
    ///
    /// # Errors
    /// As for [`Plugins::load`].
    pub fn load_from(
        config: &Config,
        taken: &[&str],
        program: Option<PathBuf>,
    ) -> Result<Self, ConfigErrors> {
        let mut loader = Loader::new(Arc::new(SystemClock), Arc::new(DefaultTelemetry::default()));
        if let Some(program) = program {
            loader = loader.with_child_program(program);
        }
        let (kinds, missing) = kinds(&loader, config, taken)?;
        for Missing { why, .. } in &missing {
            tracing::error!(why, "a plugin cannot be loaded; its channels wait");
        }
        Ok(Self { loader, kinds: Mutex::new(kinds), missing, channels: Mutex::default() })
    }

    /// Returns why plugins could not be loaded, each placed at its line of the configuration.
    pub fn problems(&self, config: &Config) -> Vec<ConfigError> {
        let placed =
            |missing: &Missing| config.refuse_plugin(missing.index, missing.key, missing.why.clone());
        self.missing.iter().map(placed).collect()
    }

    /// The kinds plugins bring.
    pub fn kinds(&self) -> Vec<String> {
        self.kinds.lock().keys().cloned().collect()
    }

    /// A channel of a plugin's kind; none when no plugin brings it and none is missing.
    ///
    /// # Errors
    /// [`ConfigErrors`] with the plugin's own words.
    pub fn channel(
        &self,
        app: &AppId,
        name: &ChannelName,
        one: &ChannelConfig,
        transport: impl Dial,
    ) -> Result<Option<Arc<dyn PushChannel>>, ConfigErrors> {
        let brought = self.kinds.lock().get(&one.kind).cloned();
        let Some(Brought { plugin, network }) = brought else {
            let why: Vec<_> = self.missing.iter().map(|missing| missing.why.as_str()).collect();
            let why = why.join("; ");
            let absent = (!why.is_empty()).then(|| Arc::new(Absent::new(name.clone(), why)) as _);
            return Ok(absent);
        };
        let opened = open(&plugin, name, one, transport(one, network)?)
            .map_err(|error| one.section.refuse("", format!("the plugin says: {error}")))?;
        let swap = Arc::new(SwappableChannel::new(opened));
        let open = Open { app: app.clone(), name: name.clone(), plugin, swap: Arc::clone(&swap) };
        self.channels.lock().push(open);
        Ok(Some(swap))
    }

    /// Loads the plugins of another configuration, and exchanges every channel for one that is opened with it. Gives how many
    /// were exchanged, and why others were not: those go on as they were.
    ///
    /// # Errors
    /// As for [`Plugins::load`]; then nothing is exchanged.
    pub fn reload(
        &self,
        config: &Config,
        taken: &[&str],
        transport: impl Dial,
    ) -> Result<(usize, Vec<String>), ConfigErrors> {
        let (kinds, missing) = kinds(&self.loader, config, taken)?;
        let mut kept: Vec<_> = missing.into_iter().map(|missing| missing.why).collect();
        let mut exchanged = 0;
        for channel in self.channels.lock().iter_mut() {
            match channel.renewed(config, &kinds, &transport) {
                Ok(()) => exchanged += 1,
                Err(why) => kept.push(format!("apps.{}.channels.{}: {why}", channel.app, channel.name)),
            }
        }
        self.kinds.lock().extend(kinds);
        Ok((exchanged, kept))
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("kinds", &self.kinds()).finish_non_exhaustive()
    }
}

impl Open {
    fn renewed(
        &mut self,
        config: &Config,
        kinds: &BTreeMap<String, Brought>,
        transport: &impl Dial,
    ) -> Result<(), String> {
        let one = config
            .apps
            .get(&self.app)
            .and_then(|app| app.channels.get(&self.name))
            .ok_or("it is not configured any more; restart the gateway to take it out")?;
        let before = self.plugin.description();
        let Brought { plugin, network } = kinds.get(&one.kind).ok_or("its plugin is not there any more")?;
        if (&plugin.description().kind, &plugin.description().capability)
            != (&before.kind, &before.capability)
        {
            return Err(
                "the plugin's kind or capability has changed, which lanes rely on; restart the gateway"
                    .to_owned(),
            );
        }
        let transport = transport(one, *network).map_err(|errors| errors.to_string())?;
        let opened = open(plugin, &self.name, one, transport)
            .map_err(|error| one.section.refuse("", format!("the plugin says: {error}")).to_string())?;
        self.swap.replace(opened);
        self.plugin = plugin.clone();
        Ok(())
    }
}

fn open(
    plugin: &Plugin,
    name: &ChannelName,
    one: &ChannelConfig,
    transport: Arc<dyn Transport>,
) -> Result<Arc<dyn PushChannel>, LoadError> {
    plugin.open(OpenOptions { name: name.clone(), config: one.section.to_json(), transport })
}

/// The kinds that can be had, and why others cannot.
fn kinds(
    loader: &Loader,
    config: &Config,
    taken: &[&str],
) -> Result<(BTreeMap<String, Brought>, Vec<Missing>), ConfigErrors> {
    let (mut kinds, mut missing) = (BTreeMap::<String, Brought>::new(), Vec::new());
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
        if taken.contains(&kind.as_str()) {
            let message = format!("{path} brings the kind \"{kind}\", which is built in");
            return Err(config.refuse(&["plugins"], message).into());
        }
        let brought = Brought { plugin, network: configured.network };
        if kinds.insert(kind.clone(), brought).is_some() {
            let message = format!("{path} brings the kind \"{kind}\", which another plugin brings already");
            return Err(config.refuse(&["plugins"], message).into());
        }
    }
    Ok((kinds, missing))
}

/// Kind of a channel whose plugin is not loaded.
pub(crate) const ABSENT_KIND: &str = "absent";

/// Stands where a plugin's channel would be. What is for it stays queued, and is told why.
struct Absent {
    info: ChannelInfo,
    why: String,
}

impl Absent {
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
        let detail = format!("its plugin is not loaded; mend it and restart: {}", self.why);
        Fault::new(Kind::ChannelDown, detail).retry_after(Some(ABSENT)).of_lane()
    }
}

#[async_trait]
impl PushChannel for Absent {
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
