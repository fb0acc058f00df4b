//! Rendered messages through the transport: what is left of the rate of h2load, and what a push costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Uri};
use pushgate::{Request, Transport};
use pushgate_transport::{HttpTransport, Roots};

use crate::measure::{OUR_CORE, Taken, Watch, median, pin, quantile};
use crate::vendor::Vendor;
use crate::{Outcome, h2load};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Few pushes, one round, to test that it runs.
    #[arg(long)]
    smoke: bool,
    /// Rounds of h2load and ours in turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Pushes a round and side.
    #[arg(long, default_value_t = 300_000)]
    pushes: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 584)]
    bytes: usize,
}

/// Everything one push needs, cloned for each.
#[derive(Clone)]
struct Push {
    uri: Uri,
    headers: HeaderMap,
    body: bytes::Bytes,
}

pub(crate) fn run(options: &Options) -> Outcome {
    pin(OUR_CORE);
    let (rounds, pushes) = if options.smoke { (1, 2000) } else { (options.rounds, options.pushes) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let vendor = Vendor::start(500, Duration::ZERO)?;
    let push = Push::to(&vendor, options.bytes)?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), &push.body)?;

    println!(
        "egress: {} bytes a message, 2 connections x 500 streams, {rounds} rounds of {pushes}",
        options.bytes
    );
    println!("{:>12} {:>8} {:>12} {:>8} {:>8}", "h2load/s", "cpu us", "pushgate/s", "cpu us", "ratio");
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let Some(possible) = h2load::run(&push.uri.to_string(), &push.headers, file.path(), pushes)? else {
            println!("h2load is not installed (apt: nghttp2-client); ours alone");
            show(&[runtime.block_on(push.saturate(&vendor, pushes))?]);
            break;
        };
        let reached = runtime.block_on(push.saturate(&vendor, pushes))?;
        row(possible, reached);
        theirs.push(possible);
        ours.push(reached);
    }
    if rounds > 1 && !ours.is_empty() {
        println!("medians:");
        row(middle(&theirs), middle(&ours));
        let ratios =
            theirs.iter().zip(&ours).map(|(their, our)| our.pushes_per_second / their.pushes_per_second);
        println!("median of the ratios: {:.2}", median(ratios));
    }
    drop(vendor);
    runtime.block_on(few_in_flight(options))?;
    runtime.block_on(far_away(options))
}

/// Measures few pushes in flight, which show delays that a saturated connection hides, such as Nagle's algorithm and
/// timers.
async fn few_in_flight(options: &Options) -> Outcome {
    let vendor = Vendor::start(500, Duration::ZERO)?;
    let push = Push::to(&vendor, options.bytes)?;
    for in_flight in [1, 10] {
        let pushes = if options.smoke { 200 } else { 20_000 };
        let run = push.run(&push.transport(&vendor)?, in_flight, pushes).await?;
        let p99 = quantile(run.waits, 0.99) * 1e3;
        println!("{in_flight} in flight: {:.0}/s, p99 {p99:.2} ms", run.taken.pushes_per_second);
    }
    Ok(())
}

/// Measures a vendor with 50 ms latency and 100 streams per connection. The limit is 100 pushes per connection every
/// 50 ms.
async fn far_away(options: &Options) -> Outcome {
    let (connections, latency) = (10, Duration::from_millis(50));
    let vendor = Vendor::start(100, latency)?;
    let push = Push::to(&vendor, options.bytes)?;
    let transport = push.builder(&vendor)?.max_connections(connections).build()?;
    let pushes = if options.smoke { 2000 } else { 100_000 };
    let run = push.run(&Arc::new(transport), connections * 100, pushes).await?;
    let possible = (connections * 100) as f64 / latency.as_secs_f64();
    let share = run.taken.pushes_per_second / possible;
    let above = (quantile(run.waits, 0.99) - latency.as_secs_f64()) * 1e3;
    println!(
        "vendor at 50 ms, 10 connections x 100 streams: {share:.2} of what is possible, p99 {above:.1} ms above the vendor"
    );
    Ok(())
}

fn middle(taken: &[Taken]) -> Taken {
    Taken {
        pushes_per_second: median(taken.iter().map(|one| one.pushes_per_second)),
        cpu: median(taken.iter().map(|one| one.cpu)),
    }
}

fn row(possible: Taken, reached: Taken) {
    let ratio = reached.pushes_per_second / possible.pushes_per_second;
    println!(
        "{:>12.0} {:>8.2} {:>12.0} {:>8.2} {ratio:>8.2}",
        possible.pushes_per_second, possible.cpu, reached.pushes_per_second, reached.cpu
    );
}

fn show(taken: &[Taken]) {
    for one in taken {
        println!("{:>34.0} {:>8.2}", one.pushes_per_second, one.cpu);
    }
}

struct Run {
    taken: Taken,
    /// Seconds each push waited for its answer.
    waits: Vec<f64>,
}

impl Push {
    fn to(vendor: &Vendor, bytes: usize) -> Outcome<Self> {
        let port = vendor.address.port();
        let mut bearer = HeaderValue::try_from(format!("Bearer ya29.{}", "c".repeat(200)))?;
        bearer.set_sensitive(true);
        let json = HeaderValue::from_static("application/json");
        let message = r#"{"message":{"token":"","data":{"payload":""}}}"#;
        let filling = "x".repeat(bytes.saturating_sub(message.len()));
        Ok(Self {
            uri: format!("https://localhost:{port}/v1/projects/demo/messages:send").parse()?,
            headers: HeaderMap::from_iter([(AUTHORIZATION, bearer), (CONTENT_TYPE, json)]),
            body: message.replace(r#""payload":"""#, &format!(r#""payload":"{filling}""#)).into(),
        })
    }

    fn builder(&self, vendor: &Vendor) -> Outcome<pushgate_transport::Builder> {
        let host = self.uri.host().ok_or("no host")?;
        Ok(HttpTransport::builder().roots(Roots::Pem(vendor.roots.clone())).connect_to(host, vendor.address))
    }

    fn transport(&self, vendor: &Vendor) -> Outcome<Arc<HttpTransport>> {
        Ok(Arc::new(self.builder(vendor)?.max_connections(2).build()?))
    }

    async fn saturate(&self, vendor: &Vendor, pushes: usize) -> Outcome<Taken> {
        Ok(self.run(&self.transport(vendor)?, 1000, pushes).await?.taken)
    }

    /// Sends `pushes` with so many in flight at once.
    async fn run(&self, transport: &Arc<HttpTransport>, in_flight: usize, pushes: usize) -> Outcome<Run> {
        let left = Arc::new(AtomicUsize::new(pushes));
        let watch = Watch::ours();
        let senders: Vec<_> = (0..in_flight)
            .map(|_| tokio::spawn(self.clone().keep_sending(Arc::clone(transport), Arc::clone(&left))))
            .collect();
        let mut waits = Vec::with_capacity(pushes);
        for sender in senders {
            waits.extend(sender.await??);
        }
        Ok(Run { taken: watch.taken(pushes), waits })
    }

    async fn keep_sending(self, transport: Arc<HttpTransport>, left: Arc<AtomicUsize>) -> Outcome<Vec<f64>> {
        let mut waits = Vec::new();
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let mut request = Request::post(self.uri.clone(), self.body.clone(), Duration::from_secs(30));
            request.headers = self.headers.clone();
            let since = Instant::now();
            let response = transport.send(request).await?;
            waits.push(since.elapsed().as_secs_f64());
            if !response.status.is_success() {
                return Err(format!("the vendor answers {}", response.status).into());
            }
        }
        Ok(waits)
    }
}
