-- Time at which a notification was revoked for the first time.
ALTER TABLE notifications ADD COLUMN revoked_at INTEGER;
