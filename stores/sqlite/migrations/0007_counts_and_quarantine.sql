-- A status is read without its receipts: how many recipients a notification has, how many of them are in which final state, and how many
-- devices reported what. Recipients in no final state are queued.
ALTER TABLE notifications ADD COLUMN recipients INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN clicked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notifications ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;
-- What counts when the body cannot be decoded.
ALTER TABLE receipts ADD COLUMN state TEXT NOT NULL DEFAULT 'queued';
ALTER TABLE deliveries ADD COLUMN recipients INTEGER NOT NULL DEFAULT 0;
UPDATE receipts SET state = json_extract(body, '$.state')
    WHERE CASE WHEN json_valid(body) THEN json_type(body, '$.state') = 'text' ELSE 0 END;
UPDATE deliveries SET recipients = CASE WHEN json_valid(body) THEN json_array_length(body, '$.targets') ELSE 1 END;
UPDATE notifications SET
    recipients = (SELECT count(*) FROM receipts r WHERE r.notification = notifications.id)
        + (SELECT coalesce(sum(d.recipients), 0) FROM deliveries d WHERE d.notification = notifications.id
            AND CASE WHEN json_valid(d.body) THEN json_extract(d.body, '$.attempt') IS NOT NULL
                AND json_extract(d.body, '$.attempt') = 1 ELSE 1 END),
    sent = (SELECT count(*) FROM receipts r WHERE r.notification = notifications.id AND r.state = 'sent'),
    failed = (SELECT count(*) FROM receipts r WHERE r.notification = notifications.id AND r.state = 'failed'),
    expired = (SELECT count(*) FROM receipts r WHERE r.notification = notifications.id AND r.state = 'expired'),
    revoked = (SELECT count(*) FROM receipts r WHERE r.notification = notifications.id AND r.state = 'revoked'),
    arrived = (SELECT count(arrived_at) FROM echoes e WHERE e.notification = notifications.id),
    clicked = (SELECT count(clicked_at) FROM echoes e WHERE e.notification = notifications.id),
    dismissed = (SELECT count(dismissed_at) FROM echoes e WHERE e.notification = notifications.id);
-- Rows that could not be decoded, as they were, and why. `content` may hold tokens and texts; no interface shows it.
CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, app TEXT, channel TEXT, notification BLOB,
    reason TEXT NOT NULL, content TEXT NOT NULL, quarantined_at INTEGER NOT NULL
);
CREATE INDEX quarantine_by_age ON quarantine (quarantined_at);
