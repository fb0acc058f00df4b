//! What a plugin does in its own process stays there: its deaths are faults with a hint, and it is started again.

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
use crate::house::PATIENCE;

/// What the death of a child gives those who wait for it.
async fn death(mode: &str) -> String {
    let bench = Bench::new();
    let channel = bench.open(mode).unwrap();
    let report = channel.send(&delivery(3)).await;
    assert_eq!(report.outcomes().len(), 3);
    let fault = report.outcomes()[2].fault().unwrap();
    assert_eq!((fault.kind, fault.scope), (Kind::ChannelDown, Scope::Lane), "{mode}: {}", fault.detail);
    assert!(fault.retry_after.is_some(), "{mode}: when to try again is said");
    // Another channel of the same plugin has a process of its own, and is well.
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
async fn its_requests_go_through_the_gateways_own_client() {
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
async fn a_crash_is_a_fault_with_a_hint_and_stays_in_its_process() {
    assert!(death("segfault").await.contains("signal 11 (segmentation fault)"));
    assert!(death("abort").await.contains("signal 6 (aborted)"));
    assert!(death("exit").await.contains("exit status 3"));
}

#[tokio::test]
async fn a_leak_ends_at_the_limit_of_its_process() {
    let bench = Bench::new();
    let limits = Limits { memory: 300 << 20, ..Limits::default() };
    let plugin = rogue(bench.folder.path());
    let channel = bench.open_with(plugin, limits, json!({"mode": "leak"})).unwrap();
    loop {
        let report = channel.send(&delivery(1)).await;
        let fault = report.outcomes()[0].fault().unwrap();
        if fault.kind == Kind::ChannelDown {
            assert!(fault.detail.contains("signal 6 (aborted)"), "{}", fault.detail);
            return;
        }
        // Filling memory takes its time on a busy machine.
        assert_eq!(fault.kind, Kind::Timeout);
    }
}

#[tokio::test]
async fn a_plugin_that_loops_is_answered_for_and_killed() {
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
async fn a_plugin_that_loops_while_rendering_holds_planning_up_once() {
    let bench = Bench::new();
    let channel = bench.open("render-loop").unwrap();
    let sample = delivery(1).message;
    let message =
        Message { link: None, thread: None, category: None, collapse_key: None, ..(*sample).clone() };
    let texts =
        [message.title.expose(), message.content.expose(), message.payload.as_ref().unwrap().expose()];
    let estimated: usize = texts.iter().map(|text| json!(text).to_string().len()).sum();
    let began = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(channel.render(&message).counted, estimated, "without the plugin the texts are counted");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    bench.lives(|lives| lives.risen == 2).await;
    assert_eq!(channel.send(&delivery(1)).await.outcomes()[0].code(), "accepted");
}

#[tokio::test]
async fn an_exception_that_leaves_the_plugin_ends_its_process_alone() {
    let bench = Bench::new();
    let plugin = compile("c++", &["-std=c++14"], &["host/tests/thrower.cpp"], bench.folder.path());
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
    let plugin = rogue(bench.folder.path());
    let channel = bench.open_with(plugin, limits, json!({"mode": "inspect-process"})).unwrap();
    let report = channel.send(&delivery(1)).await;
    assert_eq!(report.outcomes(), [Outcome::accepted("strange=0 ACME=yes HOME=-")]);
}

#[tokio::test]
async fn what_it_says_wrong_inside_is_the_same_outside() {
    for (mode, code) in
        [("few", "internal"), ("null", "internal"), ("never", "timeout"), ("twice", "accepted")]
    {
        let channel = Bench::new().open(mode).unwrap();
        let report = channel.send(&delivery(3)).await;
        assert!(report.outcomes().iter().all(|outcome| outcome.code() == code), "{mode}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_in_the_same_words_as_in_process() {
    let bench = Bench::new();
    let refused = |mode| bench.open(mode).map(|_| ()).unwrap_err();
    assert_eq!(refused("refuse"), LoadError::Refused("mode: this one is refused".to_owned()));
    assert!(refused("open-crash").to_string().contains("signal 6 (aborted)"));
    let text = bench.folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    let told = bench.open_with(text, Limits::default(), json!({})).map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("is not a shared library for this system"), "{told}");
}

#[tokio::test]
async fn a_plugin_that_dies_again_and_again_is_left_alone() {
    let bench = Bench::new();
    let channel = bench.open("segfault").unwrap();
    for death in 1.. {
        bench.lives(|lives| lives.risen == death).await;
        let report = channel.send(&delivery(1)).await;
        assert_eq!(report.outcomes()[0].fault().unwrap().kind, Kind::ChannelDown);
        bench.lives(|lives| lives.died == death).await;
        if bench.ear.lives.borrow().wait > Duration::from_secs(30) {
            assert_eq!(death, 5);
            break;
        }
    }
    let report = channel.send(&delivery(1)).await;
    let hint = report.outcomes()[0].fault().unwrap().retry_after.unwrap();
    assert!(hint > Duration::from_secs(50), "the breaker is open for a minute: {hint:?}");
}

#[tokio::test]
async fn a_plugin_that_wants_to_be_left_alone_for_ever_is_asked_again_tomorrow() {
    let channel = Bench::new().open("endless-pause").unwrap();
    let report = channel.send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!((fault.kind, fault.scope), (Kind::Throttled, Scope::Lane));
    assert_eq!(fault.retry_after, Some(Duration::from_secs(24 * 3600)));
}

#[tokio::test]
async fn an_attempt_at_such_a_plugin_is_written_down_and_its_lease_given_back() {
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
    // An attempt is told of after it is stored, so its lease is given back by then.
    let tried = async {
        loop {
            let receipt = receipts.recv().await.expect("the observer lives");
            if receipt.attempts > 0 {
                return receipt;
            }
        }
    };
    let receipt = timeout(PATIENCE, tried).await.expect("the attempt is settled");
    assert_eq!(receipt.fault.unwrap().kind, Kind::Throttled);
    gateway.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn options_nested_too_deep_are_the_messages_fault_and_end_no_process() {
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
    let lives = bench.ear.lives.borrow();
    assert_eq!((lives.risen, lives.died), (1, 0));
}

/// A vendor that answers nobody before it is told to.
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
    let plugin = compile("cc", &["-DTIMEOUT_MS=500000"], &["host/tests/rogue.c"], bench.folder.path());
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
    // Frames keep their order, so by the answer to this one the child has begun every request it may.
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
