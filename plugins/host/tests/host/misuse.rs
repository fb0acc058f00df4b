//! Violations of the plugin contract become faults, metrics and log lines. They never crash the host or lose a delivery.

use std::sync::Arc;

use pushgate::{Kind, PushChannel};
use pushgate_kit::transport::answer;
use pushgate_plugin_host::Misuse;

use crate::kit::{Bench, BuiltPlugin, delivery, source};

struct Rogue {
    bench: Bench,
    channel: Arc<dyn PushChannel>,
}

impl Rogue {
    fn new(mode: &str) -> Self {
        let (bench, built) = (Bench::new(), BuiltPlugin::rogue(&[]));
        let plugin = bench.loader.load(&source(built.path())).unwrap();
        let channel = bench.open(&plugin, mode).unwrap();
        Self { bench, channel }
    }

    /// Sends a delivery to so many addresses and returns the codes of its outcomes.
    async fn send_codes(&self, addresses: usize) -> Vec<&'static str> {
        self.channel
            .send(&delivery(addresses))
            .await
            .outcomes()
            .iter()
            .map(|outcome| outcome.code())
            .collect()
    }

    fn misuses(&self, misuse: Misuse) -> u64 {
        self.bench.telemetry.misuses(misuse)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_completed_times_out_at_the_deadline() {
    let rogue = Rogue::new("never");
    let report = rogue.channel.send(&delivery(3)).await;
    assert_eq!(report.outcomes().len(), 3);
    assert!(report.outcomes().iter().all(|outcome| outcome.fault().unwrap().kind == Kind::Timeout));
    assert_eq!(rogue.misuses(Misuse::Never), 1);
}

#[tokio::test(start_paused = true)]
async fn a_completion_after_the_deadline_is_counted_and_ignored() {
    let rogue = Rogue::new("late");
    assert_eq!(rogue.send_codes(1).await, ["timeout"]);
    assert_eq!(rogue.misuses(Misuse::Late), 0);
    // In this mode the plugin completes the send when it is probed.
    rogue.channel.probe().await.unwrap();
    assert_eq!((rogue.misuses(Misuse::Late), rogue.misuses(Misuse::Twice)), (1, 0));
}

#[tokio::test]
async fn a_second_completion_is_counted_and_the_first_one_is_used() {
    let rogue = Rogue::new("twice");
    assert_eq!(rogue.send_codes(2).await, ["accepted"; 2]);
    assert_eq!(rogue.misuses(Misuse::Twice), 1);
}

#[tokio::test]
async fn a_wrong_number_of_outcomes_is_a_bug_for_every_address() {
    for mode in ["few", "many"] {
        let rogue = Rogue::new(mode);
        assert_eq!(rogue.send_codes(3).await, ["internal"; 3], "{mode}");
        assert_eq!(rogue.misuses(Misuse::WrongCount), 1, "{mode}");
    }
}

#[tokio::test]
async fn outcomes_that_cannot_be_read_are_a_bug() {
    for mode in ["null", "unsized"] {
        let rogue = Rogue::new(mode);
        assert_eq!(rogue.send_codes(1).await, ["internal"], "{mode}");
        assert_eq!(rogue.misuses(Misuse::NoOutcomes), 1, "{mode}");
    }
    assert_eq!(Rogue::new("unset").send_codes(1).await, ["internal"]);
}

#[tokio::test]
async fn of_ten_concurrent_completions_one_is_accepted() {
    let rogue = Rogue::new("threads");
    for sent in 1..=20 {
        assert_eq!(rogue.send_codes(1).await, ["accepted"]);
        assert_eq!(rogue.misuses(Misuse::Twice), 9 * sent);
    }
}

#[tokio::test]
async fn an_unknown_tag_is_counted_and_has_no_effect() {
    let rogue = Rogue::new("unknown-tag");
    assert_eq!(rogue.send_codes(1).await, ["accepted"]);
    assert_eq!(rogue.misuses(Misuse::UnknownTag), 1);
}

#[tokio::test]
async fn invalid_arguments_are_refused_and_counted() {
    let rogue = Rogue::new("bad-arguments");
    assert_eq!(rogue.send_codes(1).await, ["accepted"]);
    assert_eq!(rogue.misuses(Misuse::UnknownTag), 2);
    assert_eq!(rogue.misuses(Misuse::UnknownChannel), 1);
    assert_eq!(rogue.misuses(Misuse::BadArgument), 7);
    assert_eq!(*rogue.bench.telemetry.lines.lock(), ["rogue/acme Debug two lines"]);
    assert!(rogue.bench.transport.requests().is_empty());
}

#[tokio::test]
async fn a_completion_after_close_is_counted() {
    let rogue = Rogue::new("after-close");
    assert_eq!(rogue.send_codes(1).await, ["accepted"]);
    let Rogue { bench, channel } = rogue;
    drop(channel);
    bench.telemetry.wait_for_misuse(Misuse::Twice, 1).await;
}

#[tokio::test]
async fn a_send_that_does_not_return_at_once_is_counted() {
    let rogue = Rogue::new("slow");
    assert_eq!(rogue.send_codes(1).await, ["accepted"]);
    assert_eq!(rogue.misuses(Misuse::Blocked), 1);
}

#[tokio::test]
async fn a_rendered_body_that_is_not_json_is_counted_and_its_size_is_used() {
    let rogue = Rogue::new("no-json");
    let rendered = rogue.channel.render(&pushgate_kit::sample::message());
    assert_eq!(rendered.body, serde_json::Value::Null);
    assert!(rendered.counted > 0);
    assert_eq!(rogue.misuses(Misuse::BadBody), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_and_timers_use_the_gateways_transport_and_clock() {
    let rogue = Rogue::new("http");
    rogue.bench.transport.then(answer(200, "vendor-7"));
    let report = rogue.channel.send(&delivery(1)).await;
    assert_eq!(report.outcomes(), [pushgate::Outcome::accepted("vendor-7")]);
    let report = rogue.channel.send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!(fault.kind, Kind::Unreachable);
    assert!(fault.detail.contains("the script has no answer left"), "{}", fault.detail);
    assert_eq!(Rogue::new("timer").send_codes(1).await, ["accepted"]);
}

#[tokio::test(start_paused = true)]
async fn closing_cancels_running_requests_and_waits_for_their_callbacks() {
    let rogue = Rogue::new("http");
    rogue.bench.transport.hold();
    assert_eq!(rogue.send_codes(1).await, ["timeout"]);
    let Rogue { bench, channel } = rogue;
    drop(channel);
    // The cancelled request makes the plugin complete a call whose deadline has passed.
    bench.telemetry.wait_for_misuse(Misuse::Late, 1).await;
}

#[tokio::test]
async fn log_lines_and_metrics_carry_the_names_of_plugin_and_channel() {
    let rogue = Rogue::new("metrics");
    assert_eq!(rogue.send_codes(1).await, ["accepted"]);
    assert_eq!(
        *rogue.bench.telemetry.lines.lock(),
        ["rogue/acme sent +2", "rogue/acme size 1.5", "rogue/acme Info sent one"]
    );
}

#[tokio::test]
async fn a_probe_returns_the_identity_or_a_fault() {
    let probe = Rogue::new("well").channel.probe().await.unwrap();
    assert_eq!(probe.identity, "the rogue");
    assert_eq!(probe.expires_at.unwrap().as_millis(), 1_800_000_000_000);
    let fault = Rogue::new("credentials").channel.probe().await.unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_str()), (Kind::Credentials, "the key is not known"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_concurrent_sends_get_their_own_outcomes() {
    let rogue = Rogue::new("well");
    let sends = (0..10_000).map(|i| {
        let channel = Arc::clone(&rogue.channel);
        tokio::spawn(async move {
            let size = i % 7 + 1;
            channel.send(&delivery(size)).await.outcomes().len() == size
        })
    });
    for sent in sends.collect::<Vec<_>>() {
        assert!(sent.await.unwrap());
    }
    // `Blocked` and `Never` are not checked, because a busy machine can cause them.
    for misuse in [Misuse::Twice, Misuse::WrongCount, Misuse::NoOutcomes, Misuse::UnknownTag] {
        assert_eq!(rogue.misuses(misuse), 0, "{misuse:?}");
    }
}
