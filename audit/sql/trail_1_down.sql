DROP TRIGGER z_audit ON tenants;
DROP TRIGGER z_audit ON users;
DROP POLICY auditor ON tenants;
DROP POLICY auditor ON users;
REVOKE ALL ON tenants, users FROM fastlane_auditor;
REVOKE SELECT (id) ON tenants FROM fastlane_auditor;
REVOKE SELECT (id, tenant_id) ON users FROM fastlane_auditor;
SELECT tenancy.release_table('events');
SELECT tenancy.release_table('audit_logs');
DROP INDEX events_entity_type_entity_id_idx, events_tenant_id_user_id_idx, events_tenant_id_created_at_id_idx,
    audit_logs_entity_type_entity_id_idx, audit_logs_tenant_id_user_id_idx,
    audit_logs_tenant_id_created_at_id_idx;
-- See the way forwards: the checks of the keys below need to see the users.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE events DROP CONSTRAINT events_metadata_check, DROP CONSTRAINT events_user_id_fkey;
ALTER TABLE events ADD CONSTRAINT events_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_action_check, DROP CONSTRAINT audit_logs_changes_check,
    DROP CONSTRAINT audit_logs_user_id_fkey;
ALTER TABLE audit_logs ADD CONSTRAINT audit_logs_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE SET NULL ON UPDATE CASCADE;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
-- No CASCADE: while another table is tracked, this migration does not go back.
DROP FUNCTION audit.track_table(regclass, text, name), audit.record_change_1(), audit.refuse_change_1(),
    audit.acting_user_1(uuid);
DROP SCHEMA audit;
