//! Builds a gateway from a configuration. The only file that names every channel and store.

use std::sync::Arc;

use pushgate::app::App;
use pushgate::gateway::Builder;
use pushgate::template::{TemplateError, Templates};
use pushgate::{AppId, ChannelName, Gateway, Platform, PushChannel, SystemClock, Transport};
use pushgate_apns::{Apns, ProviderTokens};
use pushgate_config::{
    ChannelConfig, Config, ConfigError, ConfigErrors, PluginNetwork, Roots, StorageKind, nearest,
};
use pushgate_dummy::Dummy;
use pushgate_sqlite::SqliteStore;
use pushgate_transport::{BuildError, Destinations, HttpTransport};
use pushgate_webpush::WebPush;

use crate::api::v1::handlers::DEVICE_EVENTS;
use crate::plugins::{Plugins, Reloaded};
use crate::pools::{PoolKey, Pools};
use crate::push_id::ServiceInfo;

/// Push services of a ZPNs push id, by their number in the envelope.
#[rustfmt::skip]
pub(crate) const PUSH_ID_SERVICES: [ServiceInfo; 7] = {
    const fn android(number: u8, maker: &'static str, kinds: &'static [&'static str]) -> ServiceInfo {
        ServiceInfo { number, platform: Platform::Android, manufacturer: Some(maker), kinds, subscriptions: None }
    }
    [
        android(1, "huawei", &["huawei"]),
        android(2, "xiaomi", &["xiaomi"]),
        android(3, "vivo", &["vivo"]),
        android(4, "oppo", &["oppo"]),
        ServiceInfo { number: 5, platform: Platform::Ios, manufacturer: None, kinds: &["apns"], subscriptions: None },
        ServiceInfo { number: 6, platform: Platform::Android, manufacturer: None, kinds: &["fcm"], subscriptions: None },
        ServiceInfo { number: 7, platform: Platform::Web, manufacturer: None, kinds: &["fcm"], subscriptions: Some("webpush") },
    ]
};
/// Kind of channel to which ZIM's `voIPConfig` applies.
pub(crate) const VOIP_CONFIG_FOR: &str = "apns";
/// Kind of channel to which ZIM's `privateMessageTemplate` applies.
pub(crate) const PRIVATE_MESSAGE_TEMPLATE_FOR: &str = "oppo";

/// Reason why a gateway cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] pushgate_sqlite::OpenError),
    /// The database cannot be read.
    #[error(transparent)]
    Storage(#[from] pushgate::StorageError),
}

/// Apps of a configuration, and the errors in them.
#[derive(Default)]
pub struct Assembled {
    /// Apps, without their invalid channels and templates.
    pub apps: Vec<(AppId, App)>,
    /// All errors, with file, line and key.
    pub errors: ConfigErrors,
}

/// Resources that the channels of one gateway share.
#[derive(Debug)]
pub struct SharedResources {
    provider_tokens: ProviderTokens,
    pools: Pools,
    plugins: Plugins,
}

impl SharedResources {
    /// Loads the plugins of a configuration.
    ///
    /// # Errors
    /// As for [`Plugins::load`].
    pub fn from_config(config: &Config) -> Result<Self, ConfigErrors> {
        Ok(Self::with_plugins(Plugins::load(config, &built_in_kinds())?))
    }

    /// Returns the errors of plugins that could not be loaded.
    #[must_use]
    pub fn plugin_problems(&self, config: &Config) -> Vec<ConfigError> {
        self.plugins.problems(config)
    }

    /// Returns resources with these plugins.
    #[must_use]
    pub fn with_plugins(plugins: Plugins) -> Self {
        Self { provider_tokens: ProviderTokens::default(), pools: Pools::default(), plugins }
    }
}

/// Builds and starts a gateway.
///
/// # Errors
/// [`Error`]
pub async fn gateway(config: &Config) -> Result<Gateway, Error> {
    Ok(builder(config)?.start().await?)
}

/// Builds a gateway without starting it.
///
/// # Errors
/// [`Error`]
pub fn builder(config: &Config) -> Result<Builder, Error> {
    builder_with(config, &SharedResources::from_config(config)?)
}

/// Builds a gateway with these shared resources, without starting it. The caller keeps them for [`reload`].
///
/// # Errors
/// [`Error`]
pub fn builder_with(config: &Config, shared: &SharedResources) -> Result<Builder, Error> {
    let assembled = apps(config, shared);
    assembled.errors.into_result()?;
    let mut builder = Gateway::builder()
        .retention(config.storage.keep)
        .pruned_retention(config.storage.keep_pruned)
        .max_devices_per_user(config.limits.devices_per_user)
        .presence_by_sessions();
    if let Some(url) = &config.server.public_url {
        builder = builder.device_events(format!("{url}{DEVICE_EVENTS}"));
    }
    if let StorageKind::Sqlite { path } = &config.storage.kind {
        builder = builder.store(SqliteStore::open(path)?);
    }
    Ok(assembled.apps.into_iter().fold(builder, |builder, (id, app)| builder.app(id, app)))
}

/// Builds the apps of a configuration: channels, routes, templates, profiles and categories. Opens no database and no listener.
pub fn apps(config: &Config, shared: &SharedResources) -> Assembled {
    let mut assembled = Assembled::default();
    for (id, configured) in &config.apps {
        let mut app = App::default();
        for (name, source) in &configured.templates {
            let errors = Templates::default().check(name, source);
            assembled.errors.extend(errors.iter().map(|error| template_error(config, id, error)));
            if !errors.is_empty() {
                continue;
            }
            app = app.template(name.clone(), source.clone()).unwrap_or_else(|error| {
                assembled.errors.push(template_error(config, id, &error));
                App::default()
            });
        }
        for (name, channel_config) in &configured.channels {
            match channel(id, name, channel_config, shared) {
                Ok(channel) => {
                    app = app.install(channel, channel_config.concurrency).retry(name, channel_config.retry);
                }
                Err(errors) => assembled.errors.extend(errors),
            }
        }
        for route in &configured.routes {
            app = app.route(route.selector.clone(), route.channels.iter().cloned());
        }
        for (name, profile) in &configured.profiles {
            app = app.profile(name, profile.clone());
        }
        for (name, options) in &configured.categories {
            app = app.category(name, options.clone());
        }
        assembled.apps.push((id.clone(), app));
    }
    assembled
}

/// Returns the error of a template with the file and line of its text.
fn template_error(config: &Config, app: &AppId, error: &TemplateError) -> ConfigError {
    let top = ["apps", app.as_str(), "templates"];
    let TemplateError::Source { template, key, why, .. } = error else {
        return config.refuse(&top, error.to_string());
    };
    let key: Vec<_> = top.into_iter().chain([template.as_str()]).chain(key.split('.')).collect();
    config.refuse(&key, why.clone())
}

/// Built channel, or the errors of its configuration.
type ChannelResult = Result<Arc<dyn PushChannel>, ConfigErrors>;
/// Constructor of the channels of one kind.
type Constructor = fn(&ChannelContext<'_>) -> ChannelResult;

/// Arguments of a channel's constructor.
struct ChannelContext<'a> {
    name: &'a ChannelName,
    config: &'a ChannelConfig,
    shared: &'a SharedResources,
}

/// Constructor of a channel that needs its configuration, an HTTP client and a clock.
macro_rules! constructor {
    ($channel:ty) => {
        |context| {
            let section = &context.config.section;
            let client = client(context.config, transport(context.config))?;
            let config = section.parse()?;
            let channel = <$channel>::new(context.name.clone(), &config, client, Arc::new(SystemClock));
            Ok(Arc::new(channel.map_err(|error| section.refuse(error.key(), error.to_string()))?))
        }
    };
}

/// Built-in kinds of channels with their constructors. A new channel adds a line here.
const KINDS: &[(&str, Constructor)] = &[
    ("apns", apns),
    ("fcm", constructor!(pushgate_fcm::Fcm)),
    ("webpush", webpush),
    ("dummy", |context| Ok(Arc::new(Dummy::scripted(context.name.clone(), context.config.section.parse()?)))),
];

/// Returns the built-in kinds. No plugin may provide one of them.
#[must_use]
pub fn built_in_kinds() -> Vec<&'static str> {
    KINDS.iter().map(|(kind, _)| *kind).collect()
}

/// Builds a channel of its configured kind, built in or of a plugin.
///
/// # Errors
/// [`ConfigErrors`] with file, line and key.
pub fn channel(
    app: &AppId,
    name: &ChannelName,
    config: &ChannelConfig,
    shared: &SharedResources,
) -> ChannelResult {
    let configured = config.kind.as_str();
    if let Some((_, constructor)) = KINDS.iter().find(|(kind, _)| *kind == configured) {
        return constructor(&ChannelContext { name, config, shared });
    }
    if let Some(channel) = shared.plugins.channel(app, name, config, plugin_transport)? {
        return Ok(channel);
    }
    let plugins = shared.plugins.kinds();
    let kinds = built_in_kinds().into_iter().chain(plugins.iter().map(String::as_str));
    let hint = nearest(configured, kinds.clone())
        .map_or_else(|| kinds.collect::<Vec<_>>().join(", "), |near| format!("did you mean `{near}`?"));
    Err(config.section.refuse("kind", format!("\"{configured}\" is no kind of channel: {hint}")).into())
}

/// Reloads plugins and replaces their channels with ones of this configuration.
///
/// # Errors
/// As for [`Plugins::reload`].
pub fn reload(config: &Config, shared: &SharedResources) -> Result<Reloaded, ConfigErrors> {
    shared.plugins.reload(config, &built_in_kinds(), plugin_transport)
}

/// Returns the HTTP client for a plugin's channel. `network` limits the addresses that it may connect to.
pub(crate) fn plugin_transport(
    config: &ChannelConfig,
    network: PluginNetwork,
) -> Result<Arc<dyn Transport>, ConfigErrors> {
    let destinations = match network {
        PluginNetwork::Public => Destinations::Public,
        PluginNetwork::Any => Destinations::Any,
    };
    Ok(client(config, transport(config).destinations(destinations))?)
}

fn webpush(context: &ChannelContext<'_>) -> ChannelResult {
    let section = &context.config.section;
    let config: pushgate_webpush::Config = section.parse()?;
    // Untrusted clients choose the endpoints. Only tests on one machine have a reason to allow loopback addresses.
    let destinations = match config.insecure_loopback_endpoints {
        false => Destinations::Public,
        true => Destinations::Any,
    };
    let client = client(context.config, transport(context.config).destinations(destinations))?;
    let webpush = WebPush::new(context.name.clone(), &config, client, Arc::new(SystemClock));
    Ok(Arc::new(webpush.map_err(|error| section.refuse(error.key(), error.to_string()))?))
}

fn apns(context: &ChannelContext<'_>) -> ChannelResult {
    let section = &context.config.section;
    let config: pushgate_apns::Config = section.parse()?;
    let refused = |error: pushgate_apns::ConfigError| section.refuse(error.key(), error.to_string());
    let secrets = [&config.key, &config.certificate, &config.certificate_key].into_iter().flatten().cloned();
    let ids = [&config.team_id, &config.key_id].into_iter().flatten().map(|id| id.as_str().into());
    let key = PoolKey {
        base: config.base().map_err(refused)?.to_owned(),
        credentials: secrets.chain(ids).collect(),
        settings: context.config.transport.clone(),
    };
    let client = context.shared.pools.get_or_create(key, || {
        // A certificate identifies the TLS connection. With a key, Apple wants one successful request before it allows
        // concurrent streams.
        let transport = match config.identity() {
            Some(identity) => {
                transport(context.config).identity(identity.certificate.expose(), identity.key.clone())
            }
            None => transport(context.config).first_stream_alone(),
        };
        client(context.config, transport)
    })?;
    let tokens = &context.shared.provider_tokens;
    let apns = Apns::new(context.name.clone(), &config, client, Arc::new(SystemClock), tokens);
    Ok(Arc::new(apns.map_err(refused)?))
}

fn client(
    config: &ChannelConfig,
    builder: pushgate_transport::Builder,
) -> Result<Arc<HttpTransport>, ConfigErrors> {
    let refused = |error: BuildError| {
        let key = if matches!(error, BuildError::Identity(_)) { "certificate" } else { "transport" };
        config.section.refuse(key, error.to_string()).into()
    };
    builder.build().map(Arc::new).map_err(refused)
}

/// Returns a builder of an HTTP client with the channel's `transport` settings.
fn transport(config: &ChannelConfig) -> pushgate_transport::Builder {
    use pushgate_transport::Roots as Trusted;
    let settings = &config.transport;
    let roots = match &settings.roots {
        Roots::System => Trusted::System,
        Roots::Bundled => Trusted::Bundled,
        Roots::Pem(pem) => Trusted::Pem(pem.expose().to_owned()),
    };
    let proxy = settings.proxy.as_ref().map(|proxy| proxy.expose().to_owned());
    let mut builder = HttpTransport::builder().roots(roots).proxy(proxy);
    if let Some(timeout) = settings.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(max) = settings.max_connections {
        builder = builder.max_connections(max as usize);
    }
    for (host, address) in &settings.connect_to {
        builder = builder.connect_to(host, *address);
    }
    builder
}
