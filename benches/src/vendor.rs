//! A vendor that costs next to nothing: HTTP/2 over TLS, the same answer to everybody, after a while if wanted. A process of
//! its own on a core of its own, so that the side that is measured is the one that is busy.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::Outcome;
use crate::measure::{VENDOR_CORE, pin};
use crate::wire::{Frames, answer, greet};

/// Read as a token by those who ask for one, and as the name of a message by those who send.
const ANSWER: &[u8] =
    br#"{"name":"projects/demo/messages/0:1","access_token":"ya29.bench","expires_in":3599}"#;

/// How the vendor behaves.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Options {
    /// Streams a connection may have.
    #[arg(long, default_value_t = 500)]
    streams: u32,
    /// Milliseconds until it answers.
    #[arg(long, default_value_t = 0)]
    latency: u64,
}

/// A running vendor; killed when dropped.
pub(crate) struct Vendor {
    process: Child,
    pub(crate) address: SocketAddr,
    /// The certificate to trust, PEM.
    pub(crate) roots: String,
}

impl Vendor {
    /// Starts one: streams a connection, and the time it takes to answer.
    pub(crate) fn start(streams: u32, latency: Duration) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([
                "vendor",
                "--streams",
                &streams.to_string(),
                "--latency",
                &latency.as_millis().to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let said = process.stdout.take().ok_or("the vendor says nothing")?;
        let mut lines = BufReader::new(said).lines();
        let address = lines.next().ok_or("the vendor has not started")??.parse()?;
        let roots =
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        Ok(Self { process, address, roots })
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill and nothing to wait for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process itself: says its address and its certificate, and serves until it is killed.
pub(crate) fn run(options: &Options) -> Outcome {
    pin(VENDOR_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let made = generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}\n{}", listener.local_addr()?, made.cert.pem().trim_end());
        println!();
        std::io::stdout().flush()?;
        loop {
            let (tcp, _) = listener.accept().await?;
            tokio::spawn(serve(tcp, acceptor.clone(), *options));
        }
    })
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, options: Options) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream = acceptor.accept(tcp).await?;
    let latency = Duration::from_millis(options.latency);
    let (mut input, mut out) = (BytesMut::with_capacity(1 << 16), BytesMut::with_capacity(1 << 16));
    let mut frames = Frames::default();
    // All wait equally long, so those who came first are due first.
    let mut due: VecDeque<(Instant, u32)> = VecDeque::new();
    greet(options.streams, &mut out);
    loop {
        if !out.is_empty() {
            stream.write_all(&out).await?;
            stream.flush().await?;
            out.clear();
        }
        let first = due.front().map(|(at, _)| *at);
        tokio::select! {
            read = stream.read_buf(&mut input) => {
                if read? == 0 {
                    return Ok(());
                }
                let at = Instant::now() + latency;
                frames.read(&mut input, &mut out, |id, out| {
                    if latency.is_zero() { answer(id, ANSWER, out) } else { due.push_back((at, id)) }
                })?;
            }
            () = tokio::time::sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {
                let now = Instant::now();
                while let Some((_, id)) = due.pop_front_if(|(at, _)| *at <= now) {
                    answer(id, ANSWER, &mut out);
                }
            }
        }
    }
}
