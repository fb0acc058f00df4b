//! A row that cannot be decoded is set aside; the rows beside it go on, and what it belongs to ends.

use std::sync::{Arc, Mutex};

use pushgate::queue::{
    Admission, AudienceBatch, BatchLease, Completion, DeferredPlan, Entry, Finished, LeaseRequest,
    Quarantined, RowKind, Stage, WithdrawFilter,
};
use pushgate::{
    Address, AppId, Audience, Delivery, Device, DeviceId, Kind, NodeId, Notification, NotificationId,
    Platform, Queue as _, Receipt, Rules, SkipReason, State, Store as _, TokenKind, Traits, UserId,
};
use pushgate_kit::sample::{self, NOW};
use pushgate_sqlite::SqliteStore;
use rusqlite::Connection;

/// A store, and a second connection that damages its rows.
struct Damaged {
    store: SqliteStore,
    file: Connection,
    told: Arc<Mutex<Vec<Quarantined>>>,
    _folder: tempfile::TempDir,
}

impl Damaged {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.db");
        let store = SqliteStore::open(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        store.on_quarantine(Arc::new(move |row| tell.lock().unwrap().push(row.clone())));
        Self { store, file: Connection::open(&path).unwrap(), told, _folder: folder }
    }

    fn damage(&self, sql: &str, id: NotificationId) {
        assert!(self.file.execute(sql, [id.0.as_bytes()]).unwrap() > 0, "{sql} damages nothing");
    }

    async fn take(&self) -> Vec<Delivery> {
        let channel = sample::address("way", TokenKind::Token, "t").channel;
        let want = LeaseRequest { app: app(), channel, node: NodeId::new(), now: NOW, max: 100 };
        self.store.lease(want).await.unwrap().leases.into_iter().map(|lease| lease.delivery).collect()
    }

    async fn status(&self, id: NotificationId) -> pushgate::Status {
        self.store.status(&app(), id).await.unwrap().unwrap()
    }

    /// The one row that was set aside: listed, announced once, and nothing of its content told.
    async fn one(&self, kind: RowKind) -> Quarantined {
        let listed = self.store.quarantined(None, 100).await.unwrap();
        assert_eq!(*self.told.lock().unwrap(), listed, "announced once");
        let [row] = listed.as_slice() else { panic!("not one: {listed:?}") };
        assert_eq!((row.kind, row.app.as_ref()), (kind, Some(&app())));
        assert!(row.bytes > 0 && !row.reason.is_empty() && !format!("{row:?}").contains("secret"), "{row:?}");
        assert_eq!(self.store.quarantined(Some(row.id), 100).await.unwrap(), []);
        row.clone()
    }
}

fn app() -> AppId {
    AppId::new("demo").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn address(token: &str) -> Address {
    sample::address("way", TokenKind::Token, token)
}

fn delivery(tokens: usize) -> Delivery {
    let mut message = sample::message();
    message.id = NotificationId::new();
    message.collapse_key = Some("tag".to_owned());
    sample::delivery(message, (0..tokens).map(|n| address(&format!("secret-{n}"))))
}

/// Admits a notification with one delivery to so many recipients.
async fn admit(store: &SqliteStore, recipients: usize, held_by: Option<NodeId>) -> Delivery {
    let delivery = delivery(recipients);
    let entries = vec![Entry { delivery: delivery.clone(), due: NOW, held_by }];
    store.admit(admission(delivery.message.id, entries, None)).await.unwrap();
    delivery
}

fn admission(id: NotificationId, entries: Vec<Entry>, deferred_plan: Option<DeferredPlan>) -> Admission {
    Admission {
        id,
        app: app(),
        idempotency: None,
        created_at: NOW,
        keep_until: NOW,
        skipped: Vec::new(),
        tag: None,
        entries,
        deferred_plan,
        withdrawal: None,
    }
}

fn finish(delivery: &Delivery, state: State, again: Vec<Entry>) -> Completion {
    let receipt = |target| Receipt { state, fault: None, ..Receipt::withdrawn(delivery, target, NOW) };
    Completion {
        delivery: delivery.id,
        notification: delivery.message.id,
        app: app(),
        epoch: 1,
        receipts: delivery.targets.iter().map(receipt).collect(),
        again,
    }
}

fn is_quarantined(receipt: &Receipt) -> bool {
    receipt.fault.as_ref().is_some_and(|fault| fault.kind == Kind::Quarantined)
}

const BROKEN: &str = "UPDATE deliveries SET body = '{\"secret' WHERE notification = ?1";
const OF_ANOTHER_FORM: &str =
    "UPDATE deliveries SET body = json_set(body, '$.message.created_at', 'secret') WHERE notification = ?1";

#[tokio::test]
async fn a_delivery_that_cannot_be_decoded_never_stops_the_ones_beside_it_and_has_failed() {
    for sql in [BROKEN, OF_ANOTHER_FORM, "UPDATE deliveries SET body = x'00ff' WHERE notification = ?1"] {
        let damaged = Damaged::open();
        let first = admit(&damaged.store, 1, None).await;
        let bad = admit(&damaged.store, 3, None).await.message.id;
        let last = admit(&damaged.store, 1, None).await;
        damaged.damage(sql, bad);
        assert_eq!(damaged.take().await, [first, last]);
        assert_eq!(damaged.take().await, []);
        let row = damaged.one(RowKind::Delivery).await;
        assert_eq!((row.notification, row.channel.unwrap().as_str()), (Some(bad), "way"));
        let status = damaged.status(bad).await;
        assert_eq!((status.counts.get(&State::Failed), status.counts.len()), (Some(&3), 1), "{sql}");
        assert!(status.is_settled() && status.receipts.iter().all(is_quarantined), "{status:?}");
    }
}

#[tokio::test]
async fn a_retry_that_cannot_be_decoded_does_not_leave_its_recipients_queued() {
    for sql in [BROKEN, OF_ANOTHER_FORM] {
        let damaged = Damaged::open();
        let node = NodeId::new();
        let first = admit(&damaged.store, 2, Some(node)).await;
        let again = Delivery { id: pushgate::DeliveryId::new(), attempt: 2, ..first.clone() };
        let again = vec![Entry { delivery: again, due: NOW, held_by: None }];
        damaged.store.finish(finish(&first, State::Queued, again)).await.unwrap();
        assert_eq!(damaged.status(first.message.id).await.counts.get(&State::Queued), Some(&2));
        damaged.damage(sql, first.message.id);
        assert_eq!(damaged.take().await, []);
        let status = damaged.status(first.message.id).await;
        assert_eq!((status.counts.get(&State::Failed), status.counts.len()), (Some(&2), 1), "{sql}");
        assert_eq!(status.receipts.len(), 2);
        damaged.one(RowKind::Delivery).await;
    }
}

#[tokio::test]
async fn an_attempt_ends_although_its_row_cannot_be_decoded_any_more() {
    let damaged = Damaged::open();
    let held = admit(&damaged.store, 1, Some(NodeId::new())).await;
    damaged.damage(BROKEN, held.message.id);
    let again = Delivery { id: pushgate::DeliveryId::new(), attempt: 2, ..held.clone() };
    let entry = vec![Entry { delivery: again.clone(), due: NOW, held_by: None }];
    let finished = damaged.store.finish(finish(&held, State::Queued, entry)).await.unwrap();
    assert_eq!(
        (finished, damaged.take().await),
        (Finished::Done, vec![again]),
        "memory knows what comes again"
    );
}

#[tokio::test]
async fn what_cannot_be_decoded_is_no_obstacle_to_withdrawing_the_rest() {
    let damaged = Damaged::open();
    let (bad, good) = (admit(&damaged.store, 1, None).await, admit(&damaged.store, 1, None).await);
    damaged.damage(BROKEN, bad.message.id);
    let filter = WithdrawFilter::Id(bad.message.id);
    assert_eq!(damaged.store.withdraw(&app(), &filter, NOW).await.unwrap(), 0);
    damaged.one(RowKind::Delivery).await;
    assert!(damaged.status(bad.message.id).await.is_settled());
    assert_eq!(damaged.take().await, [good]);
}

#[tokio::test]
async fn a_start_finds_its_lanes_whatever_name_one_row_has() {
    let damaged = Damaged::open();
    let (bad, _good) = (admit(&damaged.store, 1, None).await, admit(&damaged.store, 1, None).await);
    damaged.damage("UPDATE deliveries SET channel = 'no name' WHERE notification = ?1", bad.message.id);
    let lanes = damaged.store.lanes().await.unwrap();
    assert_eq!(lanes, [(app(), address("t").channel)]);
    damaged.one(RowKind::Delivery).await;
    assert!(damaged.status(bad.message.id).await.is_settled());
}

/// Admits a notification that is planned later, in one part.
async fn postpone(store: &SqliteStore) -> NotificationId {
    let part = AudienceBatch {
        place: 0,
        due: NOW,
        audience: Audience::Users(vec![user("bob")]),
        after: None,
        stage: Stage::Fresh,
    };
    let request =
        Notification { send_at: Some(NOW), ..Notification::new(app(), Audience::All).title("secret") };
    let id = NotificationId::new();
    store
        .admit(admission(id, Vec::new(), Some(DeferredPlan { request, batches: vec![part] })))
        .await
        .unwrap();
    id
}

async fn lease_batches(store: &SqliteStore) -> Vec<NotificationId> {
    // One at a time, as the planner does, until nothing that is due is left.
    let mut taken = Vec::new();
    loop {
        let parts = store.lease_batches(NodeId::new(), NOW, 1).await.unwrap();
        taken.extend(parts.leases.iter().map(|lease: &BatchLease| lease.notification));
        if parts.next_due.is_none_or(|due| due > NOW) {
            return taken;
        }
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_decoded_stops_no_planning() {
    let unreadable_time =
        "UPDATE notifications SET ask = json_set(ask, '$.send_at', '(out of range)') WHERE id = ?1";
    let broken = "UPDATE parts SET body = 'secret' WHERE notification = ?1";
    let orphan = "UPDATE notifications SET ask = NULL WHERE id = ?1";
    for sql in [unreadable_time, broken, orphan] {
        let damaged = Damaged::open();
        let bad = postpone(&damaged.store).await;
        let good = postpone(&damaged.store).await;
        damaged.damage(sql, bad);
        assert_eq!(lease_batches(&damaged.store).await, [good], "{sql}");
        let row = damaged.one(RowKind::Part).await;
        assert_eq!((row.notification, row.key), (Some(bad), format!("{bad}/0")));
        let status = damaged.status(bad).await;
        assert!(status.is_settled());
        assert_eq!((status.skips, status.skipped[0].reason), (1, SkipReason::Quarantined));
    }
}

#[tokio::test]
async fn a_receipt_that_cannot_be_decoded_keeps_its_state_and_hides_no_other() {
    let damaged = Damaged::open();
    let sent = admit(&damaged.store, 3, Some(NodeId::new())).await;
    let id = sent.message.id;
    damaged.store.finish(finish(&sent, State::Sent, Vec::new())).await.unwrap();
    damaged.damage("UPDATE receipts SET body = 'secret' WHERE notification = ?1 AND idx = 1", id);
    let status = damaged.status(id).await;
    assert_eq!(status.counts.get(&State::Sent), Some(&3));
    let read: Vec<_> =
        status.receipts.iter().map(|one| (one.index, one.state, is_quarantined(one))).collect();
    assert_eq!(read, [(0, State::Sent, false), (1, State::Sent, true), (2, State::Sent, false)]);
    damaged.one(RowKind::Receipt).await;
    assert_eq!(damaged.store.receipts(id, None, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_list_of_the_skipped_that_cannot_be_decoded_hides_nothing_else() {
    let damaged = Damaged::open();
    let id = postpone(&damaged.store).await;
    damaged.damage("UPDATE notifications SET skipped = 'secret' WHERE id = ?1", id);
    let status = damaged.status(id).await;
    assert_eq!((status.skipped.len(), status.progress.unwrap().open), (0, 1));
    damaged.one(RowKind::Notification).await;
}

#[tokio::test]
async fn a_device_that_cannot_be_decoded_hides_no_other_and_may_come_again() {
    for sql in [
        "UPDATE devices SET traits = '{\"platform\":\"secret\"}' WHERE id = 'bad'",
        "UPDATE addresses SET channel = 'secret name' WHERE device = 'bad' AND place = 1",
    ] {
        let damaged = Damaged::open();
        let device = |id: &str| Device {
            app: app(),
            id: DeviceId::new(id).unwrap(),
            user: Some(user("bob")),
            traits: Traits::of(Platform::Web),
            addresses: vec![address(&format!("{id}-1")), address(&format!("{id}-2"))],
            registered_at: NOW,
        };
        for id in ["a", "bad", "z"] {
            damaged.store.register(device(id).into()).await.unwrap();
        }
        assert_eq!(damaged.file.execute(sql, []).unwrap(), 1);
        let found = damaged.store.devices_of(&app(), &[user("bob")]).await.unwrap();
        assert_eq!(found, [device("a"), device("z")], "{sql}");
        assert_eq!(damaged.store.page(&app(), None, 10).await.unwrap(), found);
        assert_eq!(damaged.one(RowKind::Device).await.key, "bad");
        assert!(damaged.store.register(device("bad").into()).await.unwrap().unwrap().created);
        assert_eq!(damaged.store.devices_of(&app(), &[user("bob")]).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn rules_that_cannot_be_decoded_are_no_rules_and_hide_nobody_elses() {
    let damaged = Damaged::open();
    let rules: Rules = serde_json::from_str(r#"{"muted_conversations":["c"]}"#).unwrap();
    for name in ["ann", "bob"] {
        damaged.store.set_rules(&app(), &user(name), &rules).await.unwrap();
    }
    damaged.file.execute("UPDATE rules SET body = 'secret' WHERE user = 'ann'", []).unwrap();
    let found = damaged.store.rules(&app(), &[user("ann"), user("bob")]).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(user("bob"), rules)]);
    damaged.one(RowKind::Rules).await;
}
