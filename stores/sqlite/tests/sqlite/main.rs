//! SQLite is held to what every store and queue promises, and to its own: one owner, one schema, no text of ours lost.

#![expect(clippy::unwrap_used, reason = "the failure of a test is its message")]

mod growth;
mod quarantine;
mod schemas;

use pushgate::queue::{Admission, Entry, Idempotency, KeyClaim, Queue as _, WithdrawFilter, Withdrawal};
use pushgate::{IdempotencyKey, Message, NotificationId, RequestDigest, State, TokenKind};
use pushgate_kit::sample;
use pushgate_sqlite::{OpenError, SqliteStore};

#[tokio::test]
async fn sqlite_keeps_the_promises_of_a_store_and_a_queue() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("p.db")).unwrap();
    pushgate_kit::keeping::store(&store).await;
    pushgate_kit::keeping::queue(&store).await;
}

#[tokio::test]
async fn no_sequence_of_register_bind_logout_and_rotate_leaves_an_address_with_two_users() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("p.db")).unwrap();
    pushgate_kit::keeping::no_sequence_leaves_an_address_with_two_users(&store, 50).await;
}

#[tokio::test]
async fn a_second_owner_is_refused_and_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let first = SqliteStore::open(&path).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(
        matches!(error, OpenError::InUse { .. }) && error.to_string().contains("storage.path"),
        "{error}"
    );
    drop(first);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, please keep them safe ".repeat(50)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    drop(SqliteStore::open(&path).unwrap());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_key_of_an_earlier_release_is_claimed_by_any_request_because_its_hash_means_nothing_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    for sql in [
        include_str!("../../migrations/0001_devices_and_queue.sql"),
        include_str!("../../migrations/0002_users_and_later.sql"),
        include_str!("../../migrations/0003_echoes.sql"),
        include_str!("../../migrations/0004_less_to_write.sql"),
    ] {
        old.execute_batch(sql).unwrap();
    }
    old.pragma_update(None, "user_version", 4).unwrap();
    let id = NotificationId::new();
    let sql = "INSERT INTO notifications (id, app, key, fingerprint, created_at, keep_until, skipped) VALUES (?1, 'demo', 'k', -7, 0, 0, '[]')";
    old.execute(sql, [id.0.as_bytes()]).unwrap();
    drop(old);
    let store = SqliteStore::open(&path).unwrap();
    let (app, key) = (sample::message().app, IdempotencyKey::new("k").unwrap());
    assert_eq!(store.find_claim(&app, &key).await.unwrap(), Some(KeyClaim { id, digest: None }));
}

/// A notification with one delivery under a collapse key.
fn admission(key: &str, withdrawal: Option<Withdrawal>) -> Admission {
    let id = NotificationId::new();
    let message = Message { id, collapse_key: Some("call".to_owned()), ..sample::message() };
    let mut delivery = sample::delivery(message, [sample::address("way", TokenKind::Token, "token")]);
    delivery.targets[0].user = Some(pushgate::UserId::new("ann").expect("a valid name"));
    let key = IdempotencyKey::new(key).expect("a valid key");
    Admission {
        id,
        app: delivery.message.app.clone(),
        idempotency: Some(Idempotency { key, digest: RequestDigest::from_bytes([1; 32]) }),
        created_at: sample::NOW,
        keep_until: sample::NOW,
        skipped: Vec::new(),
        tag: None,
        entries: vec![Entry { delivery, due: sample::NOW, held_by: None }],
        deferred_plan: None,
        withdrawal,
    }
}

#[tokio::test]
async fn an_admission_that_fails_withdraws_nothing_and_leaves_its_key_free() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("p.db")).unwrap();
    let ring = admission("ring", None);
    let (app, delivery) = (ring.app.clone(), ring.entries[0].delivery.clone());
    store.admit(ring).await.unwrap();
    let users = vec![pushgate::UserId::new("ann").unwrap()];
    let filter = WithdrawFilter::Tag { tag: "call".to_owned(), users, before: NotificationId::new() };
    let withdrawal = Withdrawal { app: app.clone(), filter, at: sample::NOW };
    let mut removal = admission("removal", Some(withdrawal));
    // The last thing that is written is refused: the same delivery of the same notification again.
    let twice = Entry { delivery: removal.entries[0].delivery.clone(), due: sample::NOW, held_by: None };
    removal.entries.push(twice);
    let valid = removal.entries[..1].to_vec();
    store.admit(removal.clone()).await.unwrap_err();
    let state = async || store.status(&app, delivery.message.id).await.unwrap().unwrap().receipts[0].state;
    assert_eq!(state().await, State::Queued);
    let key = IdempotencyKey::new("removal").unwrap();
    assert_eq!(store.find_claim(&app, &key).await.unwrap(), None);
    removal.entries = valid;
    store.admit(removal).await.unwrap();
    assert_eq!(state().await, State::Revoked);
}
