-- The triggers of an isolated table are called only where they have something to do: each call costs a few
-- microseconds, and one change of a case fires a dozen.
-- Frozen: the migration that names this file has landed.

CREATE FUNCTION tenancy.attach_triggers_1(target regclass, tenant_key name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- Triggers of one moment fire in the order of their names.
    IF tenant_key = 'tenant_id' THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER a_assign_tenant BEFORE INSERT ON %s FOR EACH ROW
                        WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION tenancy.assign_tenant_1()', target);
    END IF;
    EXECUTE format('CREATE OR REPLACE TRIGGER b_stamp_created BEFORE INSERT ON %s FOR EACH ROW
                    WHEN (NEW.id IS NULL OR NEW.created_at IS NULL OR current_user = ''fastlane_tenant'')
                    EXECUTE FUNCTION tenancy.stamp_created_1()', target);
    EXECUTE format('CREATE OR REPLACE TRIGGER c_keep_identity BEFORE UPDATE ON %1$s FOR EACH ROW
                    WHEN (NEW.id IS DISTINCT FROM OLD.id OR NEW.%2$I IS DISTINCT FROM OLD.%2$I
                          OR NEW.created_at IS DISTINCT FROM OLD.created_at)
                    EXECUTE FUNCTION tenancy.keep_identity_1(%2$L)', target, tenant_key);
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'updated_at' AND NOT attisdropped) THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1()', target);
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION tenancy.attach_triggers_1(regclass, name) FROM PUBLIC;

CREATE OR REPLACE FUNCTION tenancy.isolate_table(
    target regclass,
    tenant_grants text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    platform_grants text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    tenant_key name DEFAULT 'tenant_id'
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant_bound ON %s TO fastlane_tenant
         USING ((SELECT nullif(current_setting(''app.tenant_id'', true), '''')) IS NOT NULL)', target);
    EXECUTE format(
        'CREATE POLICY tenant_isolation ON %s AS RESTRICTIVE TO fastlane_tenant
         USING (%I = (SELECT nullif(current_setting(''app.tenant_id'', true), '''')::uuid))',
        target, tenant_key);
    EXECUTE format('CREATE POLICY platform ON %s TO fastlane_platform USING (true)', target);
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', target);
    EXECUTE format('GRANT %s ON %s TO fastlane_tenant', tenant_grants, target);
    EXECUTE format('GRANT %s ON %s TO fastlane_platform', platform_grants, target);

    PERFORM tenancy.attach_triggers_1(target, tenant_key);
END
$$;

-- Every table that is isolated. Each has this trigger, and its argument names the column of the tenant.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT tgrelid::regclass AS target, split_part(encode(tgargs, 'escape'), '\000', 1) AS tenant_key
          FROM pg_trigger WHERE tgfoid = 'tenancy.keep_identity_1()'::regprocedure
    LOOP
        PERFORM tenancy.attach_triggers_1(item.target, item.tenant_key);
    END LOOP;
END
$$;
