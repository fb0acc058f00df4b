//! Start of an emulator: opens the ports and registers each push service with the control API.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::browsers::Browsers;
use crate::clock::Clock;
use crate::control::{self, Control, ControlPort, ControlledService};
use crate::service::{PushService, ServiceContext};
use crate::services::apns::{self, Apns, ApnsServer, Environment};
use crate::services::fcm::Fcm;
use crate::services::web_push::WebPush;
use crate::tls::Authority;
use crate::wire::{self, Connections, ServedPort};
use crate::{Error, https};

/// Number of concurrent streams that Google allows on a connection.
const MAX_GOOGLE_STREAMS: u32 = 100;

/// Emulator that is being started.
pub(crate) struct Startup {
    authority: Arc<Authority>,
    clock: Clock,
    seed: u64,
    services: BTreeMap<&'static str, Arc<dyn ControlledService>>,
    tasks: JoinSet<()>,
}

/// Services that share the port of Google's hosts.
pub(crate) struct GooglePort {
    pub(crate) fcm: Arc<Fcm>,
    pub(crate) web_push: Arc<WebPush>,
    pub(crate) browsers: Arc<Browsers>,
}

/// Open port and its address.
pub(crate) struct BoundPort {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl BoundPort {
    /// Opens a port on loopback. `option` is the field of `Options` that sets the port, for the error message.
    pub(crate) async fn open(port: u16, option: &'static str) -> Result<Self, Error> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind((loopback, port)).await.map_err(|source| Error::Port {
            port,
            option,
            flag: option.replace('_', "-"),
            source,
        })?;
        let address = listener.local_addr().map_err(|e| Error::new("reading the address of a port", e))?;
        Ok(Self { listener, address })
    }
}

/// Parts of a started emulator.
pub(crate) struct Started<ControlApi> {
    pub(crate) tasks: JoinSet<()>,
    pub(crate) clock: Clock,
    pub(crate) authority: Arc<Authority>,
    /// Serves the control API when it is spawned.
    pub(crate) control_api: ControlApi,
}

fn certificate_error(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new("generating certificates", error)
}

impl Startup {
    pub(crate) fn new(seed: u64) -> Result<Self, Error> {
        let authority = Arc::new(Authority::generate().map_err(certificate_error)?);
        Ok(Self {
            authority,
            clock: Clock::default(),
            seed,
            services: BTreeMap::new(),
            tasks: JoinSet::new(),
        })
    }

    fn context(&self, connections: &Arc<Connections>) -> ServiceContext {
        ServiceContext::new(self.clock.clone(), self.seed, Arc::clone(connections))
    }

    /// Serves FCM, the Web Push services and Google's services for browsers on one port, and MCS on another.
    pub(crate) fn serve_google(
        &mut self,
        project: &str,
        port: BoundPort,
        mcs: BoundPort,
    ) -> Result<GooglePort, Error> {
        let connections = Arc::new(Connections::new(MAX_GOOGLE_STREAMS));
        let fcm = Arc::new(Fcm::new(project, &https(port.address), self.context(&connections))?);
        let web_push = Arc::new(WebPush::new(self.context(&connections)));
        let browsers =
            Browsers::new(project, Arc::clone(&fcm), Arc::clone(&web_push), self.context(&connections));
        let browsers = Arc::new(browsers);
        let other_services: Vec<Arc<dyn PushService>> = vec![browsers.clone(), web_push.clone()];
        let served = ServedPort { default_service: fcm.clone(), other_services, http2_only: false };
        let tls = self.authority.server_config(&["h2", "http/1.1"]).map_err(certificate_error)?;
        self.tasks.spawn(wire::serve(port.listener, tls, served));
        let mcs_tls = self.authority.server_config(&[]).map_err(certificate_error)?;
        self.tasks.spawn(browsers.serve_mcs(mcs.listener, mcs_tls));
        self.services.insert("fcm", fcm.clone());
        self.services.insert("webpush", web_push.clone());
        self.services.insert("browsers", browsers.clone());
        Ok(GooglePort { fcm, web_push, browsers })
    }

    /// Serves APNs: production and sandbox, each on a port of its own.
    pub(crate) fn serve_apple(
        &mut self,
        bundle: &str,
        [production, sandbox]: [BoundPort; 2],
    ) -> Result<Arc<Apns>, Error> {
        let urls = [https(production.address), https(sandbox.address)];
        let connections = Arc::new(Connections::new(apns::MAX_STREAMS));
        let context = self.context(&connections);
        let apns = Arc::new(Apns::new(bundle, urls, Arc::clone(&self.authority), context)?);
        let tls = self.authority.server_config_with_client_auth(&["h2"]).map_err(certificate_error)?;
        let environments = [(production, Environment::Production), (sandbox, Environment::Sandbox)];
        for (port, environment) in environments {
            let server = Arc::new(ApnsServer { apns: Arc::clone(&apns), environment });
            let served =
                ServedPort { default_service: server.clone(), other_services: Vec::new(), http2_only: true };
            self.tasks.spawn(wire::serve(port.listener, Arc::clone(&tls), served));
            self.services.insert("apns", server);
        }
        Ok(apns)
    }

    /// Returns the parts of the started emulator. The control API responds once its future is spawned.
    pub(crate) fn finish(self, port: ControlPort) -> Started<impl Future<Output = ()> + Send + 'static> {
        let control = Control { clock: self.clock.clone(), services: self.services };
        Started {
            tasks: self.tasks,
            clock: self.clock,
            authority: self.authority,
            control_api: control::serve(port, control),
        }
    }
}
