-- Triggers without conditions again.
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT tgrelid::regclass AS target, split_part(encode(tgargs, 'escape'), '\000', 1) AS tenant_key
          FROM pg_trigger WHERE tgfoid = 'tenancy.keep_identity_1()'::regprocedure
    LOOP
        IF item.tenant_key = 'tenant_id' THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER a_assign_tenant BEFORE INSERT ON %s
                            FOR EACH ROW EXECUTE FUNCTION tenancy.assign_tenant_1()', item.target);
        END IF;
        EXECUTE format('CREATE OR REPLACE TRIGGER b_stamp_created BEFORE INSERT ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_created_1()', item.target);
        EXECUTE format('CREATE OR REPLACE TRIGGER c_keep_identity BEFORE UPDATE ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.keep_identity_1(%L)', item.target, item.tenant_key);
    END LOOP;
END
$$;
CREATE OR REPLACE FUNCTION tenancy.isolate_table(
    target regclass,
    tenant_grants text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    platform_grants text DEFAULT 'SELECT, INSERT, UPDATE, DELETE',
    tenant_key name DEFAULT 'tenant_id'
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns name[] := ARRAY(
        SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped
    );
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

    -- Triggers of one moment fire in the order of their names.
    IF tenant_key = 'tenant_id' THEN
        EXECUTE format('CREATE TRIGGER a_assign_tenant BEFORE INSERT ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.assign_tenant_1()', target);
    END IF;
    EXECUTE format('CREATE TRIGGER b_stamp_created BEFORE INSERT ON %s
                    FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_created_1()', target);
    EXECUTE format('CREATE TRIGGER c_keep_identity BEFORE UPDATE ON %s
                    FOR EACH ROW EXECUTE FUNCTION tenancy.keep_identity_1(%L)', target, tenant_key);
    IF 'updated_at' = ANY (columns) THEN
        EXECUTE format('CREATE TRIGGER d_stamp_updated BEFORE INSERT OR UPDATE ON %s
                        FOR EACH ROW EXECUTE FUNCTION tenancy.stamp_updated_1()', target);
    END IF;
END
$$;

DROP FUNCTION tenancy.attach_triggers_1(regclass, name);
