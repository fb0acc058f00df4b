-- Addresses that a push service called dead: pruned, or held back by the prune guard. The id orders and pages them.
CREATE TABLE dead_addresses (
    id INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL,
    token TEXT NOT NULL, device TEXT NOT NULL, user TEXT, is_held_back INTEGER NOT NULL,
    since INTEGER NOT NULL, fault TEXT NOT NULL, vendor_code TEXT, at INTEGER NOT NULL
);
INSERT INTO dead_addresses (app, channel, kind, token, device, user, is_held_back, since, fault, at)
    SELECT app, channel, kind, token, device,
        (SELECT user FROM devices d WHERE d.app = p.app AND d.id = p.device),
        0, max(pruned_at), '"token_gone"', max(pruned_at)
    FROM pruned p GROUP BY app, channel, kind, token ORDER BY max(pruned_at);
DROP TABLE pruned;
CREATE UNIQUE INDEX dead_by_address ON dead_addresses (app, channel, kind, token);
CREATE INDEX dead_by_app ON dead_addresses (app);
CREATE INDEX dead_by_device ON dead_addresses (app, device);
CREATE INDEX dead_by_time ON dead_addresses (at);
-- What the prune guard of a lane has counted.
CREATE TABLE prune_guards (
    app TEXT NOT NULL, channel TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (app, channel)
) WITHOUT ROWID;
