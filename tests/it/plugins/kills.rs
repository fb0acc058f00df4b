//! A hundred kills during ten thousand sends lose nothing, and other lanes feel nothing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pushgate::app::App;
use pushgate::observe::Event;
use pushgate::{
    Address, AppId, Audience, ChannelName, Gateway, Notification, NotificationId, State, TokenKind, When,
};
use pushgate_dummy::{Dummy, Script};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Bench;
use crate::house::PATIENCE;

const SENDS: usize = 10_000;
const KILLS: usize = 100;
/// How many are on their way through the plugin at most.
const UNDER_WAY: usize = 512;
/// What goes through the other lane after each kill.
const PROBES: usize = 10;

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

/// What has been sent through the plugin.
type Sent = watch::Receiver<HashSet<NotificationId>>;

/// Kills children, each when it has sent its share, and tells of each kill.
async fn kill_often(mut sent: Sent, plugin: PathBuf, told: mpsc::UnboundedSender<usize>) {
    for number in 1..=KILLS {
        // It has sent something since the last kill, so that each hits one at work.
        let due = (number * SENDS / KILLS).max(sent.borrow().len() + 1);
        sent.wait_for(|sent| sent.len() >= due).await.unwrap();
        // The last of these may have come from one that is dead by now; the next one's will follow.
        while !children(&plugin).into_iter().any(kill) {
            sent.changed().await.unwrap();
        }
        told.send(number).unwrap();
    }
}

/// Submits until the killing has ended, never more at once than a busy lane has; gives what was asked.
async fn submit_until(
    gateway: &Gateway,
    mut sent: Sent,
    killing: &JoinHandle<()>,
) -> HashSet<NotificationId> {
    let mut asked = HashSet::new();
    while asked.len() < SENDS || !killing.is_finished() {
        sent.wait_for(|sent| asked.len() < sent.len() + UNDER_WAY).await.unwrap();
        let token = format!("token-{}", asked.len());
        asked.insert(gateway.submit(notification("acme", &token)).await.unwrap().id);
    }
    let all = asked.len();
    sent.wait_for(|sent| sent.len() >= all).await.unwrap();
    asked
}

/// Sends through another lane after each kill, while there is no child and when it comes back; gives what the slowest took,
/// and how many there were.
async fn feel(gateway: Gateway, mut kills: mpsc::UnboundedReceiver<usize>) -> (Duration, usize) {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while kills.recv().await.is_some() {
        for _ in 0..PROBES {
            let began = Instant::now();
            let ticket = gateway.submit(notification("dummy", &format!("token-{count}"))).await.unwrap();
            let status = gateway.settled(&AppId::new("demo").unwrap(), ticket.id, PATIENCE).await.unwrap();
            assert_eq!(status.unwrap().receipts[0].state, State::Sent);
            slowest = slowest.max(began.elapsed());
            count += 1;
        }
    }
    (slowest, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_kills_during_ten_thousand_sends_lose_nothing_and_no_other_lane_feels_them() {
    let bench = Bench::new();
    let plugged = bench.open("well").unwrap();
    let plugin = bench.folder.path().join("plugin.so");
    let (seen, sent) = watch::channel(HashSet::<NotificationId>::new());
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
                seen.send_modify(|sent| _ = sent.insert(*id));
            }
        })
        .start()
        .await
        .unwrap();

    let began = Instant::now();
    let (told, kills) = mpsc::unbounded_channel();
    let killing = tokio::spawn(kill_often(sent.clone(), plugin, told));
    let feeling = tokio::spawn(feel(gateway.clone(), kills));
    let asked = timeout(6 * PATIENCE, submit_until(&gateway, sent.clone(), &killing)).await;
    let asked = asked.unwrap_or_else(|_| panic!("{} were sent, {:?}", sent.borrow().len(), bench.ear.lives));
    assert_eq!(asked, *sent.borrow(), "what was asked was sent, and nothing else");
    killing.await.unwrap();
    let (slowest, felt) = feeling.await.unwrap();
    println!(
        "{KILLS} kills, {} sends, {:?}; the other lane's slowest of {felt} took {slowest:?}",
        asked.len(),
        began.elapsed()
    );
    assert_eq!(felt, KILLS * PROBES);
    assert!(slowest < Duration::from_secs(2), "the other lane took {slowest:?} for one");
    gateway.shutdown(Duration::from_secs(5)).await;
}
