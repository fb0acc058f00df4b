//! A hundred kills during ten thousand sends lose nothing, and other lanes feel nothing.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pushgate::app::App;
use pushgate::observe::Event;
use pushgate::{
    Address, AppId, Audience, ChannelName, Gateway, Notification, NotificationId, State, TokenKind, When,
};
use pushgate_dummy::{Dummy, Script};

use super::Bench;
use crate::house::PATIENCE;

const SENDS: usize = 10_000;
const KILLS: usize = 100;

fn notification(channel: &str, token: &str) -> Notification {
    let address =
        Address { channel: ChannelName::new(channel).unwrap(), kind: TokenKind::Token, token: token.into() };
    let to = Audience::Addresses(vec![address]);
    let mut asked = Notification::new(AppId::new("demo").unwrap(), to).title("Ann").content("hello");
    asked.when = When::Always;
    asked
}

/// The processes this one has started as plugins' hosts.
fn children(plugin: &Path) -> Vec<i32> {
    let ours = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_child = |folder: &Path| {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let command = std::fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
        parent.trim() == ours && command.contains(&*plugin.to_string_lossy())
    };
    processes
        .filter(|entry| is_child(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn kill(process: i32) -> bool {
    std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_kills_during_ten_thousand_sends_lose_nothing_and_no_other_lane_feels_them() {
    let bench = Bench::new();
    let plugged = bench.open("well").unwrap();
    let plugin = bench.folder.path().join("plugin.so");
    let (sent, slowest) =
        (Arc::new(Mutex::new(HashSet::<NotificationId>::new())), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&sent);
    let app = App::default()
        .install(plugged, 256)
        .channel(Dummy::scripted(ChannelName::new("dummy").unwrap(), Script::default()));
    let gateway = Gateway::builder()
        .app(AppId::new("demo").unwrap(), app)
        .observer(move |event: &Event| {
            if let Event::Receipt { id, receipt, .. } = event
                && receipt.state == State::Sent
                && receipt.channel.as_str() == "acme"
            {
                seen.lock().insert(*id);
            }
        })
        .start()
        .await
        .unwrap();

    let other = tokio::spawn({
        let (gateway, slowest) = (gateway.clone(), Arc::clone(&slowest));
        async move {
            for i in 0.. {
                let began = Instant::now();
                let ticket = gateway.submit(notification("dummy", &format!("token-{i}"))).await.unwrap();
                let status =
                    gateway.settled(&AppId::new("demo").unwrap(), ticket.id, PATIENCE).await.unwrap();
                assert_eq!(status.unwrap().receipts[0].state, State::Sent);
                let millis = usize::try_from(began.elapsed().as_millis()).unwrap();
                slowest.fetch_max(millis, Ordering::AcqRel);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let mut asked = HashSet::new();
    let began = Instant::now();
    let (mut kills, mut at_last_kill) = (0, usize::MAX);
    let deadline = Instant::now() + 6 * PATIENCE;
    for i in 0..SENDS {
        asked.insert(gateway.submit(notification("acme", &format!("token-{i}"))).await.unwrap().id);
        if i % (SENDS / KILLS) == 0 {
            // It has sent something since the last kill, so that each hits one at work.
            let before = at_last_kill;
            while sent.lock().len() == before || !children(&plugin).into_iter().any(kill) {
                assert!(Instant::now() < deadline, "{kills} kills, {} sent", sent.lock().len());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            at_last_kill = sent.lock().len();
            kills += 1;
        }
    }
    assert_eq!(kills, KILLS);
    while !asked.is_subset(&sent.lock()) {
        assert!(
            Instant::now() < deadline,
            "{} of {SENDS} were sent",
            asked.intersection(&sent.lock()).count()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    other.abort();
    let slowest = slowest.load(Ordering::Acquire);
    println!("{KILLS} kills, {SENDS} sends, {took:?}; the other lane's slowest took {slowest} ms");
    assert!(slowest < 2000, "the other lane took {slowest} ms for one");
    gateway.shutdown(Duration::from_secs(5)).await;
}
