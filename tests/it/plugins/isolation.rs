//! Isolation of plugins in child processes: their crashes are faults with a retry delay, and they are restarted.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use pushgate::app::App;
use pushgate::observe::Event;
use pushgate::{
    AppId, Audience, ChannelName, Gateway, Kind, Message, Notification, Outcome, Request, Response, Scope,
    Transport, TransportError,
};
use pushgate_kit::transport::answer;
use pushgate_plugin_host::{Isolation, Limits, LoadError, OpenOptions, Source};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use super::{Bench, compile, delivery, rogue};
use crate::setup::MAX_WAIT;

/// Opens a channel whose child dies in `send`. Returns the detail of the fault.
async fn death(mode: &str) -> String {
    let bench = Bench::new();
    let channel = bench.open(mode).unwrap();
    let report = channel.send(&delivery(3)).await;
    assert_eq!(report.outcomes().len(), 3);
    let fault = report.outcomes()[2].fault().unwrap();
    assert_eq!((fault.kind, fault.scope), (Kind::ChannelDown, Scope::Lane), "{mode}: {}", fault.detail);
    assert!(fault.retry_after.is_some(), "{mode}: the fault has a retry delay");
    // Another channel of the same plugin has its own process and still works.
    let other = bench.open("well").unwrap();
    assert_eq!(other.send(&delivery(1)).await.outcomes()[0].code(), "accepted");
    fault.detail.clone()
}

#[tokio::test]
async fn an_isolated_plugin_sends_in_order_renders_and_probes() {
    let bench = Bench::new();
    let channel = bench.open("well").unwrap();
    let report = channel.send(&delivery(100)).await;
    for (i, outcome) in report.outcomes().iter().enumerate() {
        assert_eq!(*outcome, Outcome::accepted(format!("token-{i}")));
    }
    let rendered = channel.render(&delivery(1).message);
    assert_eq!((rendered.body, rendered.counted), (json!({"pieces": 2}), 30));
    let probe = channel.probe().await.unwrap();
    assert_eq!(
        (probe.identity.as_str(), probe.expires_at.unwrap().as_millis()),
        ("the rogue", 1_800_000_000_000)
    );
}

#[tokio::test]
async fn requests_of_an_isolated_plugin_use_the_gateways_client() {
    let bench = Bench::new();
    let channel = bench.open("http").unwrap();
    bench.transport.then(answer(200, "vendor-7"));
    assert_eq!(channel.send(&delivery(1)).await.outcomes(), [Outcome::accepted("vendor-7")]);
    let report = channel.send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!(fault.kind, Kind::Unreachable);
    assert!(fault.detail.contains("the script has no answer left"), "{}", fault.detail);
}

#[tokio::test]
async fn a_crash_is_a_fault_with_a_retry_delay_and_stays_in_its_process() {
    assert!(death("segfault").await.contains("signal 11 (segmentation fault)"));
    assert!(death("abort").await.contains("signal 6 (aborted)"));
    assert!(death("exit").await.contains("exit status 3"));
}

#[tokio::test]
async fn a_memory_leak_ends_at_the_limit_of_its_process() {
    let bench = Bench::new();
    let limits = Limits { memory: 300 << 20, ..Limits::default() };
    let plugin = rogue(bench.directory.path());
    let channel = bench.open_with(plugin, limits, json!({"mode": "leak"})).unwrap();
    loop {
        let report = channel.send(&delivery(1)).await;
        let fault = report.outcomes()[0].fault().unwrap();
        if fault.kind == Kind::ChannelDown {
            assert!(fault.detail.contains("signal 6 (aborted)"), "{}", fault.detail);
            return;
        }
        // Filling the memory may take longer than the timeout on a busy machine.
        assert_eq!(fault.kind, Kind::Timeout);
    }
}

#[tokio::test]
async fn a_plugin_in_an_endless_loop_times_out_and_is_killed() {
    let bench = Bench::new();
    let channel = bench.open("loop").unwrap();
    assert_eq!(channel.send(&delivery(1)).await.outcomes()[0].code(), "timeout");
    loop {
        let report = channel.send(&delivery(1)).await;
        let fault = report.outcomes()[0].fault().unwrap();
        if fault.kind == Kind::ChannelDown {
            assert!(fault.detail.contains("it did not answer for 5 s, and was killed"), "{}", fault.detail);
            return;
        }
    }
}

#[tokio::test]
async fn a_plugin_that_loops_while_rendering_delays_planning_once() {
    let bench = Bench::new();
    let channel = bench.open("render-loop").unwrap();
    let sample = delivery(1).message;
    let message =
        Message { link: None, thread: None, category: None, collapse_key: None, ..(*sample).clone() };
    let texts =
        [message.title.expose(), message.content.expose(), message.payload.as_ref().unwrap().expose()];
    let estimated: usize = texts.iter().map(|text| json!(text).to_string().len()).sum();
    let started_at = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(channel.render(&message).counted, estimated, "the estimate counts the texts");
    }
    assert!(started_at.elapsed() < Duration::from_secs(3), "{:?}", started_at.elapsed());
    bench.wait_for_events(|events| events.started == 2).await;
    assert_eq!(channel.send(&delivery(1)).await.outcomes()[0].code(), "accepted");
}

#[tokio::test]
async fn an_exception_that_leaves_the_plugin_ends_only_its_process() {
    let bench = Bench::new();
    let plugin = compile("c++", &["-std=c++14"], &["host/tests/thrower.cpp"], bench.directory.path());
    let channel = bench.open_with(plugin, Limits::default(), json!({})).unwrap();
    let report = channel.send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert!(fault.detail.contains("signal 6 (aborted)"), "{}", fault.detail);
}

#[tokio::test]
async fn closing_or_using_the_standard_streams_breaks_nothing() {
    for mode in ["stdout", "chatter"] {
        let channel = Bench::new().open(mode).unwrap();
        for _ in 0..3 {
            assert_eq!(channel.send(&delivery(2)).await.outcomes()[1].code(), "accepted", "{mode}");
        }
    }
}

#[tokio::test]
async fn a_child_has_no_descriptor_and_no_variable_but_what_it_was_given() {
    let bench = Bench::new();
    let limits = Limits { environment: vec![("ACME".to_owned(), "yes".to_owned())], ..Limits::default() };
    let plugin = rogue(bench.directory.path());
    let channel = bench.open_with(plugin, limits, json!({"mode": "inspect-process"})).unwrap();
    let report = channel.send(&delivery(1)).await;
    assert_eq!(report.outcomes(), [Outcome::accepted("strange=0 ACME=yes HOME=-")]);
}

#[tokio::test]
async fn invalid_completions_have_the_same_result_as_in_process() {
    for (mode, code) in
        [("few", "internal"), ("null", "internal"), ("never", "timeout"), ("twice", "accepted")]
    {
        let channel = Bench::new().open(mode).unwrap();
        let report = channel.send(&delivery(3)).await;
        assert!(report.outcomes().iter().all(|outcome| outcome.code() == code), "{mode}");
    }
}

#[tokio::test]
async fn errors_of_loading_and_opening_are_the_same_as_in_process() {
    let bench = Bench::new();
    let refused = |mode| bench.open(mode).map(|_| ()).unwrap_err();
    assert_eq!(refused("refuse"), LoadError::Refused("mode: this one is refused".to_owned()));
    assert!(refused("open-crash").to_string().contains("signal 6 (aborted)"));
    let text = bench.directory.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let told = bench.open_with(text, Limits::default(), json!({})).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("is not a shared library for this system"), "{told}");
}

#[tokio::test]
async fn repeated_deaths_open_the_circuit_breaker() {
    let bench = Bench::new();
    let channel = bench.open("segfault").unwrap();
    for death in 1.. {
        bench.wait_for_events(|events| events.started == death).await;
        let report = channel.send(&delivery(1)).await;
        assert_eq!(report.outcomes()[0].fault().unwrap().kind, Kind::ChannelDown);
        bench.wait_for_events(|events| events.died == death).await;
        if bench.telemetry.events.borrow().restart_delay > Duration::from_secs(30) {
            assert_eq!(death, 5);
            break;
        }
    }
    let report = channel.send(&delivery(1)).await;
    let hint = report.outcomes()[0].fault().unwrap().retry_after.unwrap();
    assert!(hint > Duration::from_secs(50), "the breaker is open for a minute: {hint:?}");
}

#[tokio::test]
async fn a_requested_pause_without_end_is_cut_to_a_day() {
    let channel = Bench::new().open("endless-pause").unwrap();
    let report = channel.send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!((fault.kind, fault.scope), (Kind::Throttled, Scope::Lane));
    assert_eq!(fault.retry_after, Some(Duration::from_secs(24 * 3600)));
}

#[tokio::test]
async fn an_attempt_with_such_a_pause_is_stored_and_its_lease_released() {
    let bench = Bench::new();
    let demo = AppId::new("demo").unwrap();
    let (seen, mut receipts) = mpsc::unbounded_channel();
    let gateway = Gateway::builder()
        .app(demo.clone(), App::default().install(bench.open("endless-pause").unwrap(), 16))
        .observer(move |event: &Event| {
            if let Event::Receipt { receipt, .. } = event {
                // The test may have ended.
                let _ = seen.send(receipt.clone());
            }
        })
        .start()
        .await
        .unwrap();
    let to = Audience::Addresses(delivery(1).targets.into_iter().map(|target| target.address).collect());
    gateway.submit(Notification::new(demo, to).title("Ann").content("hello")).await.unwrap();
    // The event follows the storing of the attempt, so the lease is released by then.
    let tried = async {
        loop {
            let receipt = receipts.recv().await.expect("the observer lives");
            if receipt.attempts > 0 {
                return receipt;
            }
        }
    };
    let receipt = timeout(MAX_WAIT, tried).await.expect("the attempt is settled");
    assert_eq!(receipt.fault.unwrap().kind, Kind::Throttled);
    gateway.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn options_nested_too_deep_are_a_bad_message_and_end_no_process() {
    let bench = Bench::new();
    let channel = bench.open("well").unwrap();
    for (levels, code) in
        [(100, "accepted"), (101, "bad_message"), (125, "bad_message"), (1000, "bad_message")]
    {
        let mut delivery = delivery(2);
        let message = Arc::make_mut(&mut delivery.message);
        message.overrides = Some((0..levels).fold(json!(1), |below, _| Value::Array(vec![below])));
        assert!(channel.render(message).counted > 0);
        let report = channel.send(&delivery).await;
        assert_eq!(report.outcomes()[1].code(), code, "{levels} levels");
    }
    let events = bench.telemetry.events.borrow();
    assert_eq!((events.started, events.died), (1, 0));
}

/// Transport that holds back all responses until it is released.
#[derive(Default)]
struct Slow {
    under_way: AtomicUsize,
    most: AtomicUsize,
    open: Notify,
    is_open: AtomicBool,
}

#[async_trait]
impl Transport for Slow {
    async fn send(&self, _request: Request) -> Result<Response, TransportError> {
        let under_way = self.under_way.fetch_add(1, Ordering::AcqRel) + 1;
        self.most.fetch_max(under_way, Ordering::AcqRel);
        let opened = self.open.notified();
        if !self.is_open.load(Ordering::Acquire) {
            opened.await;
        }
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        Ok(answer(200, "vendor-7"))
    }
}

#[tokio::test]
async fn requests_beyond_the_memory_of_one_child_wait_their_turn_in_it_and_none_is_lost() {
    const SENDS: usize = 5000;
    let bench = Bench::new();
    let plugin = compile("cc", &["-DTIMEOUT_MS=500000"], &["host/tests/rogue.c"], bench.directory.path());
    let source = Source { path: plugin, sha256: None, isolation: Isolation::Process(Limits::default()) };
    let vendor = Arc::new(Slow::default());
    let opening = OpenOptions {
        name: ChannelName::new("acme").unwrap(),
        config: json!({"mode": "http"}),
        transport: Arc::clone(&vendor) as Arc<dyn Transport>,
    };
    let channel = bench.loader.load(&source).unwrap().open(opening).unwrap();
    let (begun, mut all_begun) = watch::channel(0);
    let sends: Vec<_> = (0..SENDS)
        .map(|_| {
            let (channel, begun) = (Arc::clone(&channel), begun.clone());
            tokio::spawn(async move {
                let delivery = delivery(1);
                let mut send = channel.send(&delivery);
                let first = poll_fn(|context| Poll::Ready(send.as_mut().poll(context))).await;
                assert!(first.is_pending());
                begun.send_modify(|begun| *begun += 1);
                send.await
            })
        })
        .collect();
    all_begun.wait_for(|begun| *begun == SENDS).await.unwrap();
    // Frames keep their order. When this one is completed, the child has started all requests that its limit allows.
    channel.probe().await.unwrap();
    let most = vendor.most.load(Ordering::Acquire);
    assert!(
        (1024..=2048).contains(&most),
        "128 MiB are 2,048 answers of 64 KiB; {most} requests are under way"
    );
    vendor.is_open.store(true, Ordering::Release);
    vendor.open.notify_waiters();
    for send in sends {
        assert_eq!(send.await.unwrap().outcomes(), [Outcome::accepted("vendor-7")]);
    }
    assert!(vendor.most.load(Ordering::Acquire) <= 2048);
}
