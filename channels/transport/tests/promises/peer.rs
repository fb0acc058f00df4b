//! A scripted HTTP/2 peer that speaks in frames: it can say what no well-behaved server would, and nothing is done for it
//! but the acknowledging of SETTINGS.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use pushgate::{Request, Response, Transport, TransportError};
use pushgate_transport::{Builder, HttpTransport, Resolve, Roots};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The host the peers' certificates are for.
pub(crate) const HOST: &str = "push.example.org";
/// Long enough that it never decides a test that passes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A listener with a certificate for [`HOST`] from an authority of its own.
pub(crate) struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    issuer: Issuer<'static, KeyPair>,
    roots: String,
}

/// An open connection.
pub(crate) struct Talk {
    pub(crate) stream: TlsStream<TcpStream>,
    bodies: HashMap<u32, Vec<u8>>,
    seen: VecDeque<Event>,
}

/// What has come from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A whole request, with its stream.
    Request(u32, String),
    /// A stream taken back.
    Reset(u32),
    /// A PING to answer.
    Ping([u8; 8]),
    /// An answer to a PING.
    Pong,
    /// The end of the connection.
    Closed,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        Self::with(&["h2", "http/1.1"], false).await
    }

    pub(crate) async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::on(listener, &["h2"], false)
    }

    /// With these protocols, and asking for a client certificate or not.
    pub(crate) async fn with(protocols: &[&str], asks_for_identity: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, protocols, asks_for_identity)
    }

    fn on(listener: TcpListener, protocols: &[&str], asks_for_identity: bool) -> Self {
        let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name of its own: with one name for all, another peer's authority would seem to have signed badly.
        ca.distinguished_name.push(DnType::CommonName, listener.local_addr().unwrap().to_string());
        let ca_key = KeyPair::generate().unwrap();
        let authority = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![HOST.to_owned(), "localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = if asks_for_identity {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = config.with_single_cert(vec![leaf.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), issuer, roots: authority.pem() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A client certificate of the peer's own authority, and its key.
    pub(crate) fn identity(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&key, &self.issuer);
        (made.unwrap().pem(), key.serialize_pem())
    }

    /// A transport that trusts this peer, and finds it under [`HOST`].
    pub(crate) fn builder(&self) -> Builder {
        HttpTransport::builder().roots(self.roots()).connect_to(HOST, self.address())
    }

    /// The same for two peers.
    pub(crate) fn builder_with(&self, other: &Self) -> Builder {
        self.builder().roots(Roots::Pem(format!("{}{}", self.roots, other.roots)))
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::Pem(self.roots.clone())
    }

    pub(crate) fn transport(&self) -> Arc<HttpTransport> {
        Arc::new(self.builder().build().unwrap())
    }

    /// The next connection, before anything is said.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Why the next connection does not come about.
    pub(crate) async fn accept_failing(&self) -> String {
        let (tcp, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(tcp).await.unwrap_err().to_string()
    }

    /// The next connection, with the client's preface read and this limit of streams announced.
    pub(crate) async fn accept(&self, most_streams: u32) -> Talk {
        self.accept_on(self.accept_tcp().await, most_streams).await
    }

    /// The next connection, after which the peer takes no others.
    pub(crate) async fn accept_last(self, most_streams: u32) -> Talk {
        let tcp = self.accept_tcp().await;
        let Self { listener, acceptor, .. } = self;
        drop(listener);
        let mut talk = Talk::begin(acceptor.accept(tcp).await.unwrap()).await;
        talk.limit(most_streams).await;
        talk
    }

    /// A connection before anything of HTTP is said.
    pub(crate) async fn accept_tls(&self) -> TlsStream<TcpStream> {
        self.acceptor.accept(self.accept_tcp().await).await.unwrap()
    }

    pub(crate) async fn accept_on(&self, tcp: TcpStream, most_streams: u32) -> Talk {
        let mut talk = self.accept_silently(tcp).await;
        talk.limit(most_streams).await;
        talk
    }

    /// With TLS and the client's preface behind it, and nothing said.
    pub(crate) async fn accept_silently(&self, tcp: TcpStream) -> Talk {
        Talk::begin(self.acceptor.accept(tcp).await.unwrap()).await
    }

    /// Whether a connection is waiting to be accepted.
    pub(crate) async fn is_called(&self) -> bool {
        let accepted = std::future::poll_fn(|cx| std::task::Poll::Ready(self.listener.poll_accept(cx))).await;
        accepted.is_ready()
    }
}

impl Talk {
    async fn begin(mut stream: TlsStream<TcpStream>) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Self { stream, bodies: HashMap::new(), seen: VecDeque::new() }
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // A client that has gone does not hear it; the tests see that by other signs.
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.flush().await;
    }

    /// SETTINGS with a limit of concurrent streams.
    pub(crate) async fn limit(&mut self, most_streams: u32) {
        let mut payload = 3u16.to_be_bytes().to_vec();
        payload.extend(most_streams.to_be_bytes());
        self.frame(SETTINGS, 0, 0, &payload).await;
    }

    pub(crate) async fn answer(&mut self, stream: u32, status: u16, body: &str) {
        self.answer_head(stream, status, &[]).await;
        self.end(stream, body).await;
    }

    /// The last piece of an answer's body.
    pub(crate) async fn end(&mut self, stream: u32, body: &str) {
        self.frame(DATA, END_STREAM, stream, body.as_bytes()).await;
    }

    /// An answer's head alone.
    pub(crate) async fn answer_head(&mut self, stream: u32, status: u16, headers: &[(&str, &str)]) {
        // HPACK literals without indexing (RFC 7541 §6.2.2); index 8 is the name `:status`.
        let mut block = vec![0x08, 3];
        block.extend(status.to_string().bytes());
        for (name, value) in headers {
            for text in [name, value] {
                if text == name {
                    block.push(0);
                }
                block.push(u8::try_from(text.len()).unwrap());
                block.extend(text.bytes());
            }
        }
        self.frame(HEADERS, END_HEADERS, stream, &block).await;
    }

    /// A piece of an answer's body, not the last.
    pub(crate) async fn data(&mut self, stream: u32, piece: &[u8]) {
        self.frame(DATA, 0, stream, piece).await;
    }

    pub(crate) async fn refuse(&mut self, stream: u32) {
        self.reset(stream, 7).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    pub(crate) async fn go_away(&mut self, last_stream: u32, code: u32, data: &[u8]) {
        let mut payload = last_stream.to_be_bytes().to_vec();
        payload.extend(code.to_be_bytes());
        payload.extend(data);
        self.frame(GOAWAY, 0, 0, &payload).await;
    }

    /// Asks for a sign of life: what the client had to say before has come when it answers.
    pub(crate) async fn ping(&mut self) {
        self.frame(PING, 0, 0, &[0; 8]).await;
    }

    pub(crate) async fn pong(&mut self, payload: [u8; 8]) {
        self.frame(PING, ACK, 0, &payload).await;
    }

    /// The next whole request; what else comes before it is kept for [`Self::event`].
    pub(crate) async fn request(&mut self) -> (u32, String) {
        loop {
            match self.read().await {
                Event::Request(stream, body) => return (stream, body),
                Event::Closed => panic!("the connection ended before a request came"),
                other => self.seen.push_back(other),
            }
        }
    }

    pub(crate) async fn requests(&mut self, number: usize) -> Vec<(u32, String)> {
        let mut requests = Vec::new();
        while requests.len() < number {
            requests.push(self.request().await);
        }
        requests
    }

    /// The next thing that comes.
    pub(crate) async fn event(&mut self) -> Event {
        match self.seen.pop_front() {
            Some(event) => event,
            None => self.read().await,
        }
    }

    /// Answers everything with 200 and the request's own body, until the connection ends.
    pub(crate) async fn echo(mut self) {
        loop {
            match self.event().await {
                Event::Request(stream, body) => self.answer(stream, 200, &body).await,
                Event::Ping(payload) => self.pong(payload).await,
                Event::Closed => return,
                Event::Reset(_) | Event::Pong => {}
            }
        }
    }

    async fn read(&mut self) -> Event {
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return Event::Closed;
            }
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            let mut payload = vec![0; length];
            if self.stream.read_exact(&mut payload).await.is_err() {
                return Event::Closed;
            }
            match (head[3], head[4]) {
                (SETTINGS, flags) if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]).await,
                (PING, flags) if flags & ACK == 0 => return Event::Ping(payload.try_into().unwrap()),
                (PING, _) => return Event::Pong,
                (RST_STREAM, _) => return Event::Reset(stream),
                (kind @ (HEADERS | DATA), flags) => {
                    let body = self.bodies.entry(stream).or_default();
                    if kind == DATA {
                        body.extend(payload);
                    }
                    if flags & END_STREAM != 0 {
                        let body = self.bodies.remove(&stream).unwrap_or_default();
                        return Event::Request(stream, String::from_utf8(body).unwrap());
                    }
                }
                _ => {}
            }
        }
    }
}

/// A POST to the peer.
pub(crate) fn post(body: &str) -> Request {
    Request::post(format!("https://{HOST}/push").parse::<Uri>().unwrap(), body.to_owned(), PATIENCE)
}

pub(crate) fn send(
    transport: &Arc<HttpTransport>,
    request: Request,
) -> JoinHandle<Result<Response, TransportError>> {
    let transport = Arc::clone(transport);
    tokio::spawn(async move { transport.send(request).await })
}

/// A resolver that says the same of every name.
pub(crate) struct Always(pub(crate) Vec<IpAddr>);

#[async_trait::async_trait]
impl Resolve for Always {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}
