//! Files that earlier versions wrote, frozen, are read by today's code. See `tests/fixtures/README.md`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pushgate::queue::{LeaseRequest, Queue as _};
use pushgate::{
    AppId, ChannelName, Count, DeviceId, Kind, NodeId, NotificationId, Rules, State, Status, Store as _,
    Timestamp, TokenKind, UserId,
};
use pushgate_kit::sample::NOW;
use pushgate_sqlite::SqliteStore;
use rusqlite::OpenFlags;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Number of the newest schema.
fn newest() -> u32 {
    let migrations = std::fs::read_dir(here().join("migrations")).unwrap();
    u32::try_from(migrations.count()).unwrap()
}

fn fixture(schema: u32) -> PathBuf {
    here().join(format!("tests/fixtures/schema-{schema:04}.db"))
}

#[test]
fn every_schema_before_the_newest_has_a_frozen_file() {
    for schema in 1..newest() {
        let path = fixture(schema);
        assert!(path.exists(), "{} is missing: see README.md beside it", path.display());
        // Immutable, so that SQLite writes nothing beside it.
        let uri = format!("file:{}?immutable=1", path.display());
        let file = rusqlite::Connection::open_with_flags(
            &uri,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        );
        let version = file.unwrap().pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        assert_eq!(version.unwrap(), schema, "{}", path.display());
    }
}

fn app() -> AppId {
    AppId::new("demo").unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn id(number: u8) -> NotificationId {
    NotificationId(format!("018bd000-0000-7000-8000-0000000000{number:02x}").parse().unwrap())
}

/// A frozen file in a folder of its own, opened by today's code.
struct Opened {
    store: SqliteStore,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Opened {
    fn copy_of(schema: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.db");
        std::fs::copy(fixture(schema), &path).unwrap();
        Self { store: SqliteStore::open(&path).unwrap(), path, _folder: folder }
    }

    async fn status(&self, number: u8) -> Status {
        self.store.status(&app(), id(number)).await.unwrap().unwrap()
    }
}

fn counts(status: &Status) -> Vec<(State, u64)> {
    status.counts.iter().map(|(state, number)| (*state, *number)).collect()
}

/// The schemas that have a frozen file.
fn schemas() -> impl Iterator<Item = u32> {
    (1..=newest()).filter(|schema| fixture(*schema).exists())
}

#[tokio::test]
async fn devices_of_every_schema_are_read_by_todays_code() {
    for schema in schemas() {
        let opened = Opened::copy_of(schema);
        let devices = opened.store.page(&app(), None, 10).await.unwrap();
        let names: Vec<_> =
            devices.iter().map(|one| (one.id.as_str(), one.user.as_ref().map(UserId::as_str))).collect();
        assert_eq!(names, [("d1", Some("bob")), ("d2", Some("ann")), ("d3", None)], "schema {schema}");
        assert_eq!(devices[0].traits.locale.as_deref(), Some("zh-CN"));
        let kinds: Vec<_> = devices[0].addresses.iter().map(|one| (one.kind, one.token.expose())).collect();
        let web = r#"{"endpoint":"https://push.example/1"}"#;
        assert_eq!(kinds, [(TokenKind::Token, "token-1"), (TokenKind::Subscription, web)]);
        assert_eq!((devices[1].addresses.len(), devices[0].registered_at), (1, NOW), "a dead one was pruned");
        let file = rusqlite::Connection::open(&opened.path).unwrap();
        let pruned = file.query_row("SELECT token FROM dead_addresses WHERE NOT is_held_back", [], |row| {
            row.get::<_, String>(0)
        });
        assert_eq!(pruned.unwrap(), "token-dead");
        assert_eq!(opened.store.quarantined(None, 10).await.unwrap(), [], "schema {schema}");
    }
}

#[tokio::test]
async fn notifications_of_every_schema_have_their_status() {
    for schema in schemas() {
        let opened = Opened::copy_of(schema);
        let (ended, waiting, retried) =
            (opened.status(1).await, opened.status(2).await, opened.status(4).await);
        assert_eq!(counts(&ended), [(State::Sent, 1), (State::Failed, 1)], "schema {schema}");
        assert_eq!(ended.receipts[1].fault.as_ref().unwrap().kind, Kind::TokenGone);
        assert_eq!((ended.skips, ended.skipped[0].user.as_ref()), (1, Some(&user("carol"))));
        assert_eq!(counts(&waiting), [(State::Queued, 1)]);
        assert_eq!(counts(&opened.status(3).await), [(State::Queued, 1)], "its holder is gone");
        assert_eq!(counts(&retried), [(State::Queued, 1), (State::Sent, 1)], "schema {schema}");
        assert_eq!(retried.receipts[1].next_at, Some(NOW + Duration::from_secs(60)));
        assert_eq!(opened.store.quarantined(None, 10).await.unwrap(), [], "schema {schema}");
    }
}

#[tokio::test]
async fn what_every_schema_has_accepted_is_taken() {
    for schema in schemas() {
        let opened = Opened::copy_of(schema);
        let channel = ChannelName::new("way").unwrap();
        assert_eq!(opened.store.lanes().await.unwrap(), [(app(), channel.clone())]);
        let now = NOW + Duration::from_secs(60);
        let want = LeaseRequest { app: app(), channel, node: NodeId::new(), now, max: 10 };
        let leases = opened.store.lease(want).await.unwrap().leases;
        let mut taken: Vec<_> =
            leases.iter().map(|lease| (lease.delivery.message.id, lease.delivery.attempt)).collect();
        taken.sort();
        assert_eq!(taken, [(id(2), 1), (id(3), 1), (id(4), 2)], "schema {schema}");
        for lease in &leases {
            let (message, target) = (&lease.delivery.message, &lease.delivery.targets[0]);
            assert_eq!((message.title.expose(), message.badge), ("Ann", Some(3)));
            assert_eq!(message.expires_at(), NOW + Duration::from_secs(3600));
            assert_eq!((target.user.as_ref(), target.registered_at), (Some(&user("bob")), Some(NOW)));
        }
        assert_eq!(opened.store.quarantined(None, 10).await.unwrap(), [], "schema {schema}");
    }
}

#[tokio::test]
async fn what_users_want_and_what_is_planned_later_is_read_since_schema_2() {
    for schema in schemas().filter(|schema| *schema >= 2) {
        let opened = Opened::copy_of(schema);
        let rules: Rules =
            opened.store.rules(&app(), &[user("bob")]).await.unwrap().remove(&user("bob")).unwrap();
        assert!(rules.muted_conversations.contains("c1") && rules.quiet_hours.is_some());
        let counted = opened.store.count(&app(), &[user("bob")], Count::Raise(1)).await.unwrap();
        assert_eq!(counted[&user("bob")], 4);
        let progress = opened.status(5).await.progress.unwrap();
        assert_eq!((progress.done, progress.open), (0, 2), "schema {schema}");
        let now = NOW + Duration::from_secs(60);
        let parts = opened.store.lease_batches(NodeId::new(), now, 10).await.unwrap().leases;
        let read: Vec<_> =
            parts.iter().map(|one| (one.notification, one.batch.place, one.request.send_at)).collect();
        assert_eq!(read, [(id(5), 0, Some(NOW)), (id(5), 1, Some(NOW))]);
        assert_eq!(parts[0].acknowledged, [user("bob")]);
        assert_eq!(opened.store.quarantined(None, 10).await.unwrap(), [], "schema {schema}");
    }
}

#[tokio::test]
async fn what_devices_reported_and_the_key_of_the_installation_are_read_since_schema_3() {
    for schema in schemas().filter(|schema| *schema >= 3) {
        let opened = Opened::copy_of(schema);
        let at: Timestamp = NOW + Duration::from_secs(5);
        let status = opened.status(1).await;
        assert_eq!(status.receipts[0].events.clicked_at, Some(at), "schema {schema}");
        assert_eq!(status.events.values().copied().collect::<Vec<_>>(), [1, 1], "a click implies an arrival");
        let key = opened.store.installation_secret(&"another".into()).await.unwrap();
        assert_eq!(key.expose(), "key-of-this-installation");
        let device = opened.store.device(&app(), &DeviceId::new("d1").unwrap()).await.unwrap();
        assert!(device.is_some());
    }
}
