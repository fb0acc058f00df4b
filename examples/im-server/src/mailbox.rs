//! Unacknowledged messages on disk. They are stored before they are delivered, and replayed at the next login.

use std::path::Path;

use parking_lot::Mutex;
use pushgate::NotificationId;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use uuid::Uuid;

/// Retention of a message in seconds: seven days.
const KEPT_S: i64 = 7 * 24 * 3600;

/// Waiting messages of all users, and the members of groups.
pub(crate) struct Mailbox(Mutex<Connection>);

/// Waiting message.
pub(crate) struct Waiting {
    pub(crate) seq: i64,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Mailbox {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS waiting (seq INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL,
                 at INTEGER NOT NULL DEFAULT (unixepoch()), event TEXT NOT NULL, data TEXT NOT NULL);
             CREATE INDEX IF NOT EXISTS waiting_of ON waiting (user, seq);
             CREATE TABLE IF NOT EXISTS members (grp TEXT, user TEXT, PRIMARY KEY (grp, user)) WITHOUT ROWID;",
        )?;
        if !connection.column_exists(None, "waiting", "push")? {
            // Which notification is not to be pushed any more once it has arrived.
            connection.execute("ALTER TABLE waiting ADD COLUMN push BLOB", [])?;
        }
        Ok(Self(Mutex::new(connection)))
    }

    /// Stores one event for each of these users, all or none. Returns the numbers in the order of the users.
    pub(crate) fn store(&self, users: &[String], event: &str, data: &Value) -> rusqlite::Result<Vec<i64>> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction()?;
        let mut numbers = Vec::with_capacity(users.len());
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO waiting (user, event, data) VALUES (?, ?, ?)")?;
            for user in users {
                numbers.push(insert.insert(params![user, event, data.to_string()])?);
            }
        }
        transaction.commit()?;
        Ok(numbers)
    }

    /// Returns the waiting messages of a user, oldest first.
    pub(crate) fn waiting(&self, user: &str) -> rusqlite::Result<Vec<Waiting>> {
        let connection = self.0.lock();
        connection.execute("DELETE FROM waiting WHERE at < unixepoch() - ?", [KEPT_S])?;
        let mut select =
            connection.prepare_cached("SELECT seq, event, data FROM waiting WHERE user = ? ORDER BY seq")?;
        let rows = select.query_map([user], |row| {
            let data: String = row.get(2)?;
            let data = serde_json::from_str(&data).unwrap_or_default();
            Ok(Waiting { seq: row.get(0)?, event: row.get(1)?, data })
        })?;
        rows.collect()
    }

    /// Removes a message that has arrived. Returns the id of its notification if that is known already.
    pub(crate) fn arrived(&self, user: &str, seq: i64) -> rusqlite::Result<Option<NotificationId>> {
        let connection = self.0.lock();
        let mut delete =
            connection.prepare_cached("DELETE FROM waiting WHERE user = ? AND seq = ? RETURNING push")?;
        let gone =
            delete.query_row(params![user, seq], |row| row.get::<_, Option<[u8; 16]>>(0)).optional()?;
        Ok(gone.flatten().map(|id| NotificationId(Uuid::from_bytes(id))))
    }

    /// Records the notification id of these messages. Returns those that have arrived already.
    pub(crate) fn pushed(&self, numbers: &[i64], id: NotificationId) -> rusqlite::Result<Vec<i64>> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction()?;
        let mut early = Vec::new();
        {
            let mut update = transaction.prepare_cached("UPDATE waiting SET push = ? WHERE seq = ?")?;
            for seq in numbers {
                if update.execute(params![id.0.as_bytes(), seq])? == 0 {
                    early.push(*seq);
                }
            }
        }
        transaction.commit()?;
        Ok(early)
    }

    pub(crate) fn join(&self, group: &str, user: &str) -> rusqlite::Result<()> {
        self.0.lock().execute("INSERT OR IGNORE INTO members VALUES (?, ?)", [group, user])?;
        Ok(())
    }

    pub(crate) fn leave(&self, group: &str, user: &str) -> rusqlite::Result<()> {
        self.0.lock().execute("DELETE FROM members WHERE grp = ? AND user = ?", [group, user])?;
        Ok(())
    }

    pub(crate) fn members(&self, group: &str) -> rusqlite::Result<Vec<String>> {
        let connection = self.0.lock();
        let mut select = connection.prepare_cached("SELECT user FROM members WHERE grp = ? ORDER BY user")?;
        let rows = select.query_map([group], |row| row.get(0))?;
        rows.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_first_the_arrival_or_the_push_each_learns_of_the_other() {
        let mailbox = Mailbox::open(Path::new(":memory:")).unwrap();
        let users = ["bob".to_owned(), "eve".to_owned()];
        let numbers = mailbox.store(&users, "peerMessageReceived", &Value::Null).unwrap();
        let push = NotificationId::new();
        assert_eq!(mailbox.arrived("bob", numbers[0]).unwrap(), None, "nothing is known of a push yet");
        assert_eq!(mailbox.pushed(&numbers, push).unwrap(), [numbers[0]]);
        assert_eq!(mailbox.arrived("bob", numbers[1]).unwrap(), None, "it is not his");
        assert_eq!(mailbox.arrived("eve", numbers[1]).unwrap(), Some(push));
        assert_eq!(mailbox.arrived("eve", numbers[1]).unwrap(), None, "once");
    }

    #[test]
    fn a_mailbox_of_an_older_server_is_opened_with_what_waits_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("messages.db");
        let older = Connection::open(&path).unwrap();
        older
            .execute_batch(
                "CREATE TABLE waiting (seq INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL,
                     at INTEGER NOT NULL DEFAULT (unixepoch()), event TEXT NOT NULL, data TEXT NOT NULL);
                 INSERT INTO waiting (user, event, data) VALUES ('bob', 'peerMessageReceived', '{}');",
            )
            .unwrap();
        drop(older);
        let seq = Mailbox::open(&path).unwrap().waiting("bob").unwrap()[0].seq;
        assert_eq!(Mailbox::open(&path).unwrap().arrived("bob", seq).unwrap(), None);
    }
}
