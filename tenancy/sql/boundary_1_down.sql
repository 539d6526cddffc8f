-- The roles stay: other databases of the cluster may use them.
SELECT tenancy.release_table('tenants');
SELECT tenancy.release_table('users');
SELECT tenancy.release_table('operators');
SELECT tenancy.release_table('operator_sessions');
REVOKE SELECT ON migration FROM fastlane_identity, fastlane_platform;
REVOKE ALL ON SEQUENCE operators_id_seq, operator_sessions_id_seq FROM fastlane_platform, fastlane_authn;
DROP INDEX operator_sessions_user_id_idx, operator_sessions_token_idx, operators_tenant_id_user_id_idx,
    users_tenant_id_created_at_id_idx;
ALTER TABLE operator_sessions DROP CONSTRAINT operator_sessions_user_id_fkey;
ALTER TABLE operators DROP CONSTRAINT operators_scope_check, DROP CONSTRAINT operators_user_id_fkey;
ALTER TABLE operators ADD CONSTRAINT operators_user_id_fkey
    FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE users DROP CONSTRAINT users_tenant_id_id_key, DROP CONSTRAINT users_role_check;
ALTER TABLE tenants DROP CONSTRAINT tenants_slug_check;
-- No CASCADE: while another app's table is isolated, this migration does not go back.
DROP FUNCTION tenancy.hand_over(regprocedure, regrole), tenancy.isolate_table(regclass, text, text, name),
    tenancy.release_table(regclass), tenancy.assign_tenant_1(), tenancy.stamp_created_1(),
    tenancy.stamp_updated_1(), tenancy.keep_identity_1(), tenancy.keep_subject_1(), tenancy.keep_slug_1(),
    tenancy.identify_subject_1(text), tenancy.identify_session_1(text), tenancy.applied_migrations_1();
DROP SCHEMA tenancy;
