//! What a plugin does against the contract is a fault, a number and a line; never a crash and never a delivery that is lost.

use std::sync::Arc;

use pushgate::{Kind, PushChannel};
use pushgate_kit::transport::answer;
use pushgate_plugin_host::Misuse;

use crate::kit::{Bench, Built, delivery, source};

struct Rogue {
    bench: Bench,
    channel: Arc<dyn PushChannel>,
}

impl Rogue {
    fn new(mode: &str) -> Self {
        let (bench, built) = (Bench::new(), Built::rogue(&[]));
        let plugin = bench.loader.load(&source(built.path())).unwrap();
        let channel = bench.open(&plugin, mode).unwrap();
        Self { bench, channel }
    }

    /// The codes of what a delivery to so many addresses gave.
    async fn sends(&self, addresses: usize) -> Vec<&'static str> {
        self.channel
            .send(&delivery(addresses))
            .await
            .outcomes()
            .iter()
            .map(|outcome| outcome.code())
            .collect()
    }

    fn counted(&self, what: Misuse) -> u64 {
        self.bench.ear.misuses(what)
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_by_the_host_at_the_deadline() {
    let rogue = Rogue::new("never");
    let report = rogue.channel.send(&delivery(3)).await;
    assert_eq!(report.outcomes().len(), 3);
    assert!(report.outcomes().iter().all(|outcome| outcome.fault().unwrap().kind == Kind::Timeout));
    assert_eq!(rogue.counted(Misuse::Never), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_deadline_is_counted_and_dropped() {
    let rogue = Rogue::new("late");
    assert_eq!(rogue.sends(1).await, ["timeout"]);
    assert_eq!(rogue.counted(Misuse::Late), 0);
    // Asked for its credentials, it gives the answer that it owes.
    rogue.channel.probe().await.unwrap();
    assert_eq!((rogue.counted(Misuse::Late), rogue.counted(Misuse::Twice)), (1, 0));
}

#[tokio::test]
async fn a_second_answer_is_counted_and_the_first_one_holds() {
    let rogue = Rogue::new("twice");
    assert_eq!(rogue.sends(2).await, ["accepted"; 2]);
    assert_eq!(rogue.counted(Misuse::Twice), 1);
}

#[tokio::test]
async fn a_wrong_number_of_outcomes_is_a_bug_for_every_address() {
    for mode in ["few", "many"] {
        let rogue = Rogue::new(mode);
        assert_eq!(rogue.sends(3).await, ["internal"; 3], "{mode}");
        assert_eq!(rogue.counted(Misuse::WrongCount), 1, "{mode}");
    }
}

#[tokio::test]
async fn outcomes_that_cannot_be_read_are_a_bug() {
    for mode in ["null", "unsized"] {
        let rogue = Rogue::new(mode);
        assert_eq!(rogue.sends(1).await, ["internal"], "{mode}");
        assert_eq!(rogue.counted(Misuse::NoOutcomes), 1, "{mode}");
    }
    assert_eq!(Rogue::new("unset").sends(1).await, ["internal"]);
}

#[tokio::test]
async fn of_ten_threads_that_answer_at_once_one_is_heard() {
    let rogue = Rogue::new("threads");
    for sent in 1..=20 {
        assert_eq!(rogue.sends(1).await, ["accepted"]);
        assert_eq!(rogue.counted(Misuse::Twice), 9 * sent);
    }
}

#[tokio::test]
async fn a_tag_nobody_knows_harms_nobody() {
    let rogue = Rogue::new("stranger");
    assert_eq!(rogue.sends(1).await, ["accepted"]);
    assert_eq!(rogue.counted(Misuse::UnknownTag), 1);
}

#[tokio::test]
async fn arguments_that_are_not_right_are_refused_and_counted() {
    let rogue = Rogue::new("quarrel");
    assert_eq!(rogue.sends(1).await, ["accepted"]);
    assert_eq!(rogue.counted(Misuse::UnknownTag), 2);
    assert_eq!(rogue.counted(Misuse::UnknownChannel), 1);
    assert_eq!(rogue.counted(Misuse::BadArgument), 7);
    assert_eq!(*rogue.bench.ear.lines.lock(), ["rogue/acme Debug two lines"]);
    assert!(rogue.bench.transport.requests().is_empty());
}

#[tokio::test]
async fn an_answer_after_close_is_counted() {
    let rogue = Rogue::new("after-close");
    assert_eq!(rogue.sends(1).await, ["accepted"]);
    let Rogue { bench, channel } = rogue;
    drop(channel);
    bench.ear.heard(Misuse::Twice, 1).await;
}

#[tokio::test]
async fn a_send_that_does_not_return_at_once_is_counted() {
    let rogue = Rogue::new("slow");
    assert_eq!(rogue.sends(1).await, ["accepted"]);
    assert_eq!(rogue.counted(Misuse::Blocked), 1);
}

#[tokio::test]
async fn a_body_that_is_no_json_is_counted_and_its_size_holds() {
    let rogue = Rogue::new("no-json");
    let rendered = rogue.channel.render(&pushgate_kit::sample::message());
    assert_eq!(rendered.body, serde_json::Value::Null);
    assert!(rendered.counted > 0);
    assert_eq!(rogue.counted(Misuse::BadBody), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_and_timers_are_answered_from_the_gateways_own() {
    let rogue = Rogue::new("http");
    rogue.bench.transport.then(answer(200, "vendor-7"));
    let report = rogue.channel.send(&delivery(1)).await;
    assert_eq!(report.outcomes(), [pushgate::Outcome::accepted("vendor-7")]);
    let report = rogue.channel.send(&delivery(1)).await;
    let fault = report.outcomes()[0].fault().unwrap();
    assert_eq!(fault.kind, Kind::Unreachable);
    assert!(fault.detail.contains("the script has no answer left"), "{}", fault.detail);
    assert_eq!(Rogue::new("timer").sends(1).await, ["accepted"]);
}

#[tokio::test(start_paused = true)]
async fn closing_cancels_what_is_under_way_and_waits_for_it() {
    let rogue = Rogue::new("http");
    rogue.bench.transport.hold();
    assert_eq!(rogue.sends(1).await, ["timeout"]);
    let Rogue { bench, channel } = rogue;
    drop(channel);
    // The plugin hears of it, and answers a question whose deadline has passed: that is late.
    bench.ear.heard(Misuse::Late, 1).await;
}

#[tokio::test]
async fn lines_and_numbers_carry_the_names_of_plugin_and_channel() {
    let rogue = Rogue::new("metrics");
    assert_eq!(rogue.sends(1).await, ["accepted"]);
    assert_eq!(
        *rogue.bench.ear.lines.lock(),
        ["rogue/acme sent +2", "rogue/acme size 1.5", "rogue/acme Info sent one"]
    );
}

#[tokio::test]
async fn a_probe_tells_who_we_are_or_what_is_wrong() {
    let probe = Rogue::new("well").channel.probe().await.unwrap();
    assert_eq!(probe.identity, "the rogue");
    assert_eq!(probe.expires_at.unwrap().as_millis(), 1_800_000_000_000);
    let fault = Rogue::new("credentials").channel.probe().await.unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_str()), (Kind::Credentials, "the key is not known"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_at_once_are_answered_each_with_its_own() {
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
    // Not `Blocked` and `Never`: a machine that is busy with other tests may be the reason for these.
    for what in [Misuse::Twice, Misuse::WrongCount, Misuse::NoOutcomes, Misuse::UnknownTag] {
        assert_eq!(rogue.counted(what), 0, "{what:?}");
    }
}
