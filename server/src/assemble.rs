//! From a configuration to a running gateway. The only file that names every channel and store.

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
use crate::plugins::Plugins;
use crate::pools::{Owner, Pools};
use crate::push_id::Row;

/// The push services of a ZPNs push id, by the numbers of its envelope.
#[rustfmt::skip]
pub(crate) const PUSH_ID_SERVICES: [Row; 7] = {
    const fn android(number: u8, maker: &'static str, kinds: &'static [&'static str]) -> Row {
        Row { number, platform: Platform::Android, manufacturer: Some(maker), kinds, subscriptions: None }
    }
    [
        android(1, "huawei", &["huawei"]),
        android(2, "xiaomi", &["xiaomi"]),
        android(3, "vivo", &["vivo"]),
        android(4, "oppo", &["oppo"]),
        Row { number: 5, platform: Platform::Ios, manufacturer: None, kinds: &["apns"], subscriptions: None },
        Row { number: 6, platform: Platform::Android, manufacturer: None, kinds: &["fcm"], subscriptions: None },
        Row { number: 7, platform: Platform::Web, manufacturer: None, kinds: &["fcm"], subscriptions: Some("webpush") },
    ]
};
/// The kind of channel that ZIM's `voIPConfig` is for.
pub(crate) const VOIP_CONFIG_FOR: &str = "apns";
/// The kind of channel that ZIM's `privateMessageTemplate` is for.
pub(crate) const PRIVATE_MESSAGE_TEMPLATE_FOR: &str = "oppo";

/// Why a gateway cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is not right.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] pushgate_sqlite::OpenError),
    /// It cannot be read.
    #[error(transparent)]
    Storage(#[from] pushgate::StorageError),
}

/// Apps of a configuration, and what is wrong with them.
#[derive(Default)]
pub struct Assembled {
    /// The apps, without the channels and templates that are wrong.
    pub apps: Vec<(AppId, App)>,
    /// Everything that is wrong, with file, line and key.
    pub errors: ConfigErrors,
}

/// What the channels of one gateway have in common.
#[derive(Debug)]
pub struct Shared {
    provider_tokens: ProviderTokens,
    pools: Pools,
    plugins: Plugins,
}

impl Shared {
    /// For the channels of this configuration; loads its plugins.
    ///
    /// # Errors
    /// As for [`Plugins::load`].
    pub fn of(config: &Config) -> Result<Self, ConfigErrors> {
        Ok(Self::with(Plugins::load(config, &built_in())?))
    }

    /// Returns why plugins of the configuration could not be loaded.
    #[must_use]
    pub fn plugin_problems(&self, config: &Config) -> Vec<ConfigError> {
        self.plugins.problems(config)
    }

    /// With these plugins.
    #[must_use]
    pub fn with(plugins: Plugins) -> Self {
        Self { provider_tokens: ProviderTokens::default(), pools: Pools::default(), plugins }
    }
}

/// Starts a gateway as configured.
///
/// # Errors
/// [`Error`], which says what to do.
pub async fn gateway(config: &Config) -> Result<Gateway, Error> {
    Ok(builder(config)?.start().await?)
}

/// A gateway as configured, not yet started.
///
/// # Errors
/// [`Error`], which says what to do.
pub fn builder(config: &Config) -> Result<Builder, Error> {
    builder_with(config, &Shared::of(config)?)
}

/// The same, with what its channels have in common handed in: keep it to exchange plugins later.
///
/// # Errors
/// [`Error`], which says what to do.
pub fn builder_with(config: &Config, shared: &Shared) -> Result<Builder, Error> {
    let assembled = apps(config, shared);
    assembled.errors.into_result()?;
    let mut builder = Gateway::builder()
        .keep(config.storage.keep)
        .keep_pruned(config.storage.keep_pruned)
        .devices_per_user(config.limits.devices_per_user)
        .presence_by_leases();
    if let Some(url) = &config.server.public_url {
        builder = builder.receipts(format!("{url}{DEVICE_EVENTS}"));
    }
    if let StorageKind::Sqlite { path } = &config.storage.kind {
        builder = builder.store(SqliteStore::open(path)?);
    }
    Ok(assembled.apps.into_iter().fold(builder, |builder, (id, app)| builder.app(id, app)))
}

/// Makes the apps of a configuration: channels, routes, templates, profiles, categories. Opens no database and no listener.
pub fn apps(config: &Config, shared: &Shared) -> Assembled {
    let mut assembled = Assembled::default();
    for (id, configured) in &config.apps {
        let mut app = App::default();
        for (name, source) in &configured.templates {
            let wrong = Templates::default().check(name, source);
            assembled.errors.extend(wrong.iter().map(|error| template_error(config, id, error)));
            if !wrong.is_empty() {
                continue;
            }
            app = app.template(name.clone(), source.clone()).unwrap_or_else(|error| {
                assembled.errors.push(template_error(config, id, &error));
                App::default()
            });
        }
        for (name, one) in &configured.channels {
            match channel(id, name, one, shared) {
                Ok(channel) => app = app.install(channel, one.concurrency).retry(name, one.retry),
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

/// Returns the error of a template placed at the line of its text.
fn template_error(config: &Config, app: &AppId, error: &TemplateError) -> ConfigError {
    let top = ["apps", app.as_str(), "templates"];
    let TemplateError::Source { template, key, why, .. } = error else {
        return config.refuse(&top, error.to_string());
    };
    let key: Vec<_> = top.into_iter().chain([template.as_str()]).chain(key.split('.')).collect();
    config.refuse(&key, why.clone())
}

type Made = Result<Arc<dyn PushChannel>, ConfigErrors>;
type Make = fn(&Wanted<'_>) -> Made;

/// What a channel is made of.
struct Wanted<'a> {
    name: &'a ChannelName,
    one: &'a ChannelConfig,
    shared: &'a Shared,
}

/// A channel made as almost all are: of its table, an HTTP client and a clock.
macro_rules! made {
    ($channel:ty) => {
        |wanted| {
            let client = client(wanted.one, transport(wanted.one))?;
            let config = wanted.one.section.parse()?;
            let channel = <$channel>::new(wanted.name.clone(), &config, client, Arc::new(SystemClock));
            Ok(Arc::new(channel.map_err(|error| wanted.one.section.refuse(error.key(), error.to_string()))?))
        }
    };
}

/// What `kind` may be, and how each is made. A new channel is a line here.
const KINDS: &[(&str, Make)] = &[
    ("apns", apns),
    ("fcm", made!(pushgate_fcm::Fcm)),
    ("webpush", webpush),
    ("dummy", |wanted| Ok(Arc::new(Dummy::scripted(wanted.name.clone(), wanted.one.section.parse()?)))),
];

/// The kinds that no plugin may bring.
#[must_use]
pub fn built_in() -> Vec<&'static str> {
    KINDS.iter().map(|(kind, _)| *kind).collect()
}

/// One channel, by its kind.
///
/// # Errors
/// [`ConfigErrors`] with file, line and key.
pub fn channel(app: &AppId, name: &ChannelName, one: &ChannelConfig, shared: &Shared) -> Made {
    let asked = one.kind.as_str();
    if let Some((_, made)) = KINDS.iter().find(|(kind, _)| *kind == asked) {
        return made(&Wanted { name, one, shared });
    }
    if let Some(channel) = shared.plugins.channel(app, name, one, dial)? {
        return Ok(channel);
    }
    let plugins = shared.plugins.kinds();
    let kinds = built_in().into_iter().chain(plugins.iter().map(String::as_str));
    let near = nearest(asked, kinds.clone())
        .map_or_else(|| kinds.collect::<Vec<_>>().join(", "), |near| format!("did you mean `{near}`?"));
    Err(one.section.refuse("kind", format!("\"{asked}\" is no kind of channel: {near}")).into())
}

/// Exchanges the channels of plugins for what this configuration says. Gives how many, and why others go on as they were.
///
/// # Errors
/// As for [`Plugins::reload`].
pub fn reload(config: &Config, shared: &Shared) -> Result<(usize, Vec<String>), ConfigErrors> {
    shared.plugins.reload(config, &built_in(), dial)
}

/// What a plugin's requests go through.
pub(crate) fn dial(one: &ChannelConfig, network: PluginNetwork) -> Result<Arc<dyn Transport>, ConfigErrors> {
    let destinations = match network {
        PluginNetwork::Public => Destinations::Public,
        PluginNetwork::Any => Destinations::Any,
    };
    Ok(client(one, transport(one).destinations(destinations))?)
}

fn webpush(wanted: &Wanted<'_>) -> Made {
    let section = &wanted.one.section;
    let config: pushgate_webpush::Config = section.parse()?;
    // Endpoints are strangers' choices. Only tests on one machine have a reason to let them lead back to it.
    let destinations = match config.insecure_loopback_endpoints {
        false => Destinations::Public,
        true => Destinations::Any,
    };
    let client = client(wanted.one, transport(wanted.one).destinations(destinations))?;
    let webpush = WebPush::new(wanted.name.clone(), &config, client, Arc::new(SystemClock));
    Ok(Arc::new(webpush.map_err(|error| section.refuse(error.key(), error.to_string()))?))
}

fn apns(wanted: &Wanted<'_>) -> Made {
    let section = &wanted.one.section;
    let config: pushgate_apns::Config = section.parse()?;
    let refused = |error: pushgate_apns::ConfigError| section.refuse(error.key(), error.to_string());
    let secrets = [&config.key, &config.certificate, &config.certificate_key].into_iter().flatten().cloned();
    let ids = [&config.team_id, &config.key_id].into_iter().flatten().map(|id| id.as_str().into());
    let owner = Owner {
        base: config.base().map_err(refused)?.to_owned(),
        credentials: secrets.chain(ids).collect(),
        settings: wanted.one.transport.clone(),
    };
    let client = wanted.shared.pools.of(owner, || {
        // Apple asks for both: a certificate is shown by the connection, and a key is trusted after its first success.
        let transport = match config.identity() {
            Some(own) => transport(wanted.one).identity(own.certificate.expose(), own.key.clone()),
            None => transport(wanted.one).first_stream_alone(),
        };
        client(wanted.one, transport)
    })?;
    let tokens = &wanted.shared.provider_tokens;
    let apns = Apns::new(wanted.name.clone(), &config, client, Arc::new(SystemClock), tokens);
    Ok(Arc::new(apns.map_err(refused)?))
}

fn client(
    one: &ChannelConfig,
    builder: pushgate_transport::Builder,
) -> Result<Arc<HttpTransport>, ConfigErrors> {
    let refused = |error: BuildError| {
        let key = if matches!(error, BuildError::Identity(_)) { "certificate" } else { "transport" };
        one.section.refuse(key, error.to_string()).into()
    };
    builder.build().map(Arc::new).map_err(refused)
}

fn transport(one: &ChannelConfig) -> pushgate_transport::Builder {
    use pushgate_transport::Roots as Trusted;
    let asked = &one.transport;
    let roots = match &asked.roots {
        Roots::System => Trusted::System,
        Roots::Bundled => Trusted::Bundled,
        Roots::Pem(pem) => Trusted::Pem(pem.expose().to_owned()),
    };
    let proxy = asked.proxy.as_ref().map(|proxy| proxy.expose().to_owned());
    let mut builder = HttpTransport::builder().roots(roots).proxy(proxy);
    if let Some(limit) = asked.connect_timeout {
        builder = builder.connect_timeout(limit);
    }
    if let Some(most) = asked.max_connections {
        builder = builder.max_connections(most as usize);
    }
    for (host, address) in &asked.connect_to {
        builder = builder.connect_to(host, *address);
    }
    builder
}
