-- The history of one row: the seed's index leads with the kind of row, and is used whether that is named or not.
-- Frozen: the migration that names this file has landed.

-- Without the time: one row has little history, and it is sorted.
CREATE INDEX events_tenant_id_entity_id_idx ON events (tenant_id, entity_id);
CREATE INDEX audit_logs_tenant_id_entity_id_idx ON audit_logs (tenant_id, entity_id);
