//! What the tests ask with: the `h2` crate on a socket of its own, and an app server's part of Google's OAuth2.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use h2::client::SendRequest;
use pushgate_emulator::{Emulator, FcmDevice, Options, Platform};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Long enough for anything that is going to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn emulator() -> Emulator {
    Emulator::start(Options::default()).await.unwrap()
}

/// A TLS connection that offers these protocols.
pub(crate) async fn tls(url: &str, ca_pem: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
    tls_as(None, url, ca_pem, alpn).await.unwrap()
}

/// The same for one who shows a certificate, or may be refused.
pub(crate) async fn tls_as(
    certificate: Option<&str>,
    url: &str,
    ca_pem: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let address = url.strip_prefix("https://").unwrap();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// A request on its way.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Result<Answer, h2::Error>> + Send>>;

/// An HTTP/2 connection.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    pub(crate) ended: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        Self::at(&emulator.url(), emulator.ca_pem(), None).await
    }

    /// Anywhere, with a certificate or without.
    pub(crate) async fn at(url: &str, ca_pem: &str, certificate: Option<&str>) -> Self {
        Self::on(tls_as(certificate, url, ca_pem, &["h2"]).await.unwrap(), url).await
    }

    /// On a TLS connection that there is already.
    pub(crate) async fn on(stream: TlsStream<TcpStream>, url: &str) -> Self {
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let ended = tokio::spawn(connection);
        Self { send, ended, authority: url.to_owned() }
    }

    /// Once the peer's settings have come: until then a client may open as many streams as it likes.
    pub(crate) async fn knows_limit(&self, streams: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.send.current_max_send_streams() != streams {
            assert!(tokio::time::Instant::now() < deadline, "no limit of {streams} came");
            tokio::task::yield_now().await;
        }
    }

    /// Sends a request now; the answer comes when it is awaited.
    pub(crate) fn ask(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Asked {
        self.request(http::Method::POST, path, headers, body.into())
    }

    /// The same with another method, and no body.
    pub(crate) fn method(&self, method: http::Method, path: &str, headers: &[(&str, &str)]) -> Asked {
        self.request(method, path, headers, Bytes::new())
    }

    fn request(&self, method: http::Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Asked {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.authority));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, body, mut send) = (request.body(()).unwrap(), body, self.send.clone());
        let sent = send.send_request(request, body.is_empty()).and_then(|(answer, mut stream)| {
            if !body.is_empty() {
                stream.send_data(body, true)?;
            }
            Ok(answer)
        });
        Box::pin(async move {
            let (head, mut body) = sent?.await?.into_parts();
            let mut all = Vec::new();
            while let Some(chunk) = body.data().await {
                all.extend_from_slice(&chunk?);
            }
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: all.into() })
        })
    }
}

/// An app server: a bearer, a connection, a device to send to.
pub(crate) struct App {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) device: FcmDevice,
    pub(crate) bearer: String,
}

impl App {
    pub(crate) async fn new() -> Self {
        Self::of(emulator().await).await
    }

    pub(crate) async fn of(emulator: Emulator) -> Self {
        let client = Client::connect(&emulator).await;
        let device = emulator.fcm().add_device("bob", Platform::Web).unwrap();
        let bearer = bearer(&client, &emulator).await;
        Self { emulator, client, device, bearer }
    }

    /// A message to bob.
    pub(crate) fn hello(&self) -> Value {
        json!({"message": {"token": self.device.token, "notification": {"title": "Ann", "body": "hello"}}})
    }

    pub(crate) fn send(&self, request: &Value) -> Asked {
        self.send_on(&self.client, request)
    }

    pub(crate) fn send_on(&self, client: &Client, request: &Value) -> Asked {
        let bearer = format!("Bearer {}", self.bearer);
        client.ask(SEND, &[("authorization", &bearer)], request.to_string())
    }

    /// How many notifications bob sees.
    pub(crate) fn seen(&self) -> usize {
        self.emulator.fcm().inbox("bob").unwrap().len()
    }
}

pub(crate) const SEND: &str = "/v1/projects/demo/messages:send";

pub(crate) async fn bearer(client: &Client, emulator: &Emulator) -> String {
    let answer = token(client, &assertion(emulator, &json!({}))).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

pub(crate) async fn token(client: &Client, assertion: &str) -> Answer {
    let form =
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
    let kind = ("content-type", "application/x-www-form-urlencoded");
    client.ask("/token", &[kind], form).await.unwrap()
}

/// The signed assertion of an app server, with some claims changed.
pub(crate) fn assertion(emulator: &Emulator, changed: &Value) -> String {
    let account: Value = serde_json::from_str(&emulator.service_account_json()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({"iss": account["client_email"], "aud": account["token_uri"], "iat": now, "exp": now + 3600,
        "scope": "https://www.googleapis.com/auth/firebase.messaging"});
    claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&header), part(&claims));
    let pem: String =
        account["private_key"].as_str().unwrap().lines().filter(|l| !l.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).unwrap()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
