-- What a stream of events asks for, as the tenant's role. Frozen: the migration that names this file has landed.
CREATE FUNCTION audit.epoch_base_1() RETURNS bigint LANGUAGE sql STABLE RETURN 0::bigint;
GRANT USAGE ON SCHEMA audit TO fastlane_tenant;
