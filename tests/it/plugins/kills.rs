//! A hundred kills of a child process during ten thousand sends lose no notification and do not affect other lanes.

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
use crate::setup::MAX_WAIT;

const SENDS: usize = 10_000;
const KILLS: usize = 100;
/// Maximum number of notifications in flight through the plugin.
const MAX_IN_FLIGHT: usize = 512;
/// Number of notifications through the other lane after each kill.
const SENDS_PER_KILL: usize = 10;

fn notification(channel: &str, token: &str) -> Notification {
    let address =
        Address { channel: ChannelName::new(channel).unwrap(), kind: TokenKind::Token, token: token.into() };
    let to = Audience::Addresses(vec![address]);
    let mut notification = Notification::new(AppId::new("demo").unwrap(), to).title("Ann").content("hello");
    notification.when = When::Always;
    notification
}

/// Returns the child processes that host the plugin.
fn children(plugin: &Path) -> Vec<i32> {
    let own_id = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let is_child = |directory: &Path| {
        let status = std::fs::read_to_string(directory.join("status")).unwrap_or_default();
        let command = std::fs::read_to_string(directory.join("cmdline")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default();
        parent.trim() == own_id && command.contains(&*plugin.to_string_lossy())
    };
    processes
        .filter(|entry| is_child(&entry.path()))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn kill(process: i32) -> bool {
    std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success()
}

/// Notifications that were sent through the plugin.
type Sent = watch::Receiver<HashSet<NotificationId>>;

/// Kills each child after it has sent its share, and reports each kill.
async fn kill_often(mut sent: Sent, plugin: PathBuf, killed: mpsc::UnboundedSender<usize>) {
    for number in 1..=KILLS {
        // Waits for a send after the last kill, so that each kill hits a working child.
        let required = (number * SENDS / KILLS).max(sent.borrow().len() + 1);
        sent.wait_for(|sent| sent.len() >= required).await.unwrap();
        // The last send may be of a child that is already dead. Then the next child sends soon.
        while !children(&plugin).into_iter().any(kill) {
            sent.changed().await.unwrap();
        }
        killed.send(number).unwrap();
    }
}

/// Submits notifications until the kills have ended, with at most [`MAX_IN_FLIGHT`] in flight. Returns their ids.
async fn submit_until(
    gateway: &Gateway,
    mut sent: Sent,
    killing: &JoinHandle<()>,
) -> HashSet<NotificationId> {
    let mut submitted = HashSet::new();
    while submitted.len() < SENDS || !killing.is_finished() {
        sent.wait_for(|sent| submitted.len() < sent.len() + MAX_IN_FLIGHT).await.unwrap();
        let token = format!("token-{}", submitted.len());
        submitted.insert(gateway.submit(notification("acme", &token)).await.unwrap().id);
    }
    let count = submitted.len();
    sent.wait_for(|sent| sent.len() >= count).await.unwrap();
    submitted
}

/// Sends through another lane after each kill. Returns the longest duration of a send and the number of sends.
async fn measure_other_lane(
    gateway: Gateway,
    mut kills: mpsc::UnboundedReceiver<usize>,
) -> (Duration, usize) {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while kills.recv().await.is_some() {
        for _ in 0..SENDS_PER_KILL {
            let started_at = Instant::now();
            let ticket = gateway.submit(notification("dummy", &format!("token-{count}"))).await.unwrap();
            let status =
                gateway.wait_until_settled(&AppId::new("demo").unwrap(), ticket.id, MAX_WAIT).await.unwrap();
            assert_eq!(status.unwrap().receipts[0].state, State::Sent);
            slowest = slowest.max(started_at.elapsed());
            count += 1;
        }
    }
    (slowest, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_kills_during_ten_thousand_sends_lose_nothing_and_no_other_lane_feels_them() {
    let bench = Bench::new();
    let channel = bench.open("well").unwrap();
    let plugin = bench.directory.path().join("plugin.so");
    let (sender, sent) = watch::channel(HashSet::<NotificationId>::new());
    let app = App::default()
        .install(channel, 256)
        .channel(Dummy::scripted(ChannelName::new("dummy").unwrap(), Script::default()));
    let gateway = Gateway::builder()
        .app(AppId::new("demo").unwrap(), app)
        .observer(move |event: &Event| {
            if let Event::Receipt { id, receipt, .. } = event
                && receipt.state == State::Sent
                && receipt.channel.as_str() == "acme"
            {
                sender.send_modify(|sent| _ = sent.insert(*id));
            }
        })
        .start()
        .await
        .unwrap();

    let started_at = Instant::now();
    let (killed, kills) = mpsc::unbounded_channel();
    let killing = tokio::spawn(kill_often(sent.clone(), plugin, killed));
    let measuring = tokio::spawn(measure_other_lane(gateway.clone(), kills));
    let submitted = timeout(6 * MAX_WAIT, submit_until(&gateway, sent.clone(), &killing)).await;
    let submitted = submitted
        .unwrap_or_else(|_| panic!("{} were sent, {:?}", sent.borrow().len(), bench.telemetry.events));
    assert_eq!(submitted, *sent.borrow(), "exactly the submitted notifications were sent");
    killing.await.unwrap();
    let (slowest, count) = measuring.await.unwrap();
    println!(
        "{KILLS} kills, {} sends, {:?}; the other lane's slowest of {count} took {slowest:?}",
        submitted.len(),
        started_at.elapsed()
    );
    assert_eq!(count, KILLS * SENDS_PER_KILL);
    assert!(slowest < Duration::from_secs(2), "the other lane took {slowest:?} for one");
    gateway.shutdown(Duration::from_secs(5)).await;
}
