-- Devices and their addresses. An address belongs to one device: its primary key says so.
CREATE TABLE devices (
    app TEXT NOT NULL, id TEXT NOT NULL, user TEXT, traits TEXT NOT NULL, registered_at INTEGER NOT NULL,
    PRIMARY KEY (app, id)
) WITHOUT ROWID;
CREATE INDEX devices_by_user ON devices (app, user) WHERE user IS NOT NULL;
CREATE TABLE addresses (
    app TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, token TEXT NOT NULL,
    device TEXT NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (app, channel, kind, token)
) WITHOUT ROWID;
CREATE INDEX addresses_by_device ON addresses (app, device);
-- What a vendor proved dead, kept aside so that it can be restored.
CREATE TABLE pruned (
    app TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, token TEXT NOT NULL,
    device TEXT NOT NULL, pruned_at INTEGER NOT NULL
);
-- Accepted notifications, their deliveries that are not finished, and what is known of each address.
CREATE TABLE notifications (
    id BLOB PRIMARY KEY, app TEXT NOT NULL, key TEXT, fingerprint INTEGER,
    created_at INTEGER NOT NULL, keep_until INTEGER NOT NULL, skipped TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX notifications_by_key ON notifications (app, key) WHERE key IS NOT NULL;
CREATE INDEX notifications_by_age ON notifications (keep_until);
CREATE TABLE deliveries (
    id BLOB PRIMARY KEY, notification BLOB NOT NULL, app TEXT NOT NULL, channel TEXT NOT NULL,
    due INTEGER NOT NULL, owner BLOB, epoch INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_by_lane ON deliveries (app, channel, due);
CREATE INDEX deliveries_by_notification ON deliveries (notification);
CREATE TABLE receipts (
    notification BLOB NOT NULL, idx INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (notification, idx)
) WITHOUT ROWID;
CREATE TABLE nodes (id BLOB PRIMARY KEY, alive_until INTEGER NOT NULL) WITHOUT ROWID;
