//! From a configuration to a running gateway. The only file that names every channel and store.

use std::sync::Arc;

use pushgate::app::App;
use pushgate::gateway::Builder;
use pushgate::{ChannelName, Clock, Gateway, PushChannel, SystemClock};
use pushgate_apns::{Apns, ProviderTokens};
use pushgate_config::{ChannelConfig, Config, ConfigErrors, Roots, StorageKind, nearest};
use pushgate_dummy::Dummy;
use pushgate_fcm::Fcm;
use pushgate_sqlite::SqliteStore;
use pushgate_transport::{BuildError, Destinations, HttpTransport};
use pushgate_webpush::WebPush;

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
    /// A template does not compile.
    #[error("apps.{0}.templates: {1}")]
    Template(pushgate::AppId, pushgate::template::TemplateError),
}

/// What the channels of one gateway have in common.
#[derive(Debug, Default)]
pub struct Shared {
    provider_tokens: ProviderTokens,
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
    let mut builder = Gateway::builder().keep(config.storage.keep);
    let shared = Shared::default();
    if let StorageKind::Sqlite { path } = &config.storage.kind {
        builder = builder.store(SqliteStore::open(path)?);
    }
    for (id, configured) in &config.apps {
        let mut app = App::default();
        for (name, one) in &configured.channels {
            app = app.install(channel(name, one, &shared)?, one.concurrency);
        }
        for route in &configured.routes {
            app = app.route(route.selector.clone(), route.channels.iter().cloned());
        }
        for (name, source) in &configured.templates {
            app = app
                .template(name.clone(), source.clone())
                .map_err(|error| Error::Template(id.clone(), error))?;
        }
        builder = builder.app(id.clone(), app);
    }
    Ok(builder)
}

/// What `kind` may be.
const KINDS: [&str; 4] = ["fcm", "webpush", "apns", "dummy"];

/// One channel, by its kind.
///
/// # Errors
/// [`ConfigErrors`] with file, line and key.
pub fn channel(
    name: &ChannelName,
    one: &ChannelConfig,
    shared: &Shared,
) -> Result<Arc<dyn PushChannel>, ConfigErrors> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let built = |builder: pushgate_transport::Builder| {
        let built = builder.build();
        built.map(Arc::new).map_err(|error| {
            let key = if matches!(error, BuildError::Identity(_)) { "certificate" } else { "transport" };
            one.section.refuse(key, error.to_string())
        })
    };
    match one.kind.as_str() {
        "fcm" => {
            let transport = built(transport(one))?;
            let fcm = Fcm::new(name.clone(), &one.section.parse()?, transport, clock);
            Ok(Arc::new(fcm.map_err(|error| one.section.refuse(error.key(), error.to_string()))?))
        }
        "webpush" => {
            let config: pushgate_webpush::Config = one.section.parse()?;
            // Endpoints are strangers' choices. Only tests on one machine have a reason to let them lead back to it.
            let destinations = match config.insecure_loopback_endpoints {
                false => Destinations::Public,
                true => Destinations::Any,
            };
            let transport = built(transport(one).destinations(destinations))?;
            let webpush = WebPush::new(name.clone(), &config, transport, clock);
            Ok(Arc::new(webpush.map_err(|error| one.section.refuse(error.key(), error.to_string()))?))
        }
        "apns" => {
            let config: pushgate_apns::Config = one.section.parse()?;
            // Apple asks for both: a certificate is shown by the connection, and a key is trusted after its first success.
            let transport = match config.identity() {
                Some(own) => transport(one).identity(own.certificate.expose(), own.key.clone()),
                None => transport(one).first_stream_alone(),
            };
            let apns = Apns::new(name.clone(), &config, built(transport)?, clock, &shared.provider_tokens);
            Ok(Arc::new(apns.map_err(|error| one.section.refuse(error.key(), error.to_string()))?))
        }
        "dummy" => Ok(Arc::new(Dummy::new(name.clone(), one.section.parse()?))),
        other => {
            let near = nearest(other, KINDS)
                .map_or_else(|| KINDS.join(", "), |near| format!("did you mean `{near}`?"));
            Err(one.section.refuse("kind", format!("\"{other}\" is no kind of channel: {near}")).into())
        }
    }
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
