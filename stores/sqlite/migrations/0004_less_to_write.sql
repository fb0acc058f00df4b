-- A row of a table WITHOUT ROWID keeps a quarter of a page in place and the rest, of a kilobyte, on a page of its own; with a rowid it all
-- stays in its leaf. One index serves a notification's deliveries and one of them. What somebody holds is in its memory, so that the lanes'
-- index has only what nobody does: the usual delivery is held from its first moment to its last.
CREATE TABLE waiting (
    id BLOB NOT NULL, notification BLOB NOT NULL, app TEXT NOT NULL, channel TEXT NOT NULL,
    due INTEGER NOT NULL, owner BLOB, epoch INTEGER NOT NULL, tag TEXT, body TEXT NOT NULL
);
INSERT INTO waiting (id, notification, app, channel, due, owner, epoch, tag, body)
    SELECT id, notification, app, channel, due, owner, epoch, tag, body FROM deliveries ORDER BY id;
DROP TABLE deliveries;
ALTER TABLE waiting RENAME TO deliveries;
CREATE UNIQUE INDEX deliveries_by_notification ON deliveries (notification, id);
CREATE INDEX deliveries_free ON deliveries (app, channel, due) WHERE owner IS NULL;
CREATE INDEX deliveries_by_tag ON deliveries (app, tag) WHERE tag IS NOT NULL;
