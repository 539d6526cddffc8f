-- What a stream of events asks for, as the tenant's role. Frozen: the migration that names this file has landed.
GRANT USAGE ON SCHEMA audit TO fastlane_tenant;
