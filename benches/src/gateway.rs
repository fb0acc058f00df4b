//! A whole gateway in one process, on one core: submit, store, plan, send, settle. Durable beside in memory, notifications
//! to one user beside notifications to five hundred.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pushgate::observe::Event;
use pushgate::{
    Address, AppId, Audience, ChannelName, Device, DeviceId, Gateway, Notification, Platform, Selector,
    State, SystemClock, TokenKind, Traits, UserId,
};
use pushgate_fcm::{Config, Fcm};
use pushgate_sqlite::SqliteStore;
use pushgate_transport::{HttpTransport, Roots};
use tokio::sync::Notify;

use crate::Outcome;
use crate::measure::{OUR_CORE, Taken, Watch, median, pin, quantile};
use crate::vendor::Vendor;

/// Pushes in flight at once: a busy lane.
const IN_FLIGHT: usize = 1000;
/// Timeout after which a bench fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Few pushes, one round, to test that it runs.
    #[arg(long)]
    smoke: bool,
    /// Rounds of each store in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Pushes a round and store.
    #[arg(long, default_value_t = 50_000)]
    pushes: usize,
    /// Milliseconds until the vendor answers.
    #[arg(long, default_value_t = 0)]
    latency: u64,
}

/// Store of the gateway under measurement.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Durable,
    InMemory,
}

struct Run {
    taken: Taken,
    /// Milliseconds from submit to the vendor's answer, all but one in a hundred.
    p99: f64,
}

pub(crate) fn run(options: &Options) -> Outcome {
    pin(OUR_CORE);
    let (rounds, pushes) = if options.smoke { (1, 2000) } else { (options.rounds, options.pushes) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let vendor = Vendor::start(100, Duration::from_millis(options.latency))?;
    let account = service_account(&vendor)?;
    println!("gateway on one core, vendor at {} ms, {rounds} rounds of {pushes}", options.latency);
    println!("{:>12} {:>10} {:>10} {:>8} {:>8}", "recipients", "kept", "pushes/s", "cpu us", "p99 ms");
    for recipients in [1, 500] {
        let (mut durable, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            for (kept, runs) in [(Kept::Durable, &mut durable), (Kept::InMemory, &mut memory)] {
                let stage = runtime.block_on(Stage::set(&vendor, &account, kept, recipients))?;
                runs.push(runtime.block_on(stage.play(pushes))?);
            }
        }
        for (kept, runs) in [(Kept::Durable, &durable), (Kept::InMemory, &memory)] {
            let run = middle(runs);
            let (rate, cpu) = (run.taken.pushes_per_second, run.taken.cpu);
            println!("{recipients:>12} {:>10} {rate:>10.0} {cpu:>8.2} {:>8.1}", format!("{kept:?}"), run.p99);
        }
        let ratios =
            durable.iter().zip(&memory).map(|(d, m)| d.taken.pushes_per_second / m.taken.pushes_per_second);
        let added = durable.iter().zip(&memory).map(|(d, m)| d.taken.cpu - m.taken.cpu);
        println!(
            "{:>12} durable over in memory: {:.2}, CPU added {:.1} us",
            "",
            median(ratios),
            median(added)
        );
    }
    Ok(())
}

fn middle(runs: &[Run]) -> Run {
    Run {
        taken: Taken {
            pushes_per_second: median(runs.iter().map(|run| run.taken.pushes_per_second)),
            cpu: median(runs.iter().map(|run| run.taken.cpu)),
        },
        p99: median(runs.iter().map(|run| run.p99)),
    }
}

/// Generates a service account, so that the repository contains no key.
fn service_account(vendor: &Vendor) -> Outcome<String> {
    let key = KeyPair::generate(KeySize::Rsa2048)?;
    let der: Pkcs8V1Der<'_> = key.as_der()?;
    let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    Ok(serde_json::json!({
        "type": "service_account",
        "project_id": "demo",
        "client_email": "push@demo.iam.gserviceaccount.com",
        "private_key": format!("{begin}\n{}\n{end}\n", STANDARD.encode(der.as_ref())),
        "token_uri": format!("https://localhost:{}/token", vendor.address.port()),
    })
    .to_string())
}

/// A gateway with registered devices, and those who send through it: each to users of his own.
struct Stage {
    gateway: Gateway,
    senders: Arc<[Sender]>,
    recipients: usize,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Sender {
    arrived: AtomicUsize,
    all: Notify,
}

impl Stage {
    async fn set(vendor: &Vendor, account: &str, kept: Kept, recipients: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let transport = HttpTransport::builder()
            .roots(Roots::Pem(vendor.roots.clone()))
            .connect_to("localhost", vendor.address)
            .build()?;
        let base_url = format!("https://localhost:{}", vendor.address.port());
        let channel = ChannelName::new("fcm")?;
        let config = Config { base_url, ..Config::new(account) };
        let fcm = Fcm::new(channel.clone(), &config, Arc::new(transport), Arc::new(SystemClock))?;
        // Two batches for each place in flight, so that the lane never waits for whoever submits.
        let number = (2 * IN_FLIGHT / recipients).min(IN_FLIGHT);
        let senders: Arc<[Sender]> = (0..number).map(|_| Sender::default()).collect();
        let told = Arc::clone(&senders);
        let mut builder = Gateway::builder()
            .channel(fcm)
            .route(Selector::platform(Platform::Web), [channel.clone()])
            .observer(move |event: &Event| tell(&told, recipients, event));
        if let Kept::Durable = kept {
            builder = builder.store(SqliteStore::open(folder.path().join("bench.db"))?);
        }
        let gateway = builder.start().await?;
        for user in 0..number * recipients {
            let token = format!("{user:0>140}");
            let device = Device {
                app: AppId::new("demo")?,
                id: DeviceId::new(&format!("d{user}"))?,
                user: Some(UserId::new(&user.to_string())?),
                traits: Traits::of(Platform::Web),
                addresses: vec![Address {
                    channel: channel.clone(),
                    kind: TokenKind::Token,
                    token: token.into(),
                }],
                registered_at: gateway.now(),
            };
            gateway.register(device).await?;
        }
        Ok(Self { gateway, senders, recipients, _folder: folder })
    }

    async fn play(self, pushes: usize) -> Outcome<Run> {
        let left = Arc::new(AtomicUsize::new(pushes.div_ceil(self.recipients)));
        let watch = Watch::ours();
        let senders: Vec<_> = (0..self.senders.len())
            .map(|number| {
                let (gateway, senders) = (self.gateway.clone(), Arc::clone(&self.senders));
                tokio::spawn(keep_sending(gateway, senders, number, self.recipients, Arc::clone(&left)))
            })
            .collect();
        let mut waits = Vec::new();
        for sender in senders {
            waits.extend(sender.await??);
        }
        let taken = watch.taken(pushes.div_ceil(self.recipients) * self.recipients);
        self.gateway.shutdown(Duration::from_secs(5)).await;
        Ok(Run { taken, p99: quantile(waits, 0.99) * 1e3 })
    }
}

/// Counts arrived pushes, and wakes a sender after the last one of its notification.
fn tell(senders: &[Sender], recipients: usize, event: &Event) {
    let Event::Receipt { receipt, .. } = event else { return };
    let user = receipt.user.as_ref().and_then(|user| user.as_str().parse::<usize>().ok());
    let Some(sender) = user.and_then(|user| senders.get(user / recipients)) else { return };
    if receipt.state == State::Sent && sender.arrived.fetch_add(1, Ordering::Relaxed) + 1 == recipients {
        sender.arrived.store(0, Ordering::Relaxed);
        sender.all.notify_one();
    }
}

async fn keep_sending(
    gateway: Gateway,
    senders: Arc<[Sender]>,
    number: usize,
    recipients: usize,
    left: Arc<AtomicUsize>,
) -> Outcome<Vec<f64>> {
    let first = number * recipients;
    let users: Vec<_> =
        (first..first + recipients).map(|user| UserId::new(&user.to_string())).collect::<Result<_, _>>()?;
    let mut waits = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let notification = Notification::new(AppId::new("demo")?, Audience::Users(users.clone()))
            .title("Ann")
            .content("See you at the station at half past seven, the one with the clock. Bring the tickets!")
            .payload(r#"{"conversation":"c-18231","sender":"ann","sequence":48213,"kind":"text"}"#);
        let since = Instant::now();
        gateway.submit(notification).await?;
        let arrived = tokio::time::timeout(PATIENCE, senders[number].all.notified()).await;
        arrived.map_err(|_| "a notification has not been sent in time; is the machine that busy?")?;
        waits.push(since.elapsed().as_secs_f64());
    }
    Ok(waits)
}
