-- What expires while no lane takes it is found by its time. NULL where the body cannot be read. Rounded up to a second for rows that were
-- there before.
ALTER TABLE deliveries ADD COLUMN expires_at INTEGER;
UPDATE deliveries SET expires_at = CASE WHEN json_valid(body) THEN
    (unixepoch(json_extract(body, '$.message.created_at')) + 1
        + CASE json_extract(body, '$.message.ttl.secs') WHEN 0 THEN 10 ELSE json_extract(body, '$.message.ttl.secs') + 1 END) * 1000
    END;
CREATE INDEX deliveries_by_expiry ON deliveries (expires_at) WHERE owner IS NULL;
