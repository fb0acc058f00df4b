//! What the file holds is bounded: the write-ahead log beside readers, and rows by their retention.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pushgate::queue::{Admission, Completion, Entry, Queue as _};
use pushgate::{AppId, NodeId, NotificationId, Receipt, State, Status, Timestamp, TokenKind};
use pushgate_kit::sample::{self, NOW};
use pushgate_sqlite::{Options, SqliteStore};

fn app() -> AppId {
    AppId::new("demo").unwrap()
}

fn admission(keep_until: Timestamp, recipients: usize, node: NodeId) -> Admission {
    let mut message = sample::message();
    message.id = NotificationId::new();
    let address = |n| sample::address("way", TokenKind::Token, &format!("t{n}"));
    let delivery = sample::delivery(message, (0..recipients).map(address));
    Admission {
        id: delivery.message.id,
        app: app(),
        idempotency: None,
        created_at: NOW,
        keep_until,
        skipped: Vec::new(),
        tag: None,
        entries: vec![Entry { delivery, due: NOW, held_by: Some(node) }],
        deferred_plan: None,
        withdrawal: None,
    }
}

/// Admits a notification and stores that all of it was sent.
async fn send(store: &SqliteStore, admission: Admission) {
    let delivery = admission.entries[0].delivery.clone();
    store.admit(admission).await.unwrap();
    let receipt = |target| Receipt { state: State::Sent, ..Receipt::withdrawn(&delivery, target, NOW) };
    let finish = Completion {
        delivery: delivery.id,
        notification: delivery.message.id,
        app: app(),
        epoch: 1,
        receipts: delivery.targets.iter().map(receipt).collect(),
        again: Vec::new(),
    };
    store.finish(finish).await.unwrap();
}

fn wal_bytes(path: &Path) -> u64 {
    std::fs::metadata(format!("{}-wal", path.display())).unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn pollers_of_a_large_notification_do_not_make_the_write_ahead_log_grow() {
    const LIMIT: u64 = 2 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let store =
        SqliteStore::open_with(&path, Options { max_wal_bytes: LIMIT, ..Options::default() }).unwrap();
    let node = NodeId::new();
    let large = admission(NOW, 5_000, node);
    let id = large.id;
    send(&store, large).await;
    let done = Arc::new(AtomicBool::new(false));
    let poll = || {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut polls = 0;
            while !done.load(Ordering::Acquire) {
                let status = store.status(&app(), id).await.unwrap().unwrap();
                assert_eq!(status.counts.get(&State::Sent), Some(&5_000));
                polls += 1;
            }
            polls
        })
    };
    let pollers: Vec<_> = (0..6).map(|_| poll()).collect();
    let mut largest = 0;
    // Some 80 MB of pages, in commits of half a megabyte and less.
    for _ in 0..120 {
        send(&store, admission(NOW, 500, node)).await;
        largest = largest.max(wal_bytes(&path));
    }
    done.store(true, Ordering::Release);
    for poller in pollers {
        assert!(poller.await.unwrap() > 0, "everybody polls");
    }
    // On a loaded machine a reader may keep its page for longer than the writer waits for it; each such try adds a quarter of
    // the limit. Without a checkpoint the log grows to several times this bound.
    assert!(largest <= 3 * LIMIT, "the log grew to {largest} bytes");
    assert!(largest > LIMIT / 4, "it is the log that was measured: {largest} bytes");
}

#[tokio::test]
async fn a_page_of_a_status_has_so_many_recipients_and_says_where_the_next_begins() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("p.db")).unwrap();
    let large = admission(NOW, 25, NodeId::new());
    let id = large.id;
    send(&store, large).await;
    let page = async |after, limit| store.status_page(&app(), id, after, limit).await.unwrap().unwrap();
    let indexes = |status: &Status| status.receipts.iter().map(|one| one.index).collect::<Vec<_>>();
    let counted = page(None, 0).await;
    assert_eq!(
        (counted.counts.get(&State::Sent), counted.receipts.len(), counted.next),
        (Some(&25), 0, None)
    );
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let status = page(after, 10).await;
        all.extend(indexes(&status));
        after = status.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(all, (0..25).collect::<Vec<_>>());
}

/// Rows and pages in use of the file.
fn size(path: &Path) -> (i64, i64) {
    let file = rusqlite::Connection::open(path).unwrap();
    let number = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let rows = number("SELECT (SELECT count(*) FROM notifications) + (SELECT count(*) FROM receipts)");
    (rows, number("PRAGMA page_count"))
}

/// Sweeps until nothing is overdue, and returns the number of steps.
async fn sweep(store: &SqliteStore, now: Timestamp) -> u64 {
    let mut steps = 0;
    loop {
        match store.sweep(now).await.unwrap() {
            0 => return steps,
            // Short transactions: a writer never waits for more.
            rows => assert!(rows <= 1000, "{rows} rows at once"),
        }
        steps += 1;
    }
}

/// A thousand notifications in each second, kept for a minute, with a sweep after each second. After the first minute
/// as many rows go as come, so the file stops growing.
#[tokio::test]
async fn a_thousand_notifications_a_second_kept_for_a_minute_reach_a_steady_size() {
    const PER_SECOND: usize = 1000;
    const KEEP: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let store = SqliteStore::open(&path).unwrap();
    let node = NodeId::new();
    let mut sizes = Vec::new();
    for second in 0..2 * KEEP {
        let now = NOW + Duration::from_secs(second as u64);
        let keep_until = now + Duration::from_secs(KEEP as u64);
        let sends = (0..PER_SECOND).map(|_| send(&store, admission(keep_until, 1, node)));
        futures_util::future::join_all(sends).await;
        sweep(&store, now).await;
        if second >= KEEP && second % 20 == 10 {
            sizes.push(size(&path));
        }
    }
    // Each notification has one status row. Those of the second that has just passed are not overdue yet.
    let kept = i64::try_from(2 * PER_SECOND * (KEEP + 1)).unwrap();
    assert!(sizes.iter().all(|(rows, _)| *rows <= kept), "{sizes:?}");
    let (first, last) = (sizes[0].1, sizes[2].1);
    assert!(last <= first + first / 20, "the file grows from {first} to {last} pages");
}

#[tokio::test]
async fn a_notification_of_many_recipients_is_forgotten_in_short_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let store = SqliteStore::open(&path).unwrap();
    for _ in 0..2 {
        send(&store, admission(NOW, 2_500, NodeId::new())).await;
    }
    assert_eq!(size(&path).0, 5_002);
    assert_eq!(sweep(&store, NOW + Duration::from_millis(1)).await, 6, "of a thousand rows at most");
    assert_eq!(size(&path).0, 0);
}
