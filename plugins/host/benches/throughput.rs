//! What the plugin interface costs: the same webhook channel as a crate, as a plugin in process, and in a child process,
//! against a receiver on loopback and against a transport that answers at once. One run, printed as a table.
//!
//! `cargo bench -p pushgate-plugin-host --bench throughput`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench has nobody to tell but its reader")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pushgate::{
    Capability, ChannelInfo, ChannelName, Clock, Delivery, Fault, Message, Outcome, Probe, PushChannel,
    Rendered, Report, Request, Response, SystemClock, TokenKind, Transport, TransportError,
};
use pushgate_kit::sample;
use pushgate_plugin_host::{Isolation, Limits, Loader, Opening, Role, Source, Told};
use pushgate_plugin_webhook::Signer;
use pushgate_transport::HttpTransport;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const SENDS: usize = 40_064;
const SIDE_BY_SIDE: usize = 128;
const TURNS: usize = 7;

/// The sample, written against core: what a crate would be.
struct AsCrate {
    info: ChannelInfo,
    url: http::Uri,
    signer: Signer,
    transport: Arc<dyn Transport>,
}

#[async_trait]
impl PushChannel for AsCrate {
    fn info(&self) -> &ChannelInfo {
        &self.info
    }
    fn render(&self, _message: &Message) -> Rendered {
        Rendered { body: json!(null), counted: 1 }
    }
    async fn send(&self, delivery: &Delivery) -> Report {
        let message = &delivery.message;
        let target = &delivery.targets[0];
        let body = json!({"type": "notification", "to": target.address.token.expose(), "data": {
            "id": message.id.to_string(), "app": message.app.as_str(), "title": message.title.expose(),
            "content": message.content.expose(), "priority": "high", "silent": message.silent,
            "expires_at": message.expires_at().as_millis(), "badge": message.badge,
            "payload": message.payload.as_ref().map(pushgate::Secret::expose),
            "link": message.link.as_ref().map(pushgate::Secret::expose), "thread": message.thread,
        }})
        .to_string();
        let id = format!("{}.{}", message.id, target.index);
        let seconds = SystemClock.now().as_secs();
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-signature", self.signer.signature(&id, seconds, &body)),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-id", id),
        ];
        let mut request = Request::post(self.url.clone(), body, self.info.timeout);
        request.headers.extend(
            headers
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())),
        );
        let outcome = match self.transport.send(request).await {
            Ok(response) if response.status.is_success() => Outcome::Accepted { vendor_id: None },
            Ok(response) => {
                Outcome::Failed(Fault::new(pushgate::Kind::VendorDown, response.status.to_string()))
            }
            Err(error) => Outcome::Failed(error.into()),
        };
        Report::new(1, vec![outcome])
    }
    async fn probe(&self) -> Result<Probe, Fault> {
        Ok(Probe { identity: String::new(), expires_at: None })
    }
}

/// Answers at once.
struct AtOnce;

#[async_trait]
impl Transport for AtOnce {
    async fn send(&self, _request: Request) -> Result<Response, TransportError> {
        Ok(Response { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() })
    }
}

/// A receiver that takes everything.
async fn receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(take(socket));
        }
    });
    format!("http://{address}/push")
}

async fn take(mut socket: TcpStream) {
    let mut read = Vec::new();
    loop {
        while let Some(end) = whole(&read) {
            read.drain(..end);
            if socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                return;
            }
        }
        if !matches!(socket.read_buf(&mut read).await, Ok(1..)) {
            return;
        }
    }
}

/// Where the first request ends, once it is all there.
fn whole(read: &[u8]) -> Option<usize> {
    let head = read.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&read[..head]).ok()?.to_ascii_lowercase();
    let length: usize = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    (read.len() >= head + length).then_some(head + length)
}

/// What one turn took.
#[derive(Clone, Copy, Default)]
struct Taken {
    /// Sends a second.
    rate: f64,
    /// Microseconds of processor time a send, the receiver's among them.
    cpu: f64,
}

async fn measured(channel: &Arc<dyn PushChannel>) -> Taken {
    let delivery =
        Arc::new(sample::delivery(sample::message(), [sample::address("hook", TokenKind::Token, "bob")]));
    let (began, before) = (Instant::now(), cpu());
    let mut tasks = JoinSet::new();
    for _ in 0..SIDE_BY_SIDE {
        let (channel, delivery) = (Arc::clone(channel), Arc::clone(&delivery));
        tasks.spawn(async move {
            for _ in 0..SENDS / SIDE_BY_SIDE {
                let report = channel.send(&delivery).await;
                assert!(report.outcomes()[0].fault().is_none(), "{:?}", report.outcomes()[0]);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    Taken { rate: SENDS as f64 / began.elapsed().as_secs_f64(), cpu: (cpu() - before) * 1e6 / SENDS as f64 }
}

fn plugged(isolation: Isolation, url: &str, transport: &Arc<dyn Transport>) -> Arc<dyn PushChannel> {
    let name =
        format!("{}pushgate_plugin_webhook{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = std::env::current_exe().unwrap().with_file_name(name);
    let loader = Loader::new(Arc::new(SystemClock), Arc::new(Told::default()));
    let plugin = loader.load(&Source { path, sha256: None, isolation }).unwrap();
    let config = json!({"url": url, "secret": SECRET});
    let name = ChannelName::new("hook").unwrap();
    plugin.open(Opening { name, config, transport: Arc::clone(transport) }).unwrap()
}

async fn compare(what: &str, url: &str, transport: Arc<dyn Transport>) {
    let info = ChannelInfo {
        kind: "hook",
        name: ChannelName::new("hook").unwrap(),
        timeout: Duration::from_secs(15),
        capability: Capability::BASIC,
    };
    let as_crate: Arc<dyn PushChannel> = Arc::new(AsCrate {
        info,
        url: url.parse().unwrap(),
        signer: Signer::new(KEY),
        transport: Arc::clone(&transport),
    });
    let in_process = plugged(Isolation::None, url, &transport);
    let in_child = plugged(Isolation::Process(Limits::default()), url, &transport);
    // In turns, so that a busy moment of the machine meets all of them; the first turn is for warming up.
    let mut turns = Vec::new();
    for _ in 0..=TURNS {
        let mut taken = [Taken::default(); 3];
        for (taken, channel) in taken.iter_mut().zip([&as_crate, &in_process, &in_child]) {
            *taken = measured(channel).await;
        }
        turns.push(taken);
    }
    turns.remove(0);
    for (which, name) in ["crate", "in process", "child"].into_iter().enumerate() {
        let rates = spread(turns.iter().map(|taken| taken[which].rate));
        let cpu = spread(turns.iter().map(|taken| taken[which].cpu));
        let of_rate = spread(turns.iter().map(|taken| taken[which].rate / taken[0].rate));
        let of_cpu = spread(turns.iter().map(|taken| taken[0].cpu / taken[which].cpu));
        println!(
            "{what:10} {name:10} {:>8.0}/s {:>6.2} us CPU   of the crate: {} by rate, {} by CPU",
            rates[1],
            cpu[1],
            shares(of_rate),
            shares(of_cpu)
        );
    }
}

fn shares([least, middle, most]: [f64; 3]) -> String {
    format!("{middle:.2} ({least:.2}–{most:.2})")
}

/// The least, the middle and the most.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// Processor time of this process and its children, in seconds. It does not grow when somebody else uses the machine.
fn cpu() -> f64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let children = std::fs::read_dir("/proc/self/task").unwrap().flatten().flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().map(ticks).collect::<Vec<_>>()
    });
    own.tv_sec as f64 + own.tv_nsec as f64 / 1e9 + children.sum::<u64>() as f64 / 100.0
}

/// Processor time of another process, in hundredths of a second.
fn ticks(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may have spaces in it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// A child of this very program is a plugin's host, as the gateway's own is.
fn role() -> Option<Role> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == "plugin-host").then_some(())?;
    let path = PathBuf::from(arguments.next()?);
    let numbers: Vec<u64> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    Some(Role { path, sha256: None, memory: *numbers.first()?, open_files: *numbers.get(1)? })
}

fn main() -> ExitCode {
    if let Some(role) = role() {
        return role.play();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        compare("at once", "https://im.example/push", Arc::new(AtOnce)).await;
        let url = receiver().await;
        compare("loopback", &url, Arc::new(HttpTransport::builder().build().unwrap())).await;
    });
    ExitCode::SUCCESS
}
