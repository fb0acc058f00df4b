//! Client of the tests: the `h2` crate on a socket of its own, and an application server's part of Google's OAuth 2.0.

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

/// Timeout for events that are certain to happen.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) async fn emulator() -> Emulator {
    Emulator::start(Options::default()).await.unwrap()
}

/// Opens a TLS connection that offers these ALPN protocols.
pub(crate) async fn tls(url: &str, ca_pem: &str, alpn: &[&str]) -> TlsStream<TcpStream> {
    tls_with_certificate(None, url, ca_pem, alpn).await.unwrap()
}

/// Opens a TLS connection, with a client certificate if one is given. The server may refuse it.
pub(crate) async fn tls_with_certificate(
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

/// Response to a request that is already sent.
pub(crate) type PendingResponse = Pin<Box<dyn Future<Output = Result<Response, h2::Error>> + Send>>;

/// HTTP/2 connection.
pub(crate) struct Client {
    pub(crate) send: SendRequest<Bytes>,
    /// Completes when the connection has ended.
    pub(crate) ended: JoinHandle<Result<(), h2::Error>>,
    authority: String,
}

/// Response with its whole body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(emulator: &Emulator) -> Self {
        Self::connect_to(&emulator.url(), emulator.ca_pem(), None).await
    }

    /// Connects to a URL, with a client certificate or without.
    pub(crate) async fn connect_to(url: &str, ca_pem: &str, certificate: Option<&str>) -> Self {
        Self::with_stream(tls_with_certificate(certificate, url, ca_pem, &["h2"]).await.unwrap(), url).await
    }

    /// Starts HTTP/2 on an existing TLS connection.
    pub(crate) async fn with_stream(stream: TlsStream<TcpStream>, url: &str) -> Self {
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let ended = tokio::spawn(connection);
        Self { send, ended, authority: url.to_owned() }
    }

    /// Waits until the peer's SETTINGS announce this limit of streams. Before that a client may open any number.
    pub(crate) async fn wait_for_stream_limit(&self, streams: usize) {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while self.send.current_max_send_streams() != streams {
            assert!(tokio::time::Instant::now() < deadline, "no limit of {streams} came");
            tokio::task::yield_now().await;
        }
    }

    /// Sends a POST request at once. The returned future resolves to the response.
    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> PendingResponse {
        self.request(http::Method::POST, path, headers, body.into())
    }

    /// Sends a request with another method and without a body.
    pub(crate) fn request_without_body(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> PendingResponse {
        self.request(method, path, headers, Bytes::new())
    }

    fn request(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> PendingResponse {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.authority));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, body, mut send) = (request.body(()).unwrap(), body, self.send.clone());
        let sent = send.send_request(request, body.is_empty()).and_then(|(response, mut stream)| {
            if !body.is_empty() {
                stream.send_data(body, true)?;
            }
            Ok(response)
        });
        Box::pin(async move {
            let (head, mut body) = sent?.await?.into_parts();
            let mut content = Vec::new();
            while let Some(chunk) = body.data().await {
                content.extend_from_slice(&chunk?);
            }
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body: content.into() })
        })
    }
}

/// Application server with a bearer, a connection, and the device `bob` to send to.
pub(crate) struct AppServer {
    pub(crate) emulator: Emulator,
    pub(crate) client: Client,
    pub(crate) device: FcmDevice,
    pub(crate) bearer: String,
}

impl AppServer {
    pub(crate) async fn new() -> Self {
        Self::with_emulator(emulator().await).await
    }

    pub(crate) async fn with_emulator(emulator: Emulator) -> Self {
        let client = Client::connect(&emulator).await;
        let device = emulator.fcm().add_device("bob", Platform::Web).unwrap();
        let bearer = bearer(&client, &emulator).await;
        Self { emulator, client, device, bearer }
    }

    /// Returns a valid message to bob.
    pub(crate) fn valid_message(&self) -> Value {
        json!({"message": {"token": self.device.token, "notification": {"title": "Ann", "body": "hello"}}})
    }

    pub(crate) fn send(&self, request: &Value) -> PendingResponse {
        self.send_on(&self.client, request)
    }

    pub(crate) fn send_on(&self, client: &Client, request: &Value) -> PendingResponse {
        let bearer = format!("Bearer {}", self.bearer);
        client.post(SEND, &[("authorization", &bearer)], request.to_string())
    }

    /// Returns the number of notifications that bob shows.
    pub(crate) fn shown_count(&self) -> usize {
        self.emulator.fcm().inbox("bob").unwrap().len()
    }
}

pub(crate) const SEND: &str = "/v1/projects/demo/messages:send";

pub(crate) async fn bearer(client: &Client, emulator: &Emulator) -> String {
    let response = request_token(client, &assertion(emulator, &json!({}))).await;
    response.json()["access_token"].as_str().unwrap().to_owned()
}

/// Requests a bearer with an assertion.
pub(crate) async fn request_token(client: &Client, assertion: &str) -> Response {
    let form =
        format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
    let content_type = ("content-type", "application/x-www-form-urlencoded");
    client.post("/token", &[content_type], form).await.unwrap()
}

/// Returns the signed assertion of the service account, with some claims changed.
pub(crate) fn assertion(emulator: &Emulator, changed: &Value) -> String {
    let account: Value = serde_json::from_str(&emulator.service_account_json()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({"iss": account["client_email"], "aud": account["token_uri"], "iat": now, "exp": now + 3600,
        "scope": "https://www.googleapis.com/auth/firebase.messaging"});
    claims.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]});
    let base64url = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", base64url(&header), base64url(&claims));
    let pem: String =
        account["private_key"].as_str().unwrap().lines().filter(|l| !l.starts_with('-')).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).unwrap()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}
