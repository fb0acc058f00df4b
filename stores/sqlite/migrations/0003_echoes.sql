-- What devices told of notifications, by target; the first time of each counts. Apart from receipts, which every attempt rewrites.
CREATE TABLE echoes (
    notification BLOB NOT NULL, idx INTEGER NOT NULL, arrived_at INTEGER, clicked_at INTEGER, dismissed_at INTEGER,
    PRIMARY KEY (notification, idx)
) WITHOUT ROWID;
-- The key of this installation: one row at the most.
CREATE TABLE own_key (place INTEGER PRIMARY KEY CHECK (place = 1), key TEXT NOT NULL);
