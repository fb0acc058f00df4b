-- With the place in it, it gives a device's addresses in order; without, SQLite walked through all addresses of the app.
DROP INDEX addresses_by_device;
CREATE INDEX addresses_by_device ON addresses (app, device, place);
-- What users want: their push rules, and how many notifications they have not read.
CREATE TABLE rules (
    app TEXT NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (app, user)
) WITHOUT ROWID;
CREATE TABLE counters (
    app TEXT NOT NULL, user TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (app, user)
) WITHOUT ROWID;
-- What is planned later: what was asked for, the parts of its audience that are still to be planned, who has acknowledged it.
ALTER TABLE notifications ADD COLUMN tag TEXT;
ALTER TABLE notifications ADD COLUMN ask TEXT;
ALTER TABLE notifications ADD COLUMN parts_done INTEGER NOT NULL DEFAULT 0;
-- How many were skipped; `skipped` tells of the first ones.
ALTER TABLE notifications ADD COLUMN skips INTEGER NOT NULL DEFAULT 0;
UPDATE notifications SET skips = json_array_length(skipped);
CREATE TABLE parts (
    notification BLOB NOT NULL, place INTEGER NOT NULL, due INTEGER NOT NULL, owner BLOB,
    epoch INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (notification, place)
) WITHOUT ROWID;
CREATE INDEX parts_by_due ON parts (due);
CREATE TABLE acknowledged (
    notification BLOB NOT NULL, user TEXT NOT NULL,
    PRIMARY KEY (notification, user)
) WITHOUT ROWID;
-- What replaces an earlier one on the screen may have to take it out of the queue.
ALTER TABLE deliveries ADD COLUMN tag TEXT;
CREATE INDEX deliveries_by_tag ON deliveries (app, tag) WHERE tag IS NOT NULL;
