//! How an emulator opens: one vendor after another, each at its port and in the control API.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::apns::{self, Apns, Environment, Gate};
use crate::browser::Browsers;
use crate::clock::Clock;
use crate::control::{self, Control, ControlPort};
use crate::desk::Desk;
use crate::google::Vendor;
use crate::rig::Rig;
use crate::tls::Authority;
use crate::webpush::WebPush;
use crate::wire::{self, Lines, Port};
use crate::{Error, https};

/// As many streams as Google allows on a connection.
const STREAMS: u32 = 100;

/// An emulator that is being opened.
pub(crate) struct Opening {
    authority: Arc<Authority>,
    clock: Clock,
    seed: u64,
    desks: BTreeMap<&'static str, Arc<dyn Desk>>,
    tasks: JoinSet<()>,
}

/// What shares Google's port.
pub(crate) struct Google {
    pub(crate) vendor: Arc<Vendor>,
    pub(crate) webpush: Arc<WebPush>,
    pub(crate) browsers: Arc<Browsers>,
}

/// A port that is taken, and where it is.
pub(crate) type Bound = (TcpListener, SocketAddr);

/// Opens a port on loopback. `option` is the field of `Options` that it comes from.
pub(crate) async fn bind(port: u16, option: &'static str) -> Result<Bound, Error> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let taken = TcpListener::bind((loopback, port)).await.map_err(|source| Error::Port {
        port,
        option,
        flag: option.replace('_', "-"),
        source,
    })?;
    let address = taken.local_addr().map_err(|e| Error::new("reading its address", e))?;
    Ok((taken, address))
}

fn certificates(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::new("making certificates", error)
}

impl Opening {
    pub(crate) fn new(seed: u64) -> Result<Self, Error> {
        let authority = Arc::new(Authority::new().map_err(certificates)?);
        Ok(Self { authority, clock: Clock::default(), seed, desks: BTreeMap::new(), tasks: JoinSet::new() })
    }

    fn rig(&self, lines: &Arc<Lines>) -> Rig {
        Rig::new(self.clock.clone(), self.seed, Arc::clone(lines))
    }

    /// Google, the Web Push services and the real browsers' side of them, which share a port; and the browsers' own.
    pub(crate) fn google(
        &mut self,
        project: &str,
        (listener, address): Bound,
        mcs: TcpListener,
    ) -> Result<Google, Error> {
        let lines = Arc::new(Lines::new(STREAMS));
        let vendor = Arc::new(Vendor::new(project, &https(address), self.rig(&lines))?);
        let webpush = Arc::new(WebPush::new(self.rig(&lines)));
        let browsers = Browsers::new(project, Arc::clone(&vendor), Arc::clone(&webpush), self.rig(&lines));
        let browsers = Arc::new(browsers);
        let others: Vec<Arc<dyn crate::rig::Site>> = vec![browsers.clone(), webpush.clone()];
        let port = Port { keeper: vendor.clone(), others, http2_only: false };
        let server = self.authority.server(&["h2", "http/1.1"]).map_err(certificates)?;
        self.tasks.spawn(wire::serve(listener, server, port));
        self.tasks.spawn(browsers.mcs(mcs, self.authority.server(&[]).map_err(certificates)?));
        self.desks.insert("fcm", vendor.clone());
        self.desks.insert("webpush", webpush.clone());
        self.desks.insert("browsers", browsers.clone());
        Ok(Google { vendor, webpush, browsers })
    }

    /// Apple's push service, production and sandbox, each at a port of its own.
    pub(crate) fn apple(
        &mut self,
        bundle: &str,
        [production, sandbox]: [Bound; 2],
    ) -> Result<Arc<Apns>, Error> {
        let urls = [https(production.1), https(sandbox.1)];
        let lines = Arc::new(Lines::new(apns::STREAMS));
        let apns = Arc::new(Apns::new(bundle, urls, Arc::clone(&self.authority), self.rig(&lines))?);
        let server = self.authority.server_for_clients(&["h2"]).map_err(certificates)?;
        let worlds = [(production.0, Environment::Production), (sandbox.0, Environment::Sandbox)];
        for (listener, environment) in worlds {
            let gate = Arc::new(Gate { apns: Arc::clone(&apns), environment });
            let port = Port { keeper: gate.clone(), others: Vec::new(), http2_only: true };
            self.tasks.spawn(wire::serve(listener, Arc::clone(&server), port));
            self.desks.insert("apns", gate);
        }
        Ok(apns)
    }

    /// What the emulator keeps, and the control API over all of them with what single ones add, which answers once it is run.
    pub(crate) fn control(
        self,
        port: ControlPort,
    ) -> (JoinSet<()>, Clock, Arc<Authority>, impl Future<Output = ()> + Send + 'static) {
        let control = Control { clock: self.clock.clone(), desks: self.desks };
        (self.tasks, self.clock, self.authority, control::serve(port, control))
    }
}
