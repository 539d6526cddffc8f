SELECT tenancy.release_table('idempotency_keys');
DROP INDEX idempotency_keys_tenant_id_created_at_idx;
-- See the way forwards: the check of the key below needs to see the users.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_user_id_fkey;
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id)
    ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_fingerprint_check,
    DROP CONSTRAINT idempotency_keys_status_check,
    DROP CONSTRAINT idempotency_keys_headers_check;
ALTER TABLE idempotency_keys
    ALTER COLUMN key SET DEFAULT '',
    ALTER COLUMN fingerprint SET DEFAULT '',
    ALTER COLUMN status SET DEFAULT 0,
    ALTER COLUMN headers SET DEFAULT '{}',
    ALTER COLUMN body SET DEFAULT '';
