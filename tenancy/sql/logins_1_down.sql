-- The role stays: other databases of the cluster may use it.
REVOKE ALL ON SEQUENCE operator_authenticators_id_seq FROM fastlane_tenant, fastlane_platform;
REVOKE ALL ON operator_authenticators FROM fastlane_tenant, fastlane_platform, fastlane_authn;
DROP POLICY own_row ON operator_authenticators;
DROP POLICY script ON operator_authenticators;
DROP POLICY authn ON operator_authenticators;
ALTER TABLE operator_authenticators NO FORCE ROW LEVEL SECURITY;
ALTER TABLE operator_authenticators DISABLE ROW LEVEL SECURITY;
ALTER TABLE operator_authenticators
    DROP CONSTRAINT operator_authenticators_secret_check,
    ALTER COLUMN secret SET DEFAULT '',
    ALTER COLUMN recovery_codes SET DEFAULT '{}';
DROP FUNCTION tenancy.take_attempt_1(bytea, bytea, integer, integer, integer),
    tenancy.give_back_attempt_1(bytea, bytea);
DROP TABLE tenancy.attempt_windows;
DROP TRIGGER f_end_sessions ON users;
DROP TRIGGER f_end_sessions ON operators;
DROP FUNCTION tenancy.end_sessions_1();
DROP POLICY registrar ON operator_sessions;
DROP POLICY registrar ON operators;
REVOKE SELECT (id, user_id), DELETE ON operator_sessions FROM fastlane_registrar;
REVOKE SELECT (id, tenant_id, user_id) ON operators FROM fastlane_registrar;
REVOKE USAGE ON SCHEMA tenancy FROM fastlane_registrar;
