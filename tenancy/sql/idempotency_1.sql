-- Idempotency keys: keys, checks, isolation.
-- Frozen: the migration that names this file has landed.

-- Piccolo writes a database default for each Python default; what is said by the request has none.
ALTER TABLE idempotency_keys
    ALTER COLUMN key DROP DEFAULT,
    ALTER COLUMN fingerprint DROP DEFAULT,
    ALTER COLUMN status DROP DEFAULT,
    ALTER COLUMN headers DROP DEFAULT,
    ALTER COLUMN body DROP DEFAULT;

-- Only the answer of a request that took effect is worth repeating.
ALTER TABLE idempotency_keys
    ADD CONSTRAINT idempotency_keys_fingerprint_check CHECK (octet_length(fingerprint) = 32),
    ADD CONSTRAINT idempotency_keys_status_check CHECK (status BETWEEN 200 AND 399),
    ADD CONSTRAINT idempotency_keys_headers_check CHECK (jsonb_typeof(headers) = 'object');

-- Composite: a key cannot belong to another tenant's user, whoever writes it.
-- A new foreign key is checked by a query of the owner, whom FORCE blinds: every row would
-- seem to violate it. Nobody sees the gap, which ends with this transaction.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_user_id_fkey;
ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_user_id_fkey FOREIGN KEY (tenant_id, user_id)
    REFERENCES users (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;

-- The oldest of a tenant, for the purge. The unique key serves the lookup and both references.
CREATE INDEX idempotency_keys_tenant_id_created_at_idx ON idempotency_keys (tenant_id, created_at);

SELECT tenancy.isolate_table('idempotency_keys', 'SELECT, INSERT, DELETE', 'SELECT, DELETE');

-- FOR UPDATE asks for the right to update some column. Nothing can be written with this one:
-- c_keep_identity refuses another id.
GRANT UPDATE (id) ON idempotency_keys TO fastlane_tenant;
