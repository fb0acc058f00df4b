//! Cost of the plugin interface. Measures the same webhook channel as a crate, as a plugin in process and as a plugin in a
//! child process. The counterpart is an HTTP server on loopback, or a transport that responds at once. Prints a table.
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
use pushgate_plugin_host::{DefaultTelemetry, HostProcess, Isolation, Limits, Loader, OpenOptions, Source};
use pushgate_plugin_webhook::Signer;
use pushgate_transport::HttpTransport;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const SENDS: usize = 40_064;
const CONCURRENT_SENDS: usize = 128;
const ROUNDS: usize = 7;

/// The webhook sample as a channel that is compiled in.
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

/// Transport that responds at once.
struct AtOnce;

#[async_trait]
impl Transport for AtOnce {
    async fn send(&self, _request: Request) -> Result<Response, TransportError> {
        Ok(Response { status: StatusCode::NO_CONTENT, headers: HeaderMap::new(), body: Bytes::new() })
    }
}

/// Starts an HTTP server that accepts every request. Returns its URL.
async fn start_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    format!("http://{address}/push")
}

async fn serve(mut socket: TcpStream) {
    let mut received = Vec::new();
    loop {
        while let Some(end) = request_length(&received) {
            received.drain(..end);
            if socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                return;
            }
        }
        if !matches!(socket.read_buf(&mut received).await, Ok(1..)) {
            return;
        }
    }
}

/// Returns the length of the first request. `None` means that it is incomplete.
fn request_length(received: &[u8]) -> Option<usize> {
    let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&received[..head]).ok()?.to_ascii_lowercase();
    let length: usize = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    (received.len() >= head + length).then_some(head + length)
}

/// Measurements of one round.
#[derive(Clone, Copy, Default)]
struct Measurement {
    /// Sends per second.
    rate: f64,
    /// CPU time per send in microseconds, including the server's.
    cpu: f64,
}

async fn measure(channel: &Arc<dyn PushChannel>) -> Measurement {
    let delivery =
        Arc::new(sample::delivery(sample::message(), [sample::address("hook", TokenKind::Token, "bob")]));
    let (started_at, cpu_before) = (Instant::now(), cpu());
    let mut tasks = JoinSet::new();
    for _ in 0..CONCURRENT_SENDS {
        let (channel, delivery) = (Arc::clone(channel), Arc::clone(&delivery));
        tasks.spawn(async move {
            for _ in 0..SENDS / CONCURRENT_SENDS {
                let report = channel.send(&delivery).await;
                assert!(report.outcomes()[0].fault().is_none(), "{:?}", report.outcomes()[0]);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    Measurement {
        rate: SENDS as f64 / started_at.elapsed().as_secs_f64(),
        cpu: (cpu() - cpu_before) * 1e6 / SENDS as f64,
    }
}

fn open_plugin(isolation: Isolation, url: &str, transport: &Arc<dyn Transport>) -> Arc<dyn PushChannel> {
    let name =
        format!("{}pushgate_plugin_webhook{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let path = std::env::current_exe().unwrap().with_file_name(name);
    let loader = Loader::new(Arc::new(SystemClock), Arc::new(DefaultTelemetry::default()));
    let plugin = loader.load(&Source { path, sha256: None, isolation }).unwrap();
    let config = json!({"url": url, "secret": SECRET});
    let name = ChannelName::new("hook").unwrap();
    plugin.open(OpenOptions { name, config, transport: Arc::clone(transport) }).unwrap()
}

async fn compare(counterpart: &str, url: &str, transport: Arc<dyn Transport>) {
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
    let in_process = open_plugin(Isolation::None, url, &transport);
    let in_child = open_plugin(Isolation::Process(Limits::default()), url, &transport);
    // In rounds, so that a busy moment of the machine affects all variants. The first round warms up.
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let mut measurements = [Measurement::default(); 3];
        for (measurement, channel) in measurements.iter_mut().zip([&as_crate, &in_process, &in_child]) {
            *measurement = measure(channel).await;
        }
        rounds.push(measurements);
    }
    rounds.remove(0);
    for (variant, name) in ["crate", "in process", "child"].into_iter().enumerate() {
        let rates = spread(rounds.iter().map(|round| round[variant].rate));
        let cpu = spread(rounds.iter().map(|round| round[variant].cpu));
        let of_rate = spread(rounds.iter().map(|round| round[variant].rate / round[0].rate));
        let of_cpu = spread(rounds.iter().map(|round| round[0].cpu / round[variant].cpu));
        println!(
            "{counterpart:10} {name:10} {:>8.0}/s {:>6.2} us CPU   of the crate: {} by rate, {} by CPU",
            rates[1],
            cpu[1],
            shares(of_rate),
            shares(of_cpu)
        );
    }
}

fn shares([minimum, median, maximum]: [f64; 3]) -> String {
    format!("{median:.2} ({minimum:.2}–{maximum:.2})")
}

/// Returns the minimum, the median and the maximum.
fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [values[0], values[values.len() / 2], values[values.len() - 1]]
}

/// Returns the CPU time of this process and its children, in seconds. Other load on the machine does not change it.
fn cpu() -> f64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let children = std::fs::read_dir("/proc/self/task").unwrap().flatten().flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().map(ticks).collect::<Vec<_>>()
    });
    own.tv_sec as f64 + own.tv_nsec as f64 / 1e9 + children.sum::<u64>() as f64 / 100.0
}

/// Returns the CPU time of another process, in hundredths of a second.
fn ticks(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The fields follow the name in parentheses, which may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Returns the arguments of a child process. The benchmark starts its own program as the plugin host, as the gateway does.
fn host_process() -> Option<HostProcess> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == "plugin-host").then_some(())?;
    let path = PathBuf::from(arguments.next()?);
    let numbers: Vec<u64> = arguments.filter_map(|argument| argument.parse().ok()).collect();
    Some(HostProcess { path, sha256: None, memory: *numbers.first()?, open_files: *numbers.get(1)? })
}

fn main() -> ExitCode {
    if let Some(process) = host_process() {
        return process.run();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        compare("at once", "https://im.example/push", Arc::new(AtOnce)).await;
        let url = start_server().await;
        compare("loopback", &url, Arc::new(HttpTransport::builder().build().unwrap())).await;
    });
    ExitCode::SUCCESS
}
