-- SHA-256 of the request under an idempotency key, 32 bytes. The column `fingerprint` held a hash that differs between releases: it is not
-- written any more. A row with a key and without a digest is of an earlier release, and every request under its key is taken as the same.
ALTER TABLE notifications ADD COLUMN digest BLOB;
